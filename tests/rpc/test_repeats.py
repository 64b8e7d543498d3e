"""Repeats and order over the wire: the first of each kind wins, and it is said whether a later one agrees with it.

A decision is named by (policy, episode, turn, attempt), a turn's facts by (policy, episode, turn), an outcome by
(policy, episode). Whoever repeats one gets the first answer; whoever contradicts one is told; nothing is stored twice.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from sojourn.v1.journal_pb2 import JournalRecord
from sojourn.v1.router_pb2 import (
    REPORT_STATE_DUPLICATE,
    REPORT_STATE_LATE,
    REPORT_STATE_RECORDED,
    DecideRequest,
    DecideResponse,
    ReportOutcomeRequest,
    ReportOutcomeResponse,
    ReportTurnRequest,
    ReportTurnResponse,
)
from sojourn.v1.router_pb2_grpc import RouterServiceStub
from sojourn.v1.types_pb2 import OUTCOME_STATUS_FAILED, OUTCOME_STATUS_SUCCEEDED, Context, TurnFacts
from sojourn_server.app import App

RACERS = 16


class Caller:
    """One episode's caller, over a channel to a real server."""

    def __init__(self, server: App, stub: RouterServiceStub) -> None:
        self.server = server
        self._stub = stub

    def decide(self, turn_index: int = 0, **fields: Any) -> DecideResponse:
        """Asks for a turn's model."""
        return self._stub.Decide(DecideRequest(episode_id="e", turn_index=turn_index, **fields), timeout=10)

    def report(self, turn_index: int = 0, **facts: Any) -> ReportTurnResponse:
        """Reports a turn by its place."""
        request = ReportTurnRequest(episode_id="e", turn_index=turn_index, facts=TurnFacts(**facts))
        return self._stub.ReportTurn(request, timeout=10)

    def report_by_id(self, decision_id: str, **facts: Any) -> ReportTurnResponse:
        """Reports a turn by its decision."""
        return self._stub.ReportTurn(ReportTurnRequest(decision_id=decision_id, facts=TurnFacts(**facts)), timeout=10)

    def end(self, **fields: Any) -> ReportOutcomeResponse:
        """Reports the outcome, a success unless told otherwise."""
        fields = {"status": OUTCOME_STATUS_SUCCEEDED, **fields}
        return self._stub.ReportOutcome(ReportOutcomeRequest(episode_id="e", **fields), timeout=10)

    def records(self) -> list[JournalRecord]:
        """What the journal holds of the episode."""
        return list(self.server.journal.episode("default", "e"))

    def refused(self, call: Callable[[], object]) -> tuple[grpc.StatusCode, str]:
        """Status and reason of a call that is refused and stores nothing."""
        before = self.server.journal.position()
        with pytest.raises(grpc.RpcError) as refusal:
            call()
        assert self.server.journal.position() == before
        assert isinstance(refusal.value, grpc.Call)
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(refusal.value)
        assert status is not None
        assert any(detail.Unpack(info) for detail in status.details)
        return refusal.value.code(), str(info.reason)


@pytest.fixture
def caller(server: App) -> Iterator[Caller]:
    with grpc.insecure_channel(server.address) as channel:
        yield Caller(server, RouterServiceStub(channel))


CONFLICT = (grpc.StatusCode.ALREADY_EXISTS, "PAYLOAD_CONFLICT")
OUT_OF_ORDER = (grpc.StatusCode.FAILED_PRECONDITION, "TURN_OUT_OF_ORDER")
ENDED = (grpc.StatusCode.FAILED_PRECONDITION, "EPISODE_ENDED")
UNKNOWN = (grpc.StatusCode.NOT_FOUND, "UNKNOWN_DECISION")


# --- Decisions ---


def test_a_repeated_turn_gets_the_first_answer_and_is_stored_once(caller: Caller):
    first = caller.decide(context=Context(features={"a": 1.0, "b": 2.0}))
    assert caller.decide(context=Context(features={"b": 2.0, "a": 1.0})) == first
    assert len(caller.records()) == 1


