from __future__ import annotations

from collections import Counter
from dataclasses import replace
from statistics import fmean

import pytest

from sojourn_server.demo.expert import SLIPS
from sojourn_server.demo.models import MODELS, PHASES, Advice, Luck, act, luck
from sojourn_server.demo.thirdparty import Actions

ADVICE = Advice(Actions.toggle, PHASES[0], SLIPS)  # an action that no slip takes


def test_equal_keys_give_equal_luck_and_any_other_key_gives_another():
    first = luck(seed=1, task=2, turn=3, model="a")
    others = {
        luck(seed=2, task=2, turn=3, model="a"),
        luck(seed=1, task=3, turn=3, model="a"),
        luck(seed=1, task=2, turn=4, model="a"),
        luck(seed=1, task=2, turn=3, model="b"),
    }
    assert luck(seed=1, task=2, turn=3, model="a") == first
    assert len(others | {first}) == 5


def test_luck_is_uniform_and_its_two_numbers_are_independent():
    draws = [luck(seed=1, task=task, turn=0, model="a") for task in range(4000)]
    assert fmean(d.slips for d in draws) == pytest.approx(0.5, abs=0.02)
    assert fmean(d.how for d in draws) == pytest.approx(0.5, abs=0.02)
    assert fmean(d.slips * d.how for d in draws) == pytest.approx(0.25, abs=0.02)


def test_a_model_does_the_right_thing_as_often_as_its_skill_says():
    model = replace(MODELS[0], skills={PHASES[0]: 0.7})
    right = [act(model, ADVICE, luck(seed=1, task=t, turn=0, model="a")) == ADVICE.action for t in range(4000)]
    assert fmean(right) == pytest.approx(0.7, abs=0.02)


def test_slips_are_the_listed_actions_in_the_listed_shares():
    model = replace(MODELS[0], skills={PHASES[0]: 0.0})
    slips = Counter(act(model, ADVICE, Luck(0.5, step / 1000)) for step in range(1000))
    limits = [0.0, *(limit for limit, _ in SLIPS)]
    expected = {action: limit - before for before, (limit, action) in zip(limits, SLIPS, strict=False)}
    assert {action: count / 1000 for action, count in slips.items()} == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize("phase", PHASES)
def test_in_no_phase_is_the_strongest_model_the_best_one(phase: str):
    """Else never switching would be right, and there would be nothing to route."""
    assert max(MODELS, key=lambda model: model.skills[phase]).name != MODELS[0].name
