"""The estimator follows the paper's recipe, its targets the paper's formula, and it finds the right models."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.arena.policies.estimator import DEFAULT_TURNS, Estimator, Run, collect, expected_turns, targets
from benchmarks.arena.policies.features import Context
from benchmarks.arena.policies.learning import PerTurn, Turn
from benchmarks.arena.policies.network import Network
from sojourn_server.demo.play import Severity
from tests.arena.tiny_world import MODELS, encoder, mean_score, play_tiny, run, tiny_tasks, view


@pytest.fixture(scope="module")
def runs() -> list[Run]:
    return collect(tiny_tasks(40, seed=99), play_tiny, MODELS, seed=1)


@pytest.fixture(scope="module")
def trained(runs: list[Run]) -> Estimator:
    return Estimator.trained(encoder(), runs, seed=1, epochs=5)


def turn(index: int, *, error: Severity = "NONE", usd: float = 0.0) -> Turn:
    return Turn(Context(view(index), None), "cheap", error, usd)


def test_the_recipe_is_five_random_and_three_runs_of_each_model_a_task(runs: list[Run]):
    assert len(runs) == 40 * (5 + 3 * len(MODELS))
    first = runs[: 5 + 3 * len(MODELS)]
    singles = [{turn.model for turn in run.turns} for run in first[5:]]
    assert singles == [{model} for model in MODELS for _ in range(3)]
    assert all(len({turn.model for turn in run.turns}) > 1 for run in first[:5])


def test_repeated_runs_of_one_model_have_luck_of_their_own(runs: list[Run]):
    size = 5 + 3 * len(MODELS)
    repeats = [runs[start + 5 : start + 8] for start in range(0, len(runs), size)]
    assert any(len({run.score for run in three}) > 1 for three in repeats)


def test_targets_are_the_score_less_the_annealed_errors_ahead():
    """N = 10: a medium error counts .8 * .3 = .24 at turn 0, .8 at turn 9; a low one the floor, .2."""
    turns = [turn(0, error="MEDIUM"), turn(1, error="LOW"), *(turn(i) for i in range(2, 9)), turn(9, error="MEDIUM")]
    found = targets(Run(turns, 1.0), 10.0)
    assert found[0] == pytest.approx(1.0 - (0.24 + 0.2 + 0.8) / 10)
    assert found[1] == pytest.approx(1.0 - (0.2 + 0.8) / 10)
    assert found[2:] == pytest.approx([1.0 - 0.8 / 10] * 8)


def test_money_ahead_enters_the_target_only_when_it_is_weighed():
    played = Run([turn(0, usd=0.1), turn(1, usd=0.2)], 1.0)
    assert targets(played, 10.0) == [1.0, 1.0]
    assert targets(played, 10.0, cost_weight=2.0) == pytest.approx([0.4, 0.6])


def test_expected_turns_are_the_median_of_solved_runs():
    solved = [Run([turn(i) for i in range(length)], 1.0) for length in (4, 6, 20)]
    failed = [Run([turn(i) for i in range(50)], 0.0)]
    assert expected_turns(solved + failed) == {"tiny": 6}
    assert expected_turns(failed) == {"tiny": DEFAULT_TURNS}


def test_the_estimator_finds_the_right_models_and_stays_frozen(trained: Estimator):
    episodes = run(PerTurn(trained, MODELS, cost_weight=0.0), 200)
    assert mean_score(episodes) >= 0.75
    assert run(PerTurn(trained, MODELS, cost_weight=0.0), 200) == episodes


def test_its_training_money_is_counted(runs: list[Run], trained: Estimator):
    assert trained.training_usd == pytest.approx(sum(turn.usd for run in runs for turn in run.turns))
    assert trained.training_usd > 1.0


def test_weighed_money_makes_it_choose_the_cheap_model(runs: list[Run]):
    estimator = Estimator.trained(encoder(), runs, seed=1, epochs=5, cost_weight=20.0)
    served = [model for episode in run(PerTurn(estimator, MODELS, cost_weight=20.0), 50) for model in episode.served]
    assert served.count("cheap") / len(served) >= 0.75


def test_training_repeats_itself(runs: list[Run]):
    some = runs[:100]
    first, second = (Estimator.trained(encoder(), some, seed=3, epochs=1) for _ in range(2))
    assert run(PerTurn(first, MODELS, cost_weight=0.0), 20) == run(PerTurn(second, MODELS, cost_weight=0.0), 20)


def test_only_offered_models_are_picked(trained: Estimator):
    assert trained.pick(Context(view(0, "search"), None), ("writer", "cheap")) in ("writer", "cheap")


def test_without_runs_there_is_no_estimator():
    with pytest.raises(ValueError, match="training runs"):
        Estimator.trained(encoder(), [], seed=1)


def test_the_network_fits_what_no_line_fits():
    inputs = np.random.default_rng(0).uniform(-1, 1, size=(2_000, 2))
    wanted = 4 * inputs[:, 0] * inputs[:, 1]
    network = Network(2, seed=1)
    network.fit(inputs, wanted, epochs=10, batch=32)
    probe = np.array([[0.5, 0.5], [0.5, -0.5], [-0.5, 0.5], [-0.5, -0.5]])
    assert network.predict(probe) == pytest.approx([1, -1, -1, 1], abs=0.3)


def test_the_networks_gradient_is_that_of_its_loss():
    random = np.random.default_rng(0)
    network = Network(3, seed=1)
    inputs, wanted = random.normal(size=(8, 3)).astype(np.float32), random.normal(size=(8, 1)).astype(np.float32)
    gradient = network._gradient(inputs, wanted)
    place = int(np.abs(gradient).argmax())

    def loss_at(change: float) -> float:
        network._flat[place] += np.float32(change)
        loss = float(np.square(network.predict(inputs) - wanted[:, 0]).mean())
        network._flat[place] -= np.float32(change)
        return loss

    assert (loss_at(1e-2) - loss_at(-1e-2)) / 2e-2 == pytest.approx(gradient[place], rel=0.02)
