"""Intervals hold the truth in worlds where the router itself explored, learned and came back to phases.

The short form of `python -m benchmarks.ope_coverage`; the figures of the long one are in docs/evaluation.md.
"""

from __future__ import annotations

import pytest

from benchmarks.ope_coverage import ESTIMATORS, Found, play, summary

WORLDS = 16


@pytest.fixture(scope="module")
def found() -> list[Found]:
    """Two targets whose worth is enumerated, in worlds that the long form plays too."""
    return [one for seed in range(WORLDS) for one in play(seed, targets=("uniform", "tilted"))]


@pytest.mark.timeout(240)
@pytest.mark.parametrize("estimator", ESTIMATORS)
def test_intervals_hold_the_truth_and_lie_on_both_sides_of_it(found: list[Found], estimator: str):
    """32 intervals, two by two of one world: .95 less three standard errors of 16 independent ones."""
    figures = summary(one for one in found if one.estimator == estimator)
    assert figures["intervals"] > WORLDS
    assert figures["coverage"] >= 0.78
    assert abs(figures["mean_error_over_standard_error"]) < 4.0 * 2.0**0.5
