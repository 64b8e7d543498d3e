"""The warm start: it says what the table says at any cost weight, and a first outcome does not sweep it away."""

from __future__ import annotations

import pytest

from sojourn_server.config import ChoiceSettings, LessonSettings, PolicySettings, PriorSettings
from sojourn_server.learner.prior import teach_prior
from sojourn_server.policy import heuristic
from sojourn_server.policy.bandit import USUAL, Bandit, action_line, shared_line
from tests.policy.play import asked, default_registry

MODELS = list(default_registry().models.values())
ACTIONS = [action_line(model, {}) for model in MODELS]


def taught(*, cost_weight: float = 1.0, spread: float = 0.5) -> tuple[Bandit, PolicySettings]:
    prior = PriorSettings(spread=spread)
    settings = PolicySettings(choice=ChoiceSettings(cost_weight=cost_weight), lesson=LessonSettings(prior=prior))
    lesson = settings.lesson
    bandit = Bandit.fresh(options=lesson.vw_options, weight_bits=lesson.weight_bits, turns_cap=lesson.turns_cap)
    teach_prior(bandit, settings, MODELS)
    return bandit, settings


def line(kind: str) -> str:
    return shared_line(
        asked(0, tool_type=kind),
        kind=kind,
        tabled=True,
        phase=kind,
        error_count=0,
        last_error=0,
        prompt_tokens=9_000.0,
        cost_weight=1.0,
    )


@pytest.mark.parametrize("cost_weight", [0.0, 1.0, 50.0])
@pytest.mark.parametrize("kind", ["search", "reasoning", "code"])
def test_the_tables_choice_is_predicted_to_be_best_whatever_money_weighs(kind: str, cost_weight: float):
    bandit, settings = taught(cost_weight=cost_weight)
    scores, _ = bandit.predict(line(kind), ACTIONS)
    tabled = heuristic.choose(settings.choice.heuristic, MODELS, kind=kind, language="")
    assert MODELS[scores.index(max(scores))] is tabled
    assert min(scores) > -0.9


def test_what_is_taught_above_and_below_is_predicted_in_between():
    bandit, settings = taught()
    scores, turns = bandit.predict(line("search"), ACTIONS)
    assert max(scores) == pytest.approx(USUAL, abs=0.1)
    assert turns == pytest.approx(settings.lesson.prior.turns, abs=4.0)


def test_a_first_outcome_moves_a_prior_that_scatters_less_than_one_that_does_not():
    moves = []
    for spread in (0.0, 0.5):
        bandit, _ = taught(spread=spread)
        before = bandit.predict(line("search"), ACTIONS)[0][0]
        bandit.learn(line("search"), ACTIONS, 0, score=0.0, turns_to_go=40)
        moves.append(before - bandit.predict(line("search"), ACTIONS)[0][0])
    even, scattered = moves
    assert 0 < scattered < 0.3 * even
