"""Retention by itself: a thread that erases the features of episodes that ended long enough ago, once an hour.

Where several hosts share a journal each of them does it. Whoever comes second finds nothing left to do.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Literal

import structlog

from sojourn_server.errors import JournalUnavailable
from sojourn_server.journal.journal import Journal
from sojourn_server.upkeep.erasure import erase_features
from sojourn_server.world import read_world

log = structlog.get_logger(__name__)
DAY_MS = 86_400_000
PASS_S = 3_600.0


class Retention:
    """Erases features while the service runs."""

    def __init__(
        self,
        journal: Journal,
        *,
        days: int | None,
        now_ms: Callable[[], int],
        fault: Callable[[Literal["retention_failed"]], None],
    ) -> None:
        """`days` None = nothing is ever erased. `fault` hears when a pass could not be finished."""
        self._journal = journal
        self._kept_ms = (days or 0) * DAY_MS
        self._now_ms = now_ms
        self._fault = fault
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="retention", daemon=True)

    def start(self) -> None:
        """Works in a thread from now on, if there is anything to do."""
        if self._kept_ms:
            self._thread.start()

    def close(self) -> None:
        """Stops after the policy that is being worked on."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for policy in read_world(self._journal).policies:
                    self._pass(policy, self._now_ms())
            except JournalUnavailable as error:
                log.warning("retention_waits_for_journal", error=str(error))
            self._stopping.wait(PASS_S)

    def _pass(self, policy: str, now_ms: int) -> None:
        """Raises JournalUnavailable."""
        if self._stopping.is_set():
            return
        try:
            erased = erase_features(self._journal, policy, before_ms=now_ms - self._kept_ms, now_ms=now_ms)
        except JournalUnavailable:
            raise
        except Exception:  # features that outstay their time are a fault that somebody has to look at
            self._fault("retention_failed")
            log.exception("retention_failed", policy=policy)
        else:
            log.info("features_erased", policy=policy, decisions=erased)
