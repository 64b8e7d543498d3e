"""A server behind a token file, and the secrets of its tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest

from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, PolicyConfig, SecurityConfig, ServerConfig
from sojourn_server.security.tokens import digest
from tests.policy.play import QUICK_LESSON
from tests.rpc.wire import Stubs

POLICIES = {"default": PolicyConfig(lesson=QUICK_LESSON), "research": PolicyConfig(lesson=QUICK_LESSON)}
Write = Callable[..., Path]


def entry(name: str, *scopes: str, **more: Any) -> str:
    """An entry of the file; the secret of a name is "secret-of-<name>"."""
    lines = [f'id = "{name}"', f'sha256 = "{digest(secret_of(name))}"', f"scopes = {list(scopes)}"]
    lines += [f"{key} = {str(value).lower() if isinstance(value, bool) else value}" for key, value in more.items()]
    return "[[tokens]]\n" + "\n".join(lines) + "\n"


def secret_of(name: str) -> str:
    """What a caller of that name sends."""
    return f"secret-of-{name}"


def configured(directory: Path, **security: Any) -> Config:
    """A server on a free port with two policies and an SQLite journal."""
    return Config(
        server=ServerConfig(address="127.0.0.1:0"),
        journal=JournalConfig(directory=directory / "journal"),
        policies=POLICIES,
        security=SecurityConfig(**security),
    )


@pytest.fixture
def tokens(tmp_path: Path) -> Path:
    """A file with a token for each purpose."""
    path = tmp_path / "tokens.toml"
    path.write_text(
        "\n".join(
            [
                entry("gateway", "decide"),
                entry("judge", "report"),
                entry("operator", "admin"),
                entry("suspect", "report", quarantined=True),
                entry("researcher", "decide", "report", "admin", policies=["research"]),
                entry("hasty", "decide", calls_per_second=2.0),
            ]
        )
    )
    return path


@pytest.fixture
def guarded(tmp_path: Path, tokens: Path) -> Iterator[App]:
    """A server that knows those tokens."""
    with App.open(configured(tmp_path, tokens=tokens)) as app:
        yield app


class _Bearer(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor):  # type: ignore[type-arg]  # stubs only
    """Sends a secret with every call."""

    def __init__(self, secret: str) -> None:
        self._secret = secret

    def intercept_unary_unary(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_secret(details), request)

    def intercept_unary_stream(self, continuation: Any, details: Any, request: Any) -> Any:
        return continuation(self._with_secret(details), request)

    def _with_secret(self, details: Any) -> Any:
        return details._replace(metadata=[*(details.metadata or ()), ("authorization", f"Bearer {self._secret}")])


@pytest.fixture
def as_caller(guarded: App) -> Iterator[Callable[[str], Stubs]]:
    """Stubs that call with the secret of a name."""
    with grpc.insecure_channel(guarded.address) as channel:
        yield lambda name: Stubs(grpc.intercept_channel(channel, _Bearer(secret_of(name))))
