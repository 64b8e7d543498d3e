"""Fixtures that every test folder shares: a real server on loopback, PostgreSQL, and recorded episodes where given."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, settings
from pydantic import SecretStr

from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.telemetry import Telemetry
from tests.hosts.server import PostgresServer, find_binaries, find_pgbouncer
from tests.packages import NoProgram, found_or_installed, on_path
from tests.ports import find_unused_port

if TYPE_CHECKING:
    from playwright.sync_api import Browser

RECORDED_VARIABLE = "SOJOURN_RECORDED_DIR"
INSTALLED = {"postgres", "promtool", "prometheus", "chromium"}
"""Fixtures of programs that Debian has."""

# A loaded machine is slow without being wrong.
settings.register_profile("patient", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("patient")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--recorded", metavar="DIR", help=f"recorded LLM episodes (or {RECORDED_VARIABLE})")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whoever comes first to a program may have to install it."""
    for item in items:
        if INSTALLED.intersection(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture
def config() -> Config:
    """Defaults, but for a journal in memory, a free port, and draws that are the same in every run."""
    return Config(
        server=ServerConfig(address="127.0.0.1:0", draw_secret=SecretStr("drawn once")),
        journal=JournalConfig(kind="memory"),
    )


@pytest.fixture
def server(config: Config) -> Iterator[App]:
    """A running service with `.address`, `.journal` and `.router`."""
    with App.open(config, Telemetry.disabled()) as app:
        yield app


@pytest.fixture
def unused_port() -> int:
    """A port that nobody listens on."""
    return find_unused_port()


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """A running PostgreSQL; installed if need be, and where it cannot be, skipped loudly, in CI never."""
    server = PostgresServer(_installed(find_binaries), fsync=False)  # a busy disk would cost minutes
    yield server
    server.close()


@pytest.fixture(scope="session")
def pgbouncer() -> Path:
    """A connection pooler, likewise."""
    return _installed(find_pgbouncer)


@pytest.fixture(scope="session")
def prometheus() -> Path:
    """Prometheus, likewise; promtool comes with it."""
    return _installed(lambda: found_or_installed(lambda: on_path("prometheus"), "prometheus"))


@pytest.fixture(scope="session")
def promtool(prometheus: Path) -> Path:
    """What checks and tests rules."""
    return prometheus.with_name("promtool")


@pytest.fixture(scope="session")
def chromium() -> Path:
    """A browser, likewise."""
    return _installed(lambda: found_or_installed(lambda: on_path("chromium"), "chromium"))


@pytest.fixture(scope="module")
def browser(chromium: Path) -> Iterator[Browser]:
    """The browser, running. For a module only: while it runs, the thread has an event loop."""
    from tests.browser import opened  # only here: most tests need no browser

    with opened(chromium) as running:
        yield running


def _installed(find: Callable[[], Path]) -> Path:
    try:
        return find()
    except NoProgram as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(f"SKIPPED: {error}")


@pytest.fixture
def dsn(postgres: PostgresServer) -> str:
    """An empty schema of a running PostgreSQL."""
    return postgres.dsn(f"t{secrets.token_hex(8)}")


@pytest.fixture(scope="session")
def recorded(pytestconfig: pytest.Config) -> Path:
    """The directory of recorded episodes; tests that need it are skipped loudly where none is given."""
    given = pytestconfig.getoption("--recorded") or os.environ.get(RECORDED_VARIABLE)
    if not given:
        pytest.skip(f"no recorded episodes: needs --recorded DIR or {RECORDED_VARIABLE}")
    return Path(given)
