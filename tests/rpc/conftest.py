"""Stubs of the server that `tests/conftest.py` starts."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sojourn_server.app import App
from sojourn_server.config import Config, PolicyConfig
from tests.policy.play import QUICK_LESSON
from tests.rpc.wire import Stubs, connected


@pytest.fixture
def config(config: Config) -> Config:
    """As everywhere, but for a small prior: a server starts in no time."""
    return config.model_copy(update={"policies": {"default": PolicyConfig(lesson=QUICK_LESSON)}})


@pytest.fixture
def stubs(server: App) -> Iterator[Stubs]:
    """Both services of a running server."""
    with connected(server.address) as opened:
        yield opened
