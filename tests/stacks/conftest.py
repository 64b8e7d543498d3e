"""The router that stacks are tried against, in a mode that a module or a test may change."""

from __future__ import annotations

import pytest

from sojourn_server.config import Config, ModeName, PolicyConfig


@pytest.fixture
def mode() -> ModeName:
    """That of a router that nobody has configured."""
    return "LIVE"


@pytest.fixture
def config(config: Config, mode: ModeName) -> Config:
    """The shared configuration with one policy, in this mode."""
    return config.model_copy(update={"policies": {"default": PolicyConfig(mode=mode)}})
