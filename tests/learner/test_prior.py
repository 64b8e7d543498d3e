"""The warm start: it expects the best scores of the table's choices, by the gap that was asked for."""

from __future__ import annotations

import pytest

from sojourn.v1 import types_pb2
from sojourn_server.config import ChoiceSettings, LessonSettings, PolicySettings, PriorSettings
from sojourn_server.learner.prior import teach_prior
from sojourn_server.policy import heuristic
from sojourn_server.policy.bandit import Bandit, action_line
from tests.policy.play import default_registry, line_of

MODELS = list(default_registry().models.values())
ACTIONS = [action_line(model, {}) for model in MODELS]


def taught(*, cost_weight: float = 1.0, gap: float = 0.15) -> tuple[Bandit, PolicySettings]:
    lesson = LessonSettings(prior=PriorSettings(gap=gap))
    settings = PolicySettings(choice=ChoiceSettings(cost_weight=cost_weight), lesson=lesson)
    bandit = Bandit.fresh(options=lesson.vw_options, weight_bits=lesson.weight_bits, turns_cap=lesson.turns_cap)
    teach_prior(bandit, settings, MODELS)
    return bandit, settings


def line(kind: str) -> str:
    return line_of(types_pb2.Context(tool_type=kind))


@pytest.mark.parametrize("cost_weight", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("kind", ["search", "reasoning", "code"])
def test_the_tables_choice_is_expected_to_score_best_whatever_money_weighs(kind: str, cost_weight: float):
    bandit, settings = taught(cost_weight=cost_weight)
    advantages, _ = bandit.predict(line(kind), ACTIONS)
    tabled = heuristic.choose(settings.choice.heuristic, MODELS, kind=kind, language="")
    assert MODELS[advantages.index(max(advantages))] is tabled
    assert min(advantages) > -0.52, "no score lies below 0, so where money is dear its price has the last word"


def test_where_money_weighs_nothing_all_others_lie_below_the_tables_choice_by_the_gap():
    bandit, settings = taught(cost_weight=0.0, gap=0.2)
    advantages, turns = bandit.predict(line("search"), ACTIONS)
    best, *others = sorted(advantages, reverse=True)
    assert best == pytest.approx(0.0, abs=0.01)
    assert others == pytest.approx([-0.2] * len(others), abs=0.02)
    assert turns == pytest.approx(settings.lesson.prior.turns, abs=4.0)


def test_a_candidate_that_errs_more_is_expected_to_do_worse():
    bandit, settings = taught(cost_weight=0.0)
    actions = [action_line(MODELS[0], {}, excess) for excess in (0.0, 0.1)]
    (usual, erring), _ = bandit.predict(line("search"), actions)
    assert usual - erring == pytest.approx(0.1 * settings.lesson.prior.error_slope, abs=0.05)
