"""Credit against numbers worked out by hand, and which turns of an episode are learned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.v1 import journal_pb2, router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.learner.credit import (
    Lesson,
    PlayedTurn,
    error_cost,
    error_weight,
    facts_by_turn,
    is_learnable,
    lessons,
    played_turns,
    terminal_score,
)

HIGH, MEDIUM, LOW = pb.SEVERITY_HIGH, pb.SEVERITY_MEDIUM, pb.SEVERITY_LOW
Record = journal_pb2.JournalRecord


def decided(
    turn_index: int,
    *,
    attempt: int = 0,
    model: str = "a",
    phase: str = "",
    point: bool = True,
    mode: pb.Mode.ValueType = pb.MODE_LIVE,
    probability_of_a: float = 0.5,
    learnable: bool = True,
    previous: pb.TurnFacts | None = None,
) -> Record:
    """A decision's record between candidates a and b."""
    request = router_pb2.DecideRequest(turn_index=turn_index, attempt=attempt, previous_turn=previous)
    probabilities = {"a": probability_of_a, "b": 1.0 - probability_of_a}
    answer = router_pb2.DecideResponse(
        model=model,
        phase=phase,
        propensity=probabilities[model],
        ranked=[pb.RankedCandidate(model=name, probability=p) for name, p in probabilities.items()],
        decision_point=point,
        mode=mode,
    )
    inputs = journal_pb2.DecisionInputs(candidates=["a", "b"])
    body = journal_pb2.DecisionRecord(request=request, answer=answer, inputs=inputs, learnable=learnable)
    return Record(decision=body)


def reported(turn_index: int, *, late: bool = False, **facts: Any) -> Record:
    request = router_pb2.ReportTurnRequest(turn_index=turn_index, facts=pb.TurnFacts(**facts))
    return Record(turn=journal_pb2.TurnRecord(request=request, late=late))


def ended(**last_turn: Any) -> Record:
    facts = pb.TurnFacts(**last_turn) if last_turn else None
    return Record(outcome=journal_pb2.OutcomeRecord(request=router_pb2.ReportOutcomeRequest(last_turn=facts)))


def lessons_of(records: Sequence[Record], score: float, *, shadow: bool = False) -> list[Lesson]:
    """At ten expected turns."""
    turns, facts = played_turns(records), facts_by_turn(records)
    return lessons(turns, facts, score, expected_turns=10.0, learn_served_in_shadow=shadow)


def only(records: Sequence[Record]) -> PlayedTurn:
    (turn,) = played_turns(records)
    return turn


# --- The error cost ---


@pytest.mark.parametrize(
    ("severity", "turn_index", "expected"),
    [
        (HIGH, 0, 0.3 / 10),
        (HIGH, 2, 0.3 / 10),
        (HIGH, 4, 0.65 / 10),
        (HIGH, 6, 1.0 / 10),
        (HIGH, 9, 1.0 / 10),
        (HIGH, 99, 1.0 / 10),
        (MEDIUM, 0, 0.24 / 10),
        (MEDIUM, 9, 0.8 / 10),
        (LOW, 0, 0.2 / 10),
        (LOW, 9, 0.2 / 10),
        (pb.SEVERITY_NONE, 9, 0.0),
        (pb.SEVERITY_UNSPECIFIED, 9, 0.0),
    ],
)
def test_the_error_cost_is_that_of_the_paper(severity: pb.Severity.ValueType, turn_index: int, expected: float):
    """rho = max(c x w(p), .2) / N with p = (i + 1) / N, at N = 10."""
    assert error_cost(severity, turn_index, 10.0) == pytest.approx(expected)


@given(st.floats(0, 1), st.floats(0, 1))
def test_errors_never_count_less_later_than_earlier(one: float, other: float):
    early, late = sorted((one, other))
    assert 0.3 <= error_weight(early) <= error_weight(late) <= 1.0


@pytest.mark.parametrize(
    ("fields", "score"),
    [
        ({"score": 0.25, "status": pb.OUTCOME_STATUS_SUCCEEDED}, 0.25),
        ({"score": 0.0}, 0.0),
        ({"status": pb.OUTCOME_STATUS_SUCCEEDED}, 1.0),
        ({"status": pb.OUTCOME_STATUS_FAILED}, 0.0),
        ({"status": pb.OUTCOME_STATUS_ABANDONED}, None),
        ({"status": pb.OUTCOME_STATUS_ABANDONED, "score": 0.4}, 0.4),
    ],
    ids=str,
)
def test_a_score_counts_before_a_status_and_an_abandoned_episode_has_none(fields: dict[str, Any], score: float | None):
    assert terminal_score(router_pb2.ReportOutcomeRequest(**fields)) == score


# --- Targets ---


def test_targets_are_those_worked_out_by_hand():
    """Score .8, N = 10; errors: high at turn 1 (.3 / 10), medium at turn 3 (.8 x .475 / 10), low at turn 4 (.2 / 10).

    Decisions at 0, 2 and 4; turns 1 and 3 are held. Suffixes: .8 - .088, .8 - .058, .8 - .02.
    """
    records = [
        decided(0),
        decided(1, point=False),
        decided(2, phase="code", previous=pb.TurnFacts(error=HIGH)),
        decided(3, phase="code", point=False),
        decided(4, phase="plan", previous=pb.TurnFacts(error=MEDIUM)),
        ended(error=LOW),
    ]
    first, second, third = lessons_of(records, 0.8)
    assert [lesson.credit for lesson in (first, second, third)] == pytest.approx([0.712, 0.742, 0.78])
    assert [lesson.turns_to_go for lesson in (first, second, third)] == [5, 3, 1]


