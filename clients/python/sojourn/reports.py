"""How reports reach the router in the end: what is retried, when, and what is counted. No I/O.

Reports are idempotent by their natural keys, so a retry can do no harm. They go one at a time, oldest first,
because an outcome must not overtake the facts of its turns. A report is retried until it is acknowledged,
refused for good, or given up at `close()`; waits are full-jitter exponential backoff
(https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/). When the queue is full the newest
report is dropped: the older ones are nearer to the end of their episodes' windows.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import TypeGuard

from sojourn.counters import RefusedReport, Tally
from sojourn.decision import short_names
from sojourn.errors import Refusal
from sojourn.messages import ReportRequest
from sojourn.v1 import router_pb2

ReportResponse = router_pb2.ReportTurnResponse | router_pb2.ReportOutcomeResponse
Metadata = tuple[tuple[str, str], ...]

# CANCELLED: the server went away during the call; the client itself cancels a report at close() only.
RETRYABLE = frozenset({"UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"})
BACKOFF_BASE_S = 0.1
BACKOFF_CEILING_S = 10.0

_STATES = short_names(router_pb2.ReportState, "REPORT_STATE_")


@dataclass(frozen=True, slots=True)
class Report:
    """A report in the queue, with the headers of the moment when the caller gave it."""

    request: ReportRequest
    metadata: Metadata = ()


@dataclass(frozen=True, slots=True)
class Acknowledgement:
    """The router's receipt: `state` is RECORDED, DUPLICATE or LATE.

    `joined_decisions` counts the decisions that an outcome joins, and is None for a turn; 0 means that
    nothing can be learned from it: was the episode_id right?
    """

    state: str
    joined_decisions: int | None = None


def backoff_s(retries: int, retry_after_s: float, rng: Random) -> float:
    """Return the seconds to wait before retry number `retries` (from 0): the router's wish plus full jitter."""
    ceiling_s = min(BACKOFF_CEILING_S, BACKOFF_BASE_S * 2.0 ** min(retries, 16))
    return max(0.0, min(retry_after_s, BACKOFF_CEILING_S)) + rng.uniform(0.0, ceiling_s)


def is_to_be_retried(answer: ReportResponse | Refusal) -> TypeGuard[Refusal]:
    """Tell whether a report should be sent again."""
    return isinstance(answer, Refusal) and answer.code in RETRYABLE


def conclude(report: Report, answer: ReportResponse | Refusal, tally: Tally) -> Acknowledgement | Refusal:
    """Count what became of a report in the end, and return it."""
    if not isinstance(answer, Refusal):
        tally.count("reports_acknowledged")
        return acknowledgement(answer)
    tally.keep(RefusedReport(report.request, answer))
    return answer


def acknowledgement(response: ReportResponse) -> Acknowledgement:
    """Return the router's receipt."""
    joined = response.joined_decisions if isinstance(response, router_pb2.ReportOutcomeResponse) else None
    return Acknowledgement(_STATES.get(response.state, str(response.state)), joined)
