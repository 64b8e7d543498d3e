"""What a client counts, and the refused reports that it keeps for inspection.

Reports are sent in the background, where nobody can be handed an exception. So nothing that goes wrong there
is silent: it is counted and logged here, and the newest refusals are kept with their reasons.
"""

from __future__ import annotations

import logging
import threading
from collections import Counter, deque
from dataclasses import dataclass

from sojourn.decision import Decision
from sojourn.errors import Refusal, error_for
from sojourn.messages import ReportRequest

REFUSALS_KEPT = 100

_log = logging.getLogger("sojourn")


@dataclass(frozen=True, slots=True)
class RefusedReport:
    """A report that the router refused for good, and why."""

    request: ReportRequest
    refusal: Refusal


@dataclass(frozen=True, slots=True)
class Counters:
    """What a client has counted since it was made.

    `fallbacks` counts the turns that the client decided by itself, by gRPC status name.
    """

    decisions: int
    fallbacks: dict[str, int]
    reports_acknowledged: int
    reports_retried: int
    reports_refused: int
    reports_dropped: int


class Tally:
    """Counts for one client. Shared by its threads under its lock."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._counts: Counter[str] = Counter()
        self._fallbacks: Counter[str] = Counter()
        self._refused: deque[RefusedReport] = deque(maxlen=REFUSALS_KEPT)

    def count(self, name: str, number: int = 1) -> None:
        """Add to one of the fields of `Counters`."""
        with self._lock:
            self._counts[name] += number

    def count_decision(self, decision: Decision) -> None:
        """Count a decision, and why the client took it by itself if it did."""
        with self._lock:
            self._counts["decisions"] += 1
            if decision.fallback is not None:
                self._fallbacks[decision.fallback] += 1
        if decision.fallback is not None:
            _log.warning("no answer from the router (%s): going on with %s", decision.fallback, decision.model)

    def count_dropped(self, number: int, because: str) -> None:
        """Count reports that are given up without an acknowledgement."""
        self.count("reports_dropped", number)
        _log.warning("%d report(s) dropped: %s", number, because)

    def keep(self, refused: RefusedReport) -> None:
        """Count a refused report and keep it for `refused()`."""
        with self._lock:
            self._counts["reports_refused"] += 1
            self._refused.append(refused)
        _log.warning("report refused: %s", error_for(refused.refusal))

    def refused(self) -> tuple[RefusedReport, ...]:
        """Return the newest refused reports, oldest first."""
        with self._lock:
            return tuple(self._refused)

    def read(self) -> Counters:
        """Return the counts as they stand."""
        with self._lock:
            plain = {name: self._counts[name] for name in Counters.__dataclass_fields__ if name != "fallbacks"}
            return Counters(fallbacks=dict(self._fallbacks), **plain)
