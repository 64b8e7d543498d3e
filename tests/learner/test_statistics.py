"""What is counted beside the regressions: means that fade, evidence that decays, medians that follow, names bounded."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.v1 import journal_pb2, router_pb2, snapshot_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.config import LessonSettings
from sojourn_server.learner.credit import PlayedTurn, facts_by_turn, lessons, played_turns
from sojourn_server.learner.statistics import add, count_episode, expected_turns

SETTINGS = LessonSettings(evidence_half_life_episodes=10.0, median_episodes=5)
NAMES = 512


def episode(*served: str, phases: str = "search", task_type: str = "t") -> list[journal_pb2.JournalRecord]:
    """Records of an episode whose turns these models served, each an open choice; prompts grow by 100 tokens.

    `phases` are those of the turns in order, the last one of all that follow.
    """
    names = phases.split()
    return [
        journal_pb2.JournalRecord(
            decision=journal_pb2.DecisionRecord(
                request=router_pb2.DecideRequest(turn_index=t, context=pb.Context(task_type=task_type)),
                answer=router_pb2.DecideResponse(
                    model=model,
                    phase=names[min(t, len(names) - 1)],
                    propensity=0.5,
                    ranked=[
                        pb.RankedCandidate(model=m, probability=0.5) for m in (model, "b" if model == "a" else "a")
                    ],
                    decision_point=True,
                    mode=pb.MODE_LIVE,
                ),
                inputs=journal_pb2.DecisionInputs(prompt_tokens=1_000 + 100 * t),
                learnable=True,
            )
        )
        for t, model in enumerate(served)
    ]


def count(
    statistics: snapshot_pb2.Statistics, records: list[journal_pb2.JournalRecord], score: float = 1.0
) -> list[PlayedTurn]:
    turns = played_turns(records)
    taught = lessons(turns, facts_by_turn(records), score, expected_turns=10.0, learn_served_in_shadow=False)
    count_episode(statistics, turns, taught, score=score, lesson=SETTINGS)
    return turns


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=400))
def test_a_running_mean_is_the_mean_of_what_it_was_given(values: list[float]):
    mean = snapshot_pb2.RunningMean()
    for value in values:
        add(mean, value)
    assert mean.mean == pytest.approx(sum(values) / len(values), abs=1e-9)


def test_a_running_mean_forgets_so_that_it_follows_a_change():
    """After 5,000 zeros, 1,000 ones bring it past .8, where a plain mean would be at .17."""
    mean = snapshot_pb2.RunningMean()
    for value in [0.0] * 5_000 + [1.0] * 1_000:
        add(mean, value)
    assert 0.8 < mean.mean < 0.9


def test_evidence_counts_decisions_and_halves_with_its_half_life_in_episodes():
    statistics = snapshot_pb2.Statistics()
    for served in ("a", "b"):
        count(statistics, episode(served, "b", "a", phases="search code search"))
    evidence = statistics.evidence_by_phase["search"]
    told = 0.25 * (1.0 + 0.5**0.1)  # each candidate's contrast is + or - .5
    assert evidence.decisions == pytest.approx(4 * told)
    assert dict(evidence.evidence_by_model) == pytest.approx({"a": told, "b": told})
    for _ in range(10):
        count(statistics, [])
    assert evidence.evidence_by_model["b"] == pytest.approx(told / 2)
    assert statistics.decisions == 4


def test_turns_of_a_phase_are_all_that_an_episode_spends_in_it():
    statistics = snapshot_pb2.Statistics()
    count(statistics, episode("a", "a", "b", "a", phases="search code search"))
    count(statistics, episode("a", phases="search"))
    turns = {phase: evidence.turns.mean for phase, evidence in statistics.evidence_by_phase.items()}
    assert turns == {"search": 2.0, "code": 1.0}


def test_turns_at_which_the_caller_had_to_stay_hang_on_the_choice_before_them():
    statistics = snapshot_pb2.Statistics()
    records = episode("a", "a", "a", "b", phases="search code reply reply")
    for record in records[1:3]:
        record.decision.request.constraints.must_stay_because = "a file is half written"
    count(statistics, records)
    turns = {phase: evidence.turns.mean for phase, evidence in statistics.evidence_by_phase.items()}
    assert turns == {"search": 3.0, "reply": 1.0, "code": 0.0}


def test_sojourns_shares_and_growth_are_those_of_the_turns():
    statistics = snapshot_pb2.Statistics()
    count(statistics, episode("a", "a", "a", "b"))
    assert statistics.turns_by_model == {"a": 3.0, "b": 1.0}
    assert statistics.prompt_growth_tokens.mean == pytest.approx(100.0)


def test_expected_turns_are_configured_else_the_median_of_successes_of_the_task_type_else_of_all():
    statistics = snapshot_pb2.Statistics()
    assert expected_turns(statistics, "t", SETTINGS) == SETTINGS.prior.turns
    for length in (2, 4, 9):
        count(statistics, episode(*"a" * length))
    count(statistics, episode(*"a" * 30), score=0.0)
    assert expected_turns(statistics, "t", SETTINGS) == 4.0
    assert expected_turns(statistics, "unheard-of", SETTINGS) == 4.0
    count(statistics, episode(*"a" * 20, task_type="long"))
    assert expected_turns(statistics, "long", SETTINGS) == 20.0
    assert expected_turns(statistics, "t", LessonSettings(expected_turns=7.0)) == 7.0


def test_the_median_follows_the_newest_successes():
    statistics = snapshot_pb2.Statistics()
    for length in [30] * 5 + [3] * 5:
        count(statistics, episode(*"a" * length))
    assert expected_turns(statistics, "t", SETTINGS) == 3.0


def test_names_that_clients_make_up_do_not_grow_a_snapshot_without_bound():
    statistics = snapshot_pb2.Statistics()
    for i in range(2 * NAMES):
        count(statistics, episode(f"model{i}", phases=f"phase{i}", task_type=f"task{i}"))
    sizes = [
        len(counts)
        for counts in (
            statistics.evidence_by_phase,
            statistics.turns_by_model,
            statistics.score_by_task_type,
            statistics.output_tokens_by_model,
            statistics.successful_turns_by_task_type,
        )
    ]
    assert max(sizes) <= NAMES + 1


def test_models_that_clients_make_up_in_one_phase_do_not_either():
    statistics = snapshot_pb2.Statistics()
    for i in range(200):
        count(statistics, episode(f"model{i}"))
    assert len(statistics.evidence_by_phase["search"].evidence_by_model) <= 128


def test_error_rates_are_counted_by_phase_and_model():
    statistics = snapshot_pb2.Statistics()
    records = episode("a", "a", "b", "a", phases="code")
    for record, error in zip(records[1:], (pb.SEVERITY_LOW, pb.SEVERITY_NONE, pb.SEVERITY_HIGH), strict=True):
        record.decision.request.previous_turn.error = error
    count(statistics, records)
    rates = statistics.evidence_by_phase["code"].error_rate_by_model
    assert {name: (rate.count, rate.mean) for name, rate in rates.items()} == {"a": (2.0, 0.5), "b": (1.0, 1.0)}
    assert statistics.error_rate.mean == pytest.approx(2 / 3)
