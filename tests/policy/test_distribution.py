"""Laws of the distribution, of sampling from it, and of the evidence that narrows a belief."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import pairwise
from random import Random
from statistics import NormalDist

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn_server.policy.distribution import UNIT, Interval, point, probability_matching, sample, width

MOST_CANDIDATES = 64
FLOOR = 0.01
beliefs = st.lists(st.tuples(st.floats(-50, 50), st.floats(1e-6, 10)), min_size=1, max_size=MOST_CANDIDATES)
floors = st.floats(0, FLOOR)
draws = st.floats(0, 1, exclude_max=True)
Beliefs = Sequence[tuple[float, float]]


def matched(pairs: Beliefs, floor: float = 0.0) -> list[float]:
    """Probability matching over (utility, width) pairs."""
    return probability_matching([u for u, _ in pairs], [w for _, w in pairs], floor=floor)


@given(beliefs, floors)
def test_probabilities_sum_to_one_and_each_is_at_least_the_floor(pairs: Beliefs, floor: float):
    probabilities = matched(pairs, floor)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-12)
    assert min(probabilities) >= floor - 1e-12


@given(st.lists(st.floats(-50, 50), min_size=1, max_size=MOST_CANDIDATES), st.floats(1e-6, 10), floors)
def test_among_beliefs_of_one_width_a_higher_utility_never_has_a_lower_probability(
    us: Sequence[float], wide: float, floor: float
):
    ordered = sorted(zip(us, matched([(u, wide) for u in us], floor), strict=True))
    for (u, p), (v, q) in pairwise(ordered):
        assert q >= p - 1e-12 or u == v


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.01, 2), st.floats(0.01, 2))
def test_of_two_candidates_each_has_exactly_its_chance_to_be_the_better_one(u: float, v: float, w: float, x: float):
    chance = NormalDist().cdf((u - v) / (w * w + x * x) ** 0.5)
    assert matched([(u, w), (v, x)]) == pytest.approx([chance, 1 - chance], abs=1e-9)


@given(st.lists(st.floats(0, 0.3), min_size=2, max_size=6), st.floats(0.03, 0.2))
def test_with_more_candidates_the_best_guess_has_about_its_chance_to_be_the_best(us: list[float], wide: float):
    """Against 2,000 draws of all beliefs (Thompson sampling); the pairwise weights are an approximation."""
    random = Random(1)
    tops = Counter(max(range(len(us)), key=lambda i: us[i] + wide * z[i]) for z in _noise(random, len(us)))
    best = us.index(max(us))
    assert matched([(u, wide) for u in us])[best] == pytest.approx(tops[best] / 2_000, abs=0.15)


def _noise(random: Random, count: int) -> list[list[float]]:
    return [[random.gauss(0, 1) for _ in range(count)] for _ in range(2_000)]


def test_wide_beliefs_make_all_candidates_alike_and_narrow_ones_leave_the_floor():
    assert matched([(0.9, 1e6), (0.8, 1e6), (0.2, 1e6)]) == pytest.approx([1 / 3] * 3, abs=1e-6)
    assert matched([(0.9, 1e-6), (0.8, 1e-6), (0.2, 1e-6)], 0.001) == pytest.approx([0.998, 0.001, 0.001])


def test_the_formula_gives_the_hand_computed_numbers():
    """Widths .03 and .04 lie sqrt(.0025) = .05 apart: gaps of one and two such widths, chances Phi(-1) and Phi(-2)."""
    low, lower = NormalDist().cdf(-1), NormalDist().cdf(-2)
    total = (1 - low) + low + lower
    expected = [(1 - low) / total, low / total, lower / total]
    assert matched([(0.50, 0.03), (0.45, 0.04), (0.40, 0.04)]) == pytest.approx(expected)


def test_a_floor_that_does_not_fit_gives_way_to_equal_shares():
    assert matched([(0.1, 1.0)] * 200, FLOOR) == pytest.approx([1 / 200] * 200)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_utility_that_is_not_finite_is_refused_rather_than_sampled(odd: float):
    with pytest.raises(ValueError, match="finite"):
        matched([(0.5, 1.0), (odd, 1.0)])


@given(beliefs, floors, draws)
def test_the_chosen_cell_holds_the_draw_and_its_width_is_the_probability(pairs: Beliefs, floor: float, draw: float):
    probabilities = matched(pairs, floor)
    drawn = sample(probabilities, draw, UNIT)
    assert drawn.cell.low <= draw < drawn.cell.high
    assert drawn.cell.width == pytest.approx(probabilities[drawn.place], abs=1e-12)
    assert drawn.propensity == pytest.approx(probabilities[drawn.place], abs=1e-12)
    assert drawn.surviving == drawn.cell


@given(beliefs, beliefs, draws)
def test_a_second_choice_with_the_same_draw_has_its_probability_given_the_first(
    first: Beliefs, second: Beliefs, draw: float
):
    """|cell and S| / |S|, in (0, 1], and the draw stays inside what survives."""
    one = sample(matched(first, 0.001), draw, UNIT)
    two = sample(matched(second, 0.001), draw, one.surviving)
    joint = min(one.cell.high, two.cell.high) - max(one.cell.low, two.cell.low)
    assert two.surviving == one.cell.intersect(two.cell)
    assert two.surviving.low <= draw < two.surviving.high
    assert 0 < two.propensity <= 1 + 1e-12
    assert one.propensity * two.propensity == pytest.approx(joint, abs=1e-12)


def test_the_same_distribution_again_repeats_the_choice_for_sure():
    first = sample([0.2, 0.5, 0.3], 0.4, UNIT)
    again = sample([0.2, 0.5, 0.3], 0.4, first.surviving)
    assert (again.place, again.propensity) == (first.place, 1.0)


def test_candidates_of_probability_zero_own_no_cell():
    assert sample(point(3, 1), 0.0, UNIT).place == 1
    assert sample(point(3, 1), 0.999999, UNIT).place == 1
    assert sample([0.0, 1.0, 0.0], 0.7, Interval(0.6, 0.8)).propensity == 1.0


def test_without_evidence_a_belief_is_as_wide_as_the_prior():
    assert width(0.0, prior_width=0.04, prior_evidence=20.0) == 0.04


def test_a_belief_halves_once_it_rests_on_three_times_what_the_prior_is_worth():
    assert width(60.0, prior_width=0.04, prior_evidence=20.0) == pytest.approx(0.02)


@given(st.floats(0, 1e6), st.floats(0, 1e6), st.floats(0.1, 1e3))
def test_more_evidence_never_widens_a_belief(evidence: float, more: float, worth: float):
    less = width(evidence, prior_width=1.0, prior_evidence=worth)
    assert width(evidence + more, prior_width=1.0, prior_evidence=worth) <= less
