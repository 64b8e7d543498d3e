"""Figures on hand-made episodes: each value by hand, each interval by its law."""

from __future__ import annotations

from math import isinf
from random import Random

import pytest

from sojourn_server.reports import figures
from sojourn_server.reports.figures import LEAST, Interval
from tests.reports.episodes import episode, history


def found(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval


def test_a_ratio_is_of_sums_not_of_episodes():
    assert found(figures.ratio([(1, 1), (0, 3)])).value == 0.25


def test_nothing_in_no_interval_and_few_episodes_have_none():
    assert figures.ratio([]) is None
    assert figures.ratio([(0, 0)]) is None
    few = found(figures.mean([1.0] * (LEAST - 1)))
    assert (few.tells, few.value, isinf(few.high)) == (False, 1.0, True)
    assert found(figures.mean([1.0] * LEAST)).tells


def test_the_interval_holds_the_truth_19_times_of_20():
    """Ratios of dependent parts: long episodes have another rate, so turns are no independent draws."""
    random, held = Random(3), 0
    truth = (0.5 * 2 * 0.8 + 0.5 * 10 * 0.4) / 6.0
    for _ in range(400):
        pairs = []
        for _ in range(60):
            turns, rate = random.choice(((2, 0.8), (10, 0.4)))
            pairs.append((sum(random.random() < rate for _ in range(turns)), turns))
        held += not found(figures.ratio(pairs)).excludes(truth)
    assert 360 <= held <= 396


def test_more_episodes_narrow_the_interval():
    widths = [(i := found(figures.mean([0.0, 1.0] * n))).high - i.low for n in (10, 50, 500)]
    assert widths == sorted(widths, reverse=True)


def test_controls_imported_and_open_episodes_are_not_the_policy_s_own():
    others = [episode(is_control=True), episode(imported=True), episode(ended=False)]
    assert figures.own([*others, episode("ab")]) == [episode("ab")]


def test_a_curve_moves_with_its_window_and_compares_thirds():
    curve = figures.learning_curve([episode(score=float(i >= 60)) for i in range(90)])
    assert (curve.window, curve.points[0].episode, curve.points[-1].episode) == (LEAST, LEAST, 90)
    assert [p.score.value for p in (curve.points[0], curve.points[-1])] == [0.0, 1.0]
    assert [found(i).value for i in (curve.first, curve.last, curve.change)] == [0.0, 1.0, 1.0]
    half = next(p for p in curve.points if p.episode == 70)
    assert half.score.value == 0.5


def test_a_curve_of_too_few_scores_has_no_points():
    curve = figures.learning_curve([episode(score=None)] * 90 + [episode()] * (LEAST - 1))
    assert curve.points == []


def test_a_long_curve_has_few_points_and_ends_with_the_last_episode():
    curve = figures.learning_curve([episode()] * 7_919)
    assert len(curve.points) <= 130
    assert (curve.window, curve.points[-1].episode) == (200, 7_919)


def test_switches_are_counted_beside_those_of_the_controls():
    switching = figures.switching([episode("abab"), episode("aabb"), episode("abba", is_control=True)])
    assert (found(switching.own).value, found(switching.controls).value) == (2.0, 2.0)
    assert switching.episodes_by_switches == {1: 1, 3: 1}


def test_staying_asks_how_the_turn_before_went():
    """After "!": stay, leave; after ",": leave; after the others: leave, stay."""
    staying = figures.staying([episode("aabcdd", errors="! !, "), episode("a", errors="!")])
    assert found(staying.after_error).value == pytest.approx(1 / 3)
    assert found(staying.by_severity["medium"]).value == pytest.approx(0.5)
    assert found(staying.by_severity["low"]).value == 0.0
    assert staying.by_severity["high"] is None
    assert found(staying.otherwise).value == pytest.approx(0.5)


def test_the_difference_of_two_rates_knows_that_they_share_episodes():
    """Where both rates move together from episode to episode, their difference is the surer for it."""
    random = Random(5)
    episodes = [episode("aaaaaaaaa" if random.random() < 0.5 else "abababaab", errors="! ! ! ! ") for _ in range(100)]
    staying = figures.staying(episodes)
    apart = found(figures.difference(staying.after_error, staying.otherwise))
    together = found(staying.change)
    assert together.value == pytest.approx(apart.value)
    assert together.high - together.low < apart.high - apart.low


def test_shares_and_lift_by_hand():
    shares = figures.shares([episode("aaab", tools=["x", "x", "y", "y"]), episode("bb", tools=["y", "y"])])
    assert shares.models == ["a", "b"]
    assert shares.overall == {"a": 0.5, "b": 0.5}
    assert shares.turns == {"y": 4, "x": 2}
    assert {t: {m: i.value for m, i in row.items()} for t, row in shares.share.items()} == {
        "x": {"a": 1.0, "b": 0.0},
        "y": {"a": 0.25, "b": 0.75},
    }
    assert shares.lift == {"x": {"a": 2.0, "b": 0.0}, "y": {"a": 0.5, "b": 1.5}}


def test_shares_sum_to_one_for_any_history():
    shares = figures.shares(history(200))
    for row in [shares.overall, *({m: i.value for m, i in r.items()} for r in shares.share.values())]:
        assert sum(row.values()) == pytest.approx(1.0)


def test_forfeited_money_is_summed_by_pair_and_set_against_all_money():
    unknown = episode("ab", cost_usd=None)  # its switch counts, but not for the share of the spend
    lost = figures.forfeited([episode("aba", cost_usd=4.0), episode("ba", forfeited_usd=None, cost_usd=1.0), unknown])
    assert (lost.usd, lost.switches, lost.unpriced) == (1.5, 4, 1)
    assert found(lost.share).value == pytest.approx(0.2)
    assert lost.by_pair == [("a", "b", 2, 1.0), ("b", "a", 2, 0.5)]


def test_drift_compares_the_newest_with_as_many_before():
    calm, changed = episode("aabb"), episode("abbb", 0.0, cost_usd=3.0)
    drift = figures.drift([calm] * 400 + [changed] * 200)
    assert (drift.episodes, found(drift.score).value, found(drift.usd).value) == (200, -1.0, 2.0)
    assert {m: (before, now) for m, (before, now, _) in drift.models.items()} == {"a": (0.5, 0.25), "b": (0.5, 0.75)}
    assert drift.models["a"][2].excludes(0.0)


def test_a_steady_service_rarely_seems_to_drift():
    """Of 200 of them, about one in twenty has some model whose share seems to move."""
    alarms = 0
    for seed in range(200):
        random = Random(seed)
        episodes = [episode("".join(random.choices("abc", k=6))) for _ in range(100)]
        alarms += any(change.excludes(0.0) for _, _, change in figures.drift(episodes).models.values())
    assert alarms <= 20


def test_a_service_without_episodes_has_figures_without_values():
    assert figures.learning_curve([]).points == []
    assert figures.switching([]) == (None, None, {})
    assert figures.staying([]).change is None
    assert figures.shares([]).models == []
    assert figures.forfeited([]) == (0, 0, 0, None, [])
    assert figures.drift([]) == (0, None, None, {})
