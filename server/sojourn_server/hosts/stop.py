"""What a signal tells a process that waits to be told.

Not a `threading.Event`: its lock is held for a moment when somebody begins to wait and when he is woken, and a signal
that falls into that moment would wait for its own thread for ever. A `SimpleQueue` may be put into at any moment.
"""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue


class Stop:
    """Set once, by a signal or by anybody; for one thread that waits."""

    def __init__(self) -> None:
        """Not set."""
        self._told: SimpleQueue[None] = SimpleQueue()
        self._is_set = False

    def set(self) -> None:
        """Ends all waiting, now and later; safe in a signal's handler."""
        self._is_set = True
        self._told.put(None)

    def is_set(self) -> bool:
        """Whether it was set."""
        return self._is_set

    def wait(self, timeout_s: float | None = None) -> bool:
        """Waits until it is set, or for so many seconds; whether it is set."""
        if not self._is_set:
            with suppress(Empty):
                self._told.get(timeout=timeout_s)
        return self._is_set
