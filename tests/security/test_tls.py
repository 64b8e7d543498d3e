"""TLS and mTLS as callers meet them; certificates are replaced without a restart."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
import trustme

from sojourn import Client
from sojourn_server.app import App
from sojourn_server.config import TlsConfig
from sojourn_server.errors import StartRefused
from tests.rpc.wire import Stubs
from tests.security.conftest import configured, entry, secret_of


class Authority:
    """A certificate authority whose files lie in a directory."""

    def __init__(self, directory: Path) -> None:
        self.authority = trustme.CA()
        self.roots = self.authority.cert_pem.bytes()
        self.certificate, self.key, self.ca = (directory / f"{n}.pem" for n in ("certificate", "key", "ca"))
        self.authority.cert_pem.write_to_path(self.ca)
        self.issue()

    def issue(self) -> None:
        """Writes a certificate for this machine."""
        issued = self.authority.issue_cert("localhost")
        issued.private_key_pem.write_to_path(self.key)
        issued.cert_chain_pems[0].write_to_path(self.certificate)

    def client(self) -> tuple[bytes, bytes]:
        """Key and certificate of a caller."""
        issued = self.authority.issue_cert("caller@example.org")
        return issued.private_key_pem.bytes(), issued.cert_chain_pems[0].bytes()


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def tls(authority: Authority, **more: Any) -> TlsConfig:
    return TlsConfig(certificate=authority.certificate, key=authority.key, **more)


@contextmanager
def calling(app: App, roots: bytes, pair: tuple[bytes | None, bytes | None] = (None, None)) -> Iterator[Stubs]:
    address = f"localhost:{app.address.rpartition(':')[2]}"
    with grpc.secure_channel(address, grpc.ssl_channel_credentials(roots, *pair)) as channel:
        yield Stubs(channel)


def is_served(stubs: Stubs, episode_id: str) -> bool:
    try:
        stubs.decide(episode_id)
    except grpc.RpcError as error:
        if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.UNAVAILABLE:
            return False
        raise
    return True


def test_calls_are_served_over_tls_and_not_in_the_clear(tmp_path: Path, authority: Authority):
    with App.open(configured(tmp_path, tls=tls(authority))) as app:
        with calling(app, authority.roots) as stubs:
            assert is_served(stubs, "e1")
        with grpc.insecure_channel(app.address) as channel:
            assert not is_served(Stubs(channel), "e2")
        with calling(app, trustme.CA().cert_pem.bytes()) as stubs:
            assert not is_served(stubs, "e3")


def test_with_a_client_ca_callers_need_a_certificate_of_it(tmp_path: Path, authority: Authority):
    with App.open(configured(tmp_path, tls=tls(authority, client_ca=authority.ca))) as app:
        with calling(app, authority.roots, authority.client()) as stubs:
            assert is_served(stubs, "e1")
        with calling(app, authority.roots) as stubs:
            assert not is_served(stubs, "e2")
        stranger = trustme.CA().issue_cert("caller@example.org")
        pair = (stranger.private_key_pem.bytes(), stranger.cert_chain_pems[0].bytes())
        with calling(app, authority.roots, pair) as stubs:
            assert not is_served(stubs, "e3")


def test_certificates_are_replaced_without_a_restart(tmp_path: Path, authority: Authority):
    with App.open(configured(tmp_path, tls=tls(authority))) as app:
        with calling(app, authority.roots) as stubs:
            assert is_served(stubs, "e1")
        other = Authority(tmp_path)  # writes over the files
        with calling(app, other.roots) as stubs:
            assert is_served(stubs, "e2")
        with calling(app, authority.roots) as stubs:
            assert not is_served(stubs, "e3")
        authority.certificate.unlink()
        with calling(app, other.roots) as stubs:
            assert is_served(stubs, "e4")


@pytest.mark.parametrize("broken", ["missing", "garbage"])
def test_certificates_that_cannot_be_used_refuse_the_start(tmp_path: Path, authority: Authority, broken: str):
    if broken == "missing":
        authority.key.unlink()
    else:
        authority.key.write_text("garbage")
    with pytest.raises(StartRefused, match=r"security\.tls"), App.open(configured(tmp_path, tls=tls(authority))):
        pass


def test_the_python_client_brings_certificate_and_token(tmp_path: Path, authority: Authority):
    tokens = tmp_path / "tokens.toml"
    tokens.write_text(entry("agent", "decide", "report"))
    secrets = iter([secret_of("agent")] * 10)
    with App.open(configured(tmp_path, tls=tls(authority), tokens=tokens)) as app:
        target = f"localhost:{app.address.rpartition(':')[2]}"
        credentials = grpc.ssl_channel_credentials(authority.roots)
        with (
            Client(target, credentials=credentials, token=lambda: next(secrets), decide_deadline_ms=5_000) as client,
            client.episode("e1") as episode,
        ):
            decision = episode.decide(tool_type="search")
            assert decision.fallback is None
            episode.succeed(wait=True)
        reporters = {r.reporter for r in app.journal.read(0) if r.episode_id == "e1"}
        assert reporters == {"agent"}
