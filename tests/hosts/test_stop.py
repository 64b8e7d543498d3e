"""A signal may tell a process to stop at any moment, also while it begins to wait."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from types import FrameType
from typing import Any

import pytest

from sojourn_server.hosts.stop import Stop


@pytest.fixture
def stop() -> Iterator[Stop]:
    """Set by SIGUSR1."""
    made = Stop()
    before = signal.signal(signal.SIGUSR1, lambda *_: made.set())
    yield made
    signal.signal(signal.SIGUSR1, before)


@pytest.mark.timeout(20)
@pytest.mark.parametrize("at_line", range(1, 6))
def test_a_signal_that_falls_into_the_beginning_of_a_wait_ends_it(stop: Stop, at_line: int):
    """At each line of Python that waiting goes through, in whatever it calls."""
    lines = 0

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        if event == "line" and lines == at_line:
            signal.raise_signal(signal.SIGUSR1)
        return trace

    sys.settrace(trace)
    try:
        told = stop.wait(0.05 if at_line > 3 else None)
    finally:
        sys.settrace(None)
    assert told or lines < at_line


@pytest.mark.timeout(20)
def test_who_waits_is_told_by_a_signal_and_by_another_thread(stop: Stop):
    assert not stop.wait(0.01)
    threading.Timer(0.05, os.kill, [os.getpid(), signal.SIGUSR1]).start()
    started = time.monotonic()
    assert stop.wait(15.0)
    assert time.monotonic() - started < 10.0
    assert stop.is_set()
    assert stop.wait()
    other = Stop()
    threading.Timer(0.05, other.set).start()
    assert other.wait()
