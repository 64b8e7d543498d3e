"""The arena's arithmetic, against numbers worked out by hand."""

from __future__ import annotations

import pytest

from benchmarks.arena import measures
from benchmarks.arena.run import Job, Played
from sojourn_server.demo.play import EpisodeResult, tasks

(TASK,) = tasks(1, seed=1)


def episode(served: str, erred: str, *, score: float = 1.0, usd: float = 0.1) -> EpisodeResult:
    """One letter a turn: the model, and whether it erred ("x")."""
    return EpisodeResult(
        task=TASK,
        score=score,
        served=tuple(served),
        tool_types=("search",) * len(served),
        erred=tuple(mark == "x" for mark in erred),
        usd=usd,
        forfeited_usd=0.0,
    )


def test_an_interval_is_students():
    found = measures.interval([1.0, 2.0, 3.0])
    assert found.mean == 2.0
    assert found.half_width == pytest.approx(4.303 * 1.0 / 3**0.5, abs=1e-3)
    assert measures.interval([5.0]).half_width is None


def test_holm_corrects_in_order_and_never_falls():
    assert measures.holm({"a": 0.01, "b": 0.04, "c": 0.03}) == pytest.approx({"a": 0.03, "c": 0.06, "b": 0.06})
    assert measures.holm({"a": 0.9, "b": 0.8}) == {"b": 1.0, "a": 1.0}


def test_p_value_of_a_paired_difference():
    assert measures.p_value([0.1, 0.1, 0.1]) == 0.0
    assert measures.p_value([0.0, 0.0]) == 1.0
    assert measures.p_value([0.1, -0.1, 0.2, -0.2]) == pytest.approx(1.0)


def test_each_measure():
    episodes = [episode("aabb", "x.x."), episode("ab", "..", score=0.0, usd=0.3)]
    values = {name: measure(episodes) for name, measure in measures.measures(2.0).items()}
    assert values["score"] == 0.5
    assert values["usd"] == pytest.approx(0.2)
    assert values["utility"] == pytest.approx(0.5 - 2 * 0.2)
    assert values["switches_per_episode"] == 1.0
    assert values["switches_per_solved_episode"] == 1.0
    assert values["stay_after_error"] == 1.0
    assert values["next_turn_recovery"] == 1.0
    assert values["turns"] == 3.0
    assert measures.measures(0.0)["stay_after_error"]([episode("ab", "x.")]) == 0.0
    assert measures.measures(0.0)["next_turn_recovery"]([episode("aaa", "xx.")]) == 0.5


def test_lift_is_a_share_over_the_base_share():
    one, other = episode("aab", "..."), episode("b", ".")
    assert measures.lift([one, other]) == {"search": {"a": 1.0, "b": 1.0}}


def test_a_row_takes_the_tail_for_its_values_and_all_for_its_curve():
    runs = [
        Played(Job("e", "p", seed, 4), [episode("a", ".", score=score) for score in (0.0, 0.0, 1.0, 1.0)], 0.5)
        for seed in (1, 2)
    ]
    row = measures.row(runs, tail=2, cost_weight=0.0, blocks=2)
    assert row.values["score"] == (1.0, 0.0)
    assert row.cumulative_utility.mean == 0.5
    assert row.learning_curve == (0.0, 1.0)
    assert row.decisions_per_second == 8.0
    assert measures.differences(row, row) == [0.0, 0.0]


def test_rows_of_other_seeds_are_not_compared():
    one, other = (
        measures.row([Played(Job("e", "p", seed, 1), [episode("a", ".")], 1.0)], tail=1, cost_weight=1.0)
        for seed in (1, 2)
    )
    with pytest.raises(ValueError, match="seeds"):
        measures.differences(one, other)
