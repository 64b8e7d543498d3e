"""A workshop that is closed after the test."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from tests.learner.workshop import Workshop


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Diagnostics are kept rather than printed; a test that reads them captures its own."""
    with capture_logs():
        yield


@pytest.fixture
def open_workshop(tmp_path: Path) -> Iterator[Callable[..., Workshop]]:
    """Opens workshops, each over a store of its own."""
    opened: list[Workshop] = []

    def open_one(*args: Any, **options: Any) -> Workshop:
        opened.append(Workshop(tmp_path / f"snapshots-{len(opened)}", *args, **options))
        return opened[-1]

    yield open_one
    for workshop in opened:
        workshop.close()


@pytest.fixture
def workshop(open_workshop: Callable[..., Workshop]) -> Workshop:
    """A workshop of the usual settings."""
    return open_workshop()
