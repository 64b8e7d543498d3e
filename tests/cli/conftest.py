from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import open_app, play


@pytest.fixture(scope="session")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a router that served the episodes e0 to e4 and was stopped; nobody writes to it."""
    directory = tmp_path_factory.mktemp("played")
    with open_app(directory) as app:
        for i in range(5):
            play(app.address, f"e{i}", score=i / 4)
    return directory
