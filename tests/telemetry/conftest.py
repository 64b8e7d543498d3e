"""A collector, and an environment in which OTEL_* say only what a test says."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.telemetry.sink import Sink


@pytest.fixture
def sink() -> Iterator[Sink]:
    sink = Sink()
    yield sink
    sink.close()


@pytest.fixture(autouse=True)
def no_otel_variables(monkeypatch: pytest.MonkeyPatch):
    for name in [n for n in os.environ if n.startswith("OTEL_")]:
        monkeypatch.delenv(name)
