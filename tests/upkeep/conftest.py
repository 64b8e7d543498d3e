"""A workshop over SQLite that has learned from old episodes, and an open one."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sojourn_server.journal.sqlite import SqliteJournal
from tests.learner.workshop import Workshop

OLD_EPISODES = 9


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Diagnostics are kept rather than printed."""
    with capture_logs():
        yield


@pytest.fixture
def workshop(tmp_path: Path) -> Iterator[Workshop]:
    """Nine episodes ended, "open" has one turn."""
    journal = SqliteJournal.open(tmp_path / "journal")
    opened = Workshop(tmp_path / "snapshots", journal=journal)
    opened.play_many(OLD_EPISODES)
    opened.decide("open", tool_type="code", features={"secret_feature": 1.0}, tool_name="secret_tool")
    opened.settle()
    yield opened
    opened.close()
    journal.close()
