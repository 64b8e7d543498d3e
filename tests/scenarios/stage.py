"""The routers that the scenarios are played against, and what lies between them and a client.

A scenario names the way that its client takes: `router` (straight), `line` (a cable that can be cut), `stumbling` (a
relay that refuses the next calls as told), `guarded` (TLS and tokens), `silent` (accepts and never answers) or
`absent`. All but the last two end at a real router with fixed settings: the heuristic's table, so that every
answer is known beforehand, and a journal in memory that no language shares an episode of.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import grpc
import trustme
from pydantic import SecretStr

from sojourn.v1 import admin_pb2, admin_pb2_grpc, journal_pb2
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, PolicyConfig, SecurityConfig, ServerConfig, TlsConfig
from sojourn_server.telemetry import Telemetry
from tests.client.cable import Cable
from tests.policy.play import QUICK_LESSON
from tests.ports import find_unused_port
from tests.scenarios.relay import Relay
from tests.security.conftest import entry
from tests.telemetry.sink import Sink

POLICIES = {"default": PolicyConfig(mode="HEURISTIC", lesson=QUICK_LESSON)}
TOKENS = (entry("agent", "decide", "report"), entry("decider", "decide"), entry("judge", "report"))


@dataclass(frozen=True)
class Stage:
    """What stands while scenarios are played. `ways` are the targets by the names that scenarios use."""

    ways: dict[str, str]
    cable: Cable
    relay: Relay
    ca: Path

    def records(self, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """What the router has written down about an episode, in order."""
        with grpc.insecure_channel(self.ways["router"]) as channel:
            stub = admin_pb2_grpc.AdminServiceStub(channel)
            return list(stub.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id=episode_id)).records)


@contextmanager
def built_stage(directory: Path) -> Iterator[Stage]:
    """A stage, torn down afterwards; `directory` takes certificates and tokens."""
    with ExitStack() as made:
        router = made.enter_context(App.open(_config(), _traced(made)))
        certificates = _certificates(directory)
        tokens = directory / "tokens.toml"
        tokens.write_text("\n".join(TOKENS))
        guarded = made.enter_context(
            App.open(_config(security=SecurityConfig(tokens=tokens, tls=certificates)), Telemetry.disabled())
        )
        cable = Cable(router.address)
        made.callback(cable.cut)
        relay = Relay(router.address)
        made.callback(relay.close)
        silent = made.enter_context(socket.create_server(("127.0.0.1", 0)))
        yield Stage(
            ways={
                "router": router.address,
                "line": cable.address,
                "stumbling": relay.address,
                "guarded": f"localhost:{guarded.address.rpartition(':')[2]}",
                "silent": f"127.0.0.1:{silent.getsockname()[1]}",
                "absent": f"127.0.0.1:{find_unused_port()}",
            },
            cable=cable,
            relay=relay,
            ca=directory / "ca.pem",
        )


def _config(security: SecurityConfig | None = None) -> Config:
    return Config(
        server=ServerConfig(address="127.0.0.1:0", draw_secret=SecretStr("drawn once"), drain_ms=100),
        journal=JournalConfig(kind="memory"),
        policies=POLICIES,
        security=security or SecurityConfig(),
    )


def _traced(made: ExitStack) -> Telemetry:
    """Telemetry that samples, so that the journal shows whose trace a decision belongs to."""
    sink = Sink()
    made.callback(sink.close)
    with mock.patch.dict(os.environ, {"OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint, "OTEL_METRICS_EXPORTER": "none"}):
        return Telemetry.from_environment("scenarios")


def _certificates(directory: Path) -> TlsConfig:
    authority = trustme.CA()
    issued = authority.issue_cert("localhost")
    authority.cert_pem.write_to_path(directory / "ca.pem")
    issued.private_key_pem.write_to_path(directory / "key.pem")
    issued.cert_chain_pems[0].write_to_path(directory / "certificate.pem")
    return TlsConfig(certificate=directory / "certificate.pem", key=directory / "key.pem")


def wait_ms(milliseconds: float) -> None:
    """Lets time pass."""
    time.sleep(milliseconds / 1000)
