"""An episode's stretches and the reasons in plain words, from records that a router would write."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.reports.stretches import Stretch, staying, stretches

Record = journal_pb2.JournalRecord
HELD, FIRST = types_pb2.REASON_HELD, types_pb2.REASON_FIRST_TURN
PHASE = types_pb2.REASON_PHASE_CHANGED


def ranked(model: str, utility: float, **fields: Any) -> types_pb2.RankedCandidate:
    given = {"score": 0.5 + utility, "cost_usd": 0.01, "switching_cost_usd": 0.002, "probability": 0.25}
    return types_pb2.RankedCandidate(model=model, utility=utility, **{**given, **fields})


def decision(turn: int, model: str, reason: int, **answer: Any) -> Record:
    inputs = answer.pop("inputs", {})
    request = router_pb2.DecideRequest(turn_index=turn, **answer.pop("request", {}))
    answered = router_pb2.DecideResponse(model=model, reason=reason, decision_point=reason != HELD, **answer)  # type: ignore[arg-type]  # enums are numbers
    return Record(
        episode_id="e",
        decision=journal_pb2.DecisionRecord(
            request=request, answer=answered, inputs=journal_pb2.DecisionInputs(**inputs)
        ),
    )


def facts(turn: int, **known: Any) -> Record:
    report = router_pb2.ReportTurnRequest(turn_index=turn, facts=types_pb2.TurnFacts(**known))
    return Record(episode_id="e", turn=journal_pb2.TurnRecord(request=report))


def only(*records: Record) -> Stretch:
    (found,) = stretches(records, {})
    return found


def test_held_turns_belong_to_the_decision_before_them():
    found = stretches(
        [
            decision(0, "a", FIRST, phase="search"),
            decision(1, "a", HELD),
            facts(1, error=types_pb2.SEVERITY_MEDIUM, cost_usd=0.5),
            decision(2, "a", PHASE, phase="code"),
            facts(2, cost_usd=0.25),
            decision(3, "b", PHASE, phase="search", ranked=[ranked("b", 0.2), ranked("a", 0.1)]),
            decision(4, "b", HELD),
        ],
        {},
    )
    assert [[t.decision.request.turn_index for t in s.turns] for s in found] == [[0, 1], [2], [3, 4]]
    assert [(s.model, s.phase, s.switched) for s in found] == [
        ("a", "search", False),
        ("a", "code", False),
        ("b", "search", True),
    ]
    assert [s.errors for s in found] == [[(1, "medium")], [], []]
    assert [s.cost_usd for s in found] == [None, 0.25, None]
    assert [s.forfeited_usd for s in found] == [None, None, 0.002]
    assert staying([t for s in found for t in s.turns]) == (1, 1)


def test_a_model_that_the_caller_served_instead_begins_a_stretch():
    found = stretches([decision(0, "a", FIRST), decision(1, "a", HELD), facts(1, served_model="b")], {})
    assert [s.model for s in found] == ["a", "b"]
    assert "chosen was a; the caller served another" in found[1].why
    assert found[1].forfeited_usd is None


def test_attempts_that_could_not_serve_are_told_by_the_one_that_did():
    retried = decision(0, "b", types_pb2.REASON_NEW_ATTEMPT, request={"attempt": 1}, inputs={"failed_models": ["a"]})
    found = only(decision(0, "a", FIRST), retried)
    assert (found.model, found.why.startswith("a could not serve")) == ("b", True)


def test_a_worthwhile_switch_says_by_how_much_and_against_whom():
    candidates = [ranked("b", 0.3, cost_usd=0.005), ranked("c", 0.25), ranked("a", 0.1)]
    why = only(
        decision(4, "b", PHASE, phase="code", incumbent="a", ranked=candidates, inputs={"earlier_phase": "search"})
    ).why
    assert why == ("the work changed from search to code; worth 0.200 more than a (score +0.200, USD to go -0.0050)")


def test_staying_is_compared_with_the_next_best():
    candidates = [ranked("a", 0.3), ranked("c", 0.25), ranked("b", 0.1)]
    stay = decision(8, "a", types_pb2.REASON_CACHE_EXPIRED, incumbent="a", ranked=candidates)
    assert only(stay).why.startswith("the cache was gone, so leaving was free; worth 0.050 more than c")


def test_a_return_says_to_what():
    assert only(decision(9, "b", types_pb2.REASON_RETURNED, phase="code", incumbent="a")).why == (
        "back to code, and to the model that served it"
    )


def test_a_trial_says_its_probability_and_what_it_may_have_cost():
    candidates = [ranked("a", 0.3), ranked("b", 0.1, probability=0.05)]
    why = only(decision(0, "b", FIRST, ranked=candidates)).why
    assert why == "first turn; tried with probability 0.05, though a looked worth 0.200 more"


@pytest.mark.parametrize(
    ("record", "said"),
    [
        (
            decision(
                0,
                "b",
                types_pb2.REASON_INCUMBENT_INELIGIBLE,
                ranked=[types_pb2.RankedCandidate(model="a", excluded_because=types_pb2.EXCLUSION_DRAINED)],
                inputs={"incumbent": "a"},
            ),
            "a may not serve: drained",
        ),
        (
            decision(0, "b", types_pb2.REASON_INCUMBENT_INELIGIBLE, inputs={"incumbent": "a"}),
            "a may not serve: it is not offered",
        ),
        (
            decision(
                0,
                "a",
                types_pb2.REASON_MUST_STAY,
                request={"constraints": types_pb2.Constraints(must_stay_because="open tool call")},
            ),
            "the caller asked to stay: open tool call",
        ),
        (decision(0, "a", FIRST, cohort=types_pb2.COHORT_HEURISTIC), "first turn; chosen by the table"),
        (decision(0, "a", FIRST, cohort=types_pb2.COHORT_NEVER_SWITCH), "first turn; never-switch control"),
        (decision(0, "", FIRST), "played elsewhere and imported: nobody here chose"),
    ],
    ids=["drained", "not offered", "must stay", "table", "never-switch", "imported"],
)
def test_each_occasion_has_its_words(record: Record, said: str):
    assert only(record, facts(0, served_model=record.decision.answer.model or "x")).why == said


@pytest.mark.parametrize("reason", [r for r in types_pb2.Reason.values() if r])
def test_every_reason_of_the_contract_has_plain_words(reason: int):
    why = only(decision(0, "a", reason)).why
    assert why
    assert why != types_pb2.Reason.Name(reason)  # type: ignore[arg-type]  # enums are numbers
    assert why == why.lower()
