"""When a report is sent again, and what is counted."""

from __future__ import annotations

from random import Random

import pytest

from sojourn.counters import Tally
from sojourn.errors import Refusal
from sojourn.reports import (
    BACKOFF_BASE_S,
    BACKOFF_CEILING_S,
    Acknowledgement,
    Report,
    backoff_s,
    conclude,
    is_to_be_retried,
)
from sojourn.v1 import router_pb2

TURN = Report(router_pb2.ReportTurnRequest(episode_id="e", turn_index=0))


class Widest(Random):
    """Draws the upper end, so that a test sees the widest wait."""

    def uniform(self, a: float, b: float) -> float:
        return b


def test_waits_double_up_to_a_ceiling():
    waits = [backoff_s(retries, 0.0, Widest()) for retries in range(100)]
    assert waits[:4] == [BACKOFF_BASE_S * factor for factor in (1, 2, 4, 8)]
    assert waits[-1] == max(waits) == BACKOFF_CEILING_S


def test_waits_are_spread_over_the_whole_range_down_to_zero():
    rng = Random(1)
    waits = [backoff_s(3, 0.0, rng) for _ in range(1000)]
    assert 0 <= min(waits) < 0.02 * BACKOFF_BASE_S * 8
    assert 0.98 * BACKOFF_BASE_S * 8 < max(waits) <= BACKOFF_BASE_S * 8


@pytest.mark.parametrize(("wish_s", "least_s"), [(1.5, 1.5), (-1.0, 0.0), (1e9, BACKOFF_CEILING_S)])
def test_the_routers_wish_is_honoured_within_reason(wish_s: float, least_s: float):
    assert least_s <= backoff_s(0, wish_s, Random(1)) <= least_s + BACKOFF_BASE_S


@pytest.mark.parametrize("code", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "RESOURCE_EXHAUSTED", "ABORTED", "CANCELLED"])
def test_passing_failures_are_retried(code: str):
    assert is_to_be_retried(Refusal(code, ""))


@pytest.mark.parametrize("code", ["INVALID_ARGUMENT", "ALREADY_EXISTS", "NOT_FOUND", "INTERNAL", "UNAUTHENTICATED"])
def test_a_refusal_for_good_is_counted_and_kept(code: str):
    tally = Tally()
    refusal = Refusal(code, "no")
    assert not is_to_be_retried(refusal)
    assert conclude(TURN, refusal, tally) == refusal
    assert tally.read().reports_refused == 1
    assert [(kept.request, kept.refusal) for kept in tally.refused()] == [(TURN.request, refusal)]


def test_an_outcomes_acknowledgement_tells_the_decisions_that_it_joins():
    tally = Tally()
    turn = router_pb2.ReportTurnResponse(state=router_pb2.REPORT_STATE_DUPLICATE)
    outcome = router_pb2.ReportOutcomeResponse(state=router_pb2.REPORT_STATE_RECORDED, joined_decisions=0)
    assert conclude(TURN, turn, tally) == Acknowledgement("DUPLICATE", None)
    assert conclude(TURN, outcome, tally) == Acknowledgement("RECORDED", 0)
    assert tally.read().reports_acknowledged == 2