def test_a_repeat_gets_the_first_answer_whatever_it_says_of_the_previous_turn(caller: Caller):
    caller.decide(0)
    first = caller.decide(1, previous_turn=TurnFacts(cost_usd=0.01))
    assert caller.decide(1, previous_turn=TurnFacts(cost_usd=0.02)) == first
    assert caller.decide(1) == first
    assert len(caller.records()) == 2


def test_a_repeat_of_an_older_turn_gets_its_first_answer(caller: Caller):
    first = caller.decide(0)
    caller.decide(1)
    assert caller.decide(0) == first


def test_a_repeat_gets_the_first_answer_after_the_outcome_too(caller: Caller):
    first = caller.decide(0)
    caller.end()
    assert caller.decide(0) == first


@pytest.mark.parametrize(
    "other", [{"context": Context(phase="test")}, {"cost_weight": 0.0}, {"assignment_key": "tenant"}]
)
def test_another_payload_for_a_decided_turn_is_a_conflict(caller: Caller, other: dict[str, Any]):
    caller.decide(0)
    assert caller.refused(lambda: caller.decide(0, **other)) == CONFLICT


def test_another_payload_is_a_conflict_after_the_outcome_too(caller: Caller):
    caller.decide(0)
    caller.end()
    assert caller.refused(lambda: caller.decide(0, cost_weight=1.0)) == CONFLICT


def test_a_new_attempt_is_a_decision_of_its_own_and_avoids_the_failed_model(caller: Caller):
    first = caller.decide(0)
    second = caller.decide(0, attempt=1)
    assert second.decision_id != first.decision_id
    assert second.model != first.model
    assert caller.decide(0) == first
    assert caller.decide(0, attempt=1) == second


def test_turns_may_be_skipped_but_not_made_up_for(caller: Caller):
    """A gap means that the client decided by itself; what lies below the newest turn can no longer be decided."""
    assert caller.decide(0).model
    assert caller.decide(3).model
    assert caller.refused(lambda: caller.decide(2)) == OUT_OF_ORDER
    assert caller.decide(4).model


def test_an_episode_may_begin_above_turn_0(caller: Caller):
    assert caller.decide(5, previous_turn=TurnFacts(served_model="elsewhere")).incumbent == "elsewhere"
    assert caller.refused(lambda: caller.decide(4)) == OUT_OF_ORDER


def test_an_attempt_below_the_newest_is_out_of_order(caller: Caller):
    caller.decide(1, attempt=1)
    assert caller.refused(lambda: caller.decide(1)) == OUT_OF_ORDER


@pytest.mark.parametrize("turn_index", [0, 2])
def test_an_ended_episode_decides_no_new_turn(caller: Caller, turn_index: int):
    caller.decide(1)
    caller.end()
    assert caller.refused(lambda: caller.decide(turn_index)) == ENDED


def test_callers_racing_for_one_turn_get_one_answer_and_one_record(caller: Caller):
    start = Barrier(RACERS)

    def race(_: int) -> bytes:
        start.wait(timeout=30)
        return caller.decide(0).SerializeToString(deterministic=True)

    with ThreadPoolExecutor(RACERS) as racers:
        answers = set(racers.map(race, range(RACERS)))
    assert len(answers) == 1
    assert len(caller.records()) == 1


# --- Turns ---


def test_a_turn_reported_again_is_a_duplicate_and_stored_once(caller: Caller):
    caller.decide(0)
    assert caller.report(0, cost_usd=0.01).state == REPORT_STATE_RECORDED
    assert caller.report(0, cost_usd=0.01).state == REPORT_STATE_DUPLICATE
    assert len(caller.records()) == 2


def test_other_facts_of_a_reported_turn_are_a_conflict(caller: Caller):
    caller.decide(0)
    caller.report(0, cost_usd=0.01)
    assert caller.refused(lambda: caller.report(0, cost_usd=0.02)) == CONFLICT


