"""Laws of the distribution, of sampling from it, and of the evidence that narrows it."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn_server.policy.distribution import (
    UNIT,
    Interval,
    effective_evidence,
    gap_multiplier,
    inverse_gap_weighting,
    point,
    sample,
)

MOST_CANDIDATES = 64
FLOOR = 0.01
utilities = st.lists(st.floats(-50, 50), min_size=1, max_size=MOST_CANDIDATES)
gammas = st.one_of(st.just(0.0), st.floats(0, 1e4))
floors = st.floats(0, FLOOR)
draws = st.floats(0, 1, exclude_max=True)


@given(utilities, gammas, floors)
def test_probabilities_sum_to_one_and_each_is_at_least_the_floor(us: Sequence[float], gamma: float, floor: float):
    probabilities = inverse_gap_weighting(us, gamma=gamma, floor=floor)
    assert sum(probabilities) == pytest.approx(1.0, abs=1e-12)
    assert min(probabilities) >= floor - 1e-12


@given(utilities, gammas, floors)
def test_a_higher_utility_never_has_a_lower_probability(us: Sequence[float], gamma: float, floor: float):
    probabilities = inverse_gap_weighting(us, gamma=gamma, floor=floor)
    ordered = sorted(zip(us, probabilities, strict=True))
    for (u, p), (v, q) in pairwise(ordered):
        assert q >= p - 1e-12 or u == v


@given(utilities, floors, st.floats(0, 100), st.floats(0, 100))
def test_a_larger_gap_multiplier_gives_the_best_at_least_as_much(
    us: Sequence[float], floor: float, gamma: float, more: float
):
    best = us.index(max(us))
    loose = inverse_gap_weighting(us, gamma=gamma, floor=floor)[best]
    sharp = inverse_gap_weighting(us, gamma=gamma + more, floor=floor)[best]
    assert sharp >= loose - 1e-12


def test_the_formula_gives_the_hand_computed_numbers():
    """K = 3, gamma = 10, gaps 0, .1 and .7: 1 / (3 + 1), 1 / (3 + 7), the rest to the best."""
    assert inverse_gap_weighting([0.9, 0.8, 0.2], gamma=10, floor=0.0) == pytest.approx([0.65, 0.25, 0.1])


def test_a_floor_that_does_not_fit_gives_way_to_equal_shares():
    assert inverse_gap_weighting([0.1] * 200, gamma=0, floor=FLOOR) == pytest.approx([1 / 200] * 200)


def test_without_a_gap_multiplier_all_candidates_are_alike():
    assert inverse_gap_weighting([3.0, 1.0, 2.0, 0.0], gamma=0, floor=0.0) == pytest.approx([0.25] * 4)


@pytest.mark.parametrize("odd", [float("nan"), float("inf"), float("-inf")])
def test_a_utility_that_is_not_finite_is_refused_rather_than_sampled(odd: float):
    with pytest.raises(ValueError, match="finite"):
        inverse_gap_weighting([0.5, odd], gamma=1, floor=0.0)


@given(utilities, gammas, floors, draws)
def test_the_chosen_cell_holds_the_draw_and_its_width_is_the_probability(
    us: Sequence[float], gamma: float, floor: float, draw: float
):
    probabilities = inverse_gap_weighting(us, gamma=gamma, floor=floor)
    drawn = sample(probabilities, draw, UNIT)
    assert drawn.cell.low <= draw < drawn.cell.high
    assert drawn.cell.width == pytest.approx(probabilities[drawn.place], abs=1e-12)
    assert drawn.propensity == pytest.approx(probabilities[drawn.place], abs=1e-12)
    assert drawn.surviving == drawn.cell


@given(utilities, utilities, gammas, draws)
def test_a_second_choice_with_the_same_draw_has_its_probability_given_the_first(
    first: Sequence[float], second: Sequence[float], gamma: float, draw: float
):
    """|cell and S| / |S|, in (0, 1], and the draw stays inside what survives."""
    one = sample(inverse_gap_weighting(first, gamma=gamma, floor=0.001), draw, UNIT)
    two = sample(inverse_gap_weighting(second, gamma=gamma, floor=0.001), draw, one.surviving)
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


def _evidence(own: float, total: float, phases: int = 1, **changes: float) -> float:
    by_phase = {"search": own, **{f"p{i}": 0.0 for i in range(phases - 1)}}
    settings = {"shrinkage": 50.0, "prior_evidence": 1000.0, "prior_half_life": 500.0, **changes}
    return effective_evidence("search", by_phase, total, **settings)


def test_an_empty_journal_counts_the_prior_as_evidence():
    assert effective_evidence("search", {}, 0.0, shrinkage=50, prior_evidence=1000, prior_half_life=500) == 1000


def test_the_prior_halves_with_each_half_life_of_real_evidence():
    assert _evidence(500.0, 500.0) == pytest.approx(500 + 500)
    assert _evidence(1000.0, 1000.0) == pytest.approx(1000 + 250)


def test_a_young_phase_is_shrunk_to_the_mean_phase():
    """own 50 of 450 over three phases: weight 1/2, so (50 + 150) / 2; without a prior."""
    assert _evidence(50.0, 450.0, phases=3, prior_evidence=0.0) == pytest.approx(100.0)


@given(st.floats(0, 1e6), st.floats(0, 1e6))
def test_more_real_evidence_never_widens_exploration_once_the_prior_is_gone(own: float, more: float):
    less, greater = (_evidence(n, n, prior_evidence=0.0) for n in (own, own + more))
    assert gap_multiplier(greater, scale=4.0) >= gap_multiplier(less, scale=4.0) - 1e-9


def test_the_gap_multiplier_grows_with_the_root_of_the_evidence():
    assert gap_multiplier(100.0, scale=4.0) == 40.0
    assert gap_multiplier(-1.0, scale=4.0) == 0.0