def test_only_the_first_decision_in_a_phase_is_a_lesson():
    """Reviews and returns come to whom episodes take long, so they would be blamed for that."""
    records = [decided(0), decided(8), decided(9, phase="code", model="b"), decided(12, model="b")]
    taught = [(lesson.turn.turn_index, lesson.turn.served) for lesson in lessons_of(records, 1.0)]
    assert taught == [(0, "a"), (9, "b")]


def test_errors_of_a_failed_episode_take_credit_below_zero():
    (lesson,) = lessons_of([decided(0), ended(error=HIGH)], 0.0)
    assert lesson.credit == pytest.approx(-0.03)


def test_errors_of_turns_that_the_client_decided_count_as_well():
    """Turn 1 never came here, but its facts did: it lies behind the decision at turn 0."""
    facts = pb.TurnFacts(error=HIGH, decided_by_client=True, served_model="b")
    first, second = lessons_of([decided(0), decided(2, phase="code", previous=facts)], 1.0)
    assert first.credit == pytest.approx(0.97)
    assert second.credit == 1.0


def test_turns_to_go_count_gaps_in_the_numbering():
    assert [lesson.turns_to_go for lesson in lessons_of([decided(3), decided(9, phase="code")], 1.0)] == [7, 1]


# --- What an episode's records add up to ---


def test_the_first_facts_of_a_turn_win_whichever_way_they_came():
    piggy_backed = [decided(0), decided(1, previous=pb.TurnFacts(error=HIGH)), reported(0, error=LOW)]
    apart = [decided(0), reported(0, error=LOW), decided(1, previous=pb.TurnFacts(error=HIGH))]
    severities = [played_turns(records)[0].facts for records in (piggy_backed, apart)]
    assert [facts.error if facts else None for facts in severities] == [HIGH, LOW]


def test_the_last_turns_facts_come_with_the_outcome_unless_they_were_reported():
    with_outcome, reported_before = (
        only(records) for records in ([decided(0), ended(error=HIGH)], [decided(0), reported(0), ended(error=HIGH)])
    )
    assert with_outcome.facts is not None
    assert with_outcome.facts.error == HIGH
    assert reported_before.facts == pb.TurnFacts()


def test_facts_that_came_after_the_end_do_not_count():
    assert only([decided(0), ended(), reported(0, late=True, error=HIGH)]).facts is None


def test_of_several_attempts_only_the_last_was_played():
    turn = only([decided(0, model="a"), decided(0, attempt=1, model="b")])
    assert (turn.served, turn.decision.request.attempt) == ("b", 1)
    assert len(lessons_of([decided(0, model="a"), decided(0, attempt=1, model="b")], 1.0)) == 1


# --- What is learned ---


def _served(mode: pb.Mode.ValueType, model: str | None) -> PlayedTurn:
    """Chosen a; served `model`, None = never reported."""
    facts = [] if model is None else [reported(0, served_model=model)]
    return only([decided(0, mode=mode), *facts])


@pytest.mark.parametrize(
    ("mode", "served", "by_default", "by_setting"),
    [
        (pb.MODE_LIVE, "a", True, True),
        (pb.MODE_LIVE, None, True, True),
        (pb.MODE_LIVE, "b", False, False),
        (pb.MODE_HEURISTIC, "a", True, True),
        (pb.MODE_HEURISTIC, None, True, True),
        (pb.MODE_HEURISTIC, "b", False, False),
        (pb.MODE_SHADOW, "a", True, True),
        (pb.MODE_SHADOW, None, False, False),
        (pb.MODE_SHADOW, "b", False, True),
        (pb.MODE_SHADOW, "somebody else", False, False),
    ],
)
def test_a_lesson_is_about_the_model_that_served(
    mode: pb.Mode.ValueType, served: str | None, by_default: bool, by_setting: bool
):
    """Unreported counts as served where the router is obeyed; another model only in SHADOW, by setting, if offered."""
    turn = _served(mode, served)
    assert is_learnable(turn, learn_served_in_shadow=False) == by_default
    assert is_learnable(turn, learn_served_in_shadow=True) == by_setting


def test_held_guarded_and_faulty_decisions_make_no_lesson():
    assert lessons_of([decided(0, point=False), decided(1, learnable=False)], 1.0) == []


def test_contrasts_are_who_served_less_what_was_as_likely():
    (lesson,) = lessons_of([decided(0, model="b", probability_of_a=0.9)], 1.0)
    assert lesson.contrasts == pytest.approx({"a": -0.9, "b": 0.9})


def test_a_choice_that_was_certain_contrasts_nothing():
    """Such as the table's in HEURISTIC mode, or a control's."""
    (lesson,) = lessons_of([decided(0, probability_of_a=1.0)], 1.0)
    assert lesson.contrasts == {"a": 0.0, "b": 0.0}


def test_a_candidate_that_could_not_be_chosen_is_in_no_contrast():
    record = decided(0)
    record.decision.answer.ranked.add(model="c", excluded_because=pb.EXCLUSION_DENIED)
    (lesson,) = lessons_of([record], 1.0)
    assert set(lesson.contrasts) == {"a", "b"}


def test_who_served_for_reasons_unknown_is_taken_for_one_of_all_at_random():
    records = [decided(0, mode=pb.MODE_SHADOW, probability_of_a=0.9), reported(0, served_model="b")]
    (lesson,) = lessons_of(records, 1.0, shadow=True)
    assert lesson.contrasts == {"a": -0.5, "b": 0.5}


def test_an_episode_without_decisions_has_no_turns_and_no_lessons():
    assert played_turns([reported(0, decided_by_client=True), ended()]) == []
    assert lessons_of([ended()], 1.0) == []
