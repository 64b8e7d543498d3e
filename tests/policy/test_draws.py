"""Draws and cohorts: uniform, reproducible, and one way only when the share is raised."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.v1 import types_pb2
from sojourn_server.policy.draws import HEURISTIC, LEARNED, NEVER_SWITCH, assign, cohort_draw, phase_draw, uniform

LIVE = types_pb2.MODE_LIVE
SECRET = b"secret"
CONTROL = 0.02
unit = st.floats(0, 1, exclude_max=True)
shares = st.floats(0, 1)


@given(unit, shares, shares)
def test_raising_the_live_share_only_ever_moves_episodes_to_the_learned_policy(draw: float, a: float, b: float):
    low, high = sorted((a, b))
    before = assign(LIVE, draw, live_share=low, control_share=CONTROL).cohort
    after = assign(LIVE, draw, live_share=high, control_share=CONTROL).cohort
    assert after == before or (before, after) == (HEURISTIC, LEARNED)


@given(shares)
def test_the_controls_keep_their_share_at_every_live_share(live_share: float):
    assert assign(LIVE, CONTROL / 2, live_share=live_share, control_share=CONTROL) == (NEVER_SWITCH, CONTROL)
    assert assign(LIVE, 1.5 * CONTROL, live_share=live_share, control_share=CONTROL).cohort == HEURISTIC


@pytest.mark.parametrize("live_share", [0.0, 0.3, 1.0])
def test_the_recorded_probability_of_a_cohort_is_its_frequency(live_share: float):
    grid = 20_000
    drawn = [assign(LIVE, (i + 0.5) / grid, live_share=live_share, control_share=CONTROL) for i in range(grid)]
    for assignment, count in Counter(drawn).items():
        assert count / grid == pytest.approx(assignment.probability, abs=2 / grid)
    assert sum(a.probability for a in set(drawn)) == pytest.approx(1.0)


@pytest.mark.parametrize(("mode", "cohort"), [(types_pb2.MODE_HEURISTIC, HEURISTIC), (types_pb2.MODE_SHADOW, LEARNED)])
def test_outside_live_all_episodes_are_of_one_cohort(mode: types_pb2.Mode.ValueType, cohort: int):
    assert assign(mode, 0.001, live_share=0.5, control_share=CONTROL) == (cohort, 1.0)


def test_draws_are_uniform():
    """Deciles of 20,000 keyed draws hold a tenth each, within five standard errors."""
    count = 20_000
    deciles = Counter(int(phase_draw(SECRET, "default", f"e{i}", "search") * 10) for i in range(count))
    error = (0.1 * 0.9 / count) ** 0.5
    assert all(abs(deciles[d] / count - 0.1) < 5 * error for d in range(10))


def test_a_draw_depends_on_the_secret_and_on_each_of_its_parts():
    keys = [(b"a", "p", "e", "x"), (b"b", "p", "e", "x"), (b"a", "q", "e", "x"), (b"a", "p", "f", "x")]
    assert len({phase_draw(*key) for key in keys}) == len(keys)
    assert phase_draw(b"a", "p", "e", "x") == phase_draw(b"a", "p", "e", "x")


def test_the_cohorts_draw_is_another_one_than_the_phases():
    assert cohort_draw(SECRET, "p", "e") != phase_draw(SECRET, "p", "e", "")


@given(st.lists(st.text(max_size=4), max_size=3), st.lists(st.text(max_size=4), max_size=3))
def test_parts_never_run_together(one: list[str], other: list[str]):
    assert (uniform(SECRET, *one) == uniform(SECRET, *other)) == (one == other)


def test_draws_are_in_the_half_open_unit_interval():
    drawn = sorted(uniform(SECRET, str(i)) for i in range(2_000))
    assert drawn[0] >= 0.0
    assert drawn[-1] < 1.0
    assert all(b > a for a, b in pairwise(drawn))