def test_a_turn_named_by_its_decision_is_the_same_turn(caller: Caller):
    decision_id = caller.decide(0).decision_id
    assert caller.report_by_id(decision_id, cost_usd=0.01).state == REPORT_STATE_RECORDED
    assert caller.report(0, cost_usd=0.01).state == REPORT_STATE_DUPLICATE
    assert caller.report_by_id(decision_id, cost_usd=0.01).state == REPORT_STATE_DUPLICATE
    assert caller.refused(lambda: caller.report_by_id(decision_id, cost_usd=0.02)) == CONFLICT


def test_facts_sent_along_with_the_next_turn_count_as_the_report(caller: Caller):
    caller.decide(0)
    caller.decide(1, previous_turn=TurnFacts(cost_usd=0.01))
    assert caller.report(0, cost_usd=0.01).state == REPORT_STATE_DUPLICATE
    assert caller.refused(lambda: caller.report(0, cost_usd=0.02)) == CONFLICT


def test_a_turn_that_nobody_decided_is_unknown(caller: Caller):
    caller.decide(0)
    assert caller.refused(lambda: caller.report(1)) == UNKNOWN
    assert caller.refused(lambda: caller.report_by_id("0" * 44)) == UNKNOWN


def test_a_turn_that_the_client_decided_is_recorded(caller: Caller):
    assert caller.report(0, served_model="own", decided_by_client=True).state == REPORT_STATE_RECORDED
    assert caller.decide(1).incumbent == "own"


def test_a_turn_reported_after_the_outcome_is_late(caller: Caller):
    caller.decide(0)
    caller.end()
    assert caller.report(0, cost_usd=0.01).state == REPORT_STATE_LATE
    assert caller.records()[-1].turn.late


def test_a_previous_turn_that_contradicts_the_report_is_flagged_and_ignored(caller: Caller):
    caller.decide(0)
    caller.report(0, served_model="reported")
    answer = caller.decide(1, previous_turn=TurnFacts(served_model="contradicting"))
    assert answer.previous_turn_ignored
    assert answer.incumbent == "reported"


def test_a_previous_turn_that_agrees_with_the_report_is_not_flagged(caller: Caller):
    caller.decide(0)
    caller.report(0, served_model="reported")
    assert not caller.decide(1, previous_turn=TurnFacts(served_model="reported")).previous_turn_ignored


# --- Outcomes ---


def test_an_outcome_reported_again_is_a_duplicate_that_joins_as_many_decisions(caller: Caller):
    caller.decide(0)
    caller.decide(1)
    first = caller.end(score=0.5, metrics={"a": 1.0, "b": 2.0})
    assert first == ReportOutcomeResponse(state=REPORT_STATE_RECORDED, joined_decisions=2)
    again = caller.end(score=0.5, metrics={"b": 2.0, "a": 1.0})
    assert again == ReportOutcomeResponse(state=REPORT_STATE_DUPLICATE, joined_decisions=2)
    assert len(caller.records()) == 3


@pytest.mark.parametrize("other", [{"status": OUTCOME_STATUS_FAILED}, {"score": 0.9}, {"cost_usd": 1.0}])
def test_another_outcome_of_an_ended_episode_is_a_conflict(caller: Caller, other: dict[str, Any]):
    caller.decide(0)
    caller.end()
    assert caller.refused(lambda: caller.end(**other)) == CONFLICT


def test_an_outcome_without_decisions_is_recorded_and_says_that_it_joins_none(caller: Caller):
    assert caller.end() == ReportOutcomeResponse(state=REPORT_STATE_RECORDED, joined_decisions=0)
    assert caller.refused(lambda: caller.decide(0)) == ENDED


def test_racing_outcomes_are_recorded_once(caller: Caller):
    caller.decide(0)
    start = Barrier(RACERS)

    def race(_: int) -> int:
        start.wait(timeout=30)
        return caller.end().state

    with ThreadPoolExecutor(RACERS) as racers:
        states = sorted(racers.map(race, range(RACERS)))
    assert states == [REPORT_STATE_RECORDED] + [REPORT_STATE_DUPLICATE] * (RACERS - 1)
    assert len(caller.records()) == 2
