"""Each bandit learns which model suits which tool, minds money and withdrawals, and repeats itself by its seed.

The conformance list holds for every learner; constant choices score .5 in the tiny world, the right ones .9.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

import numpy as np
import pytest

from benchmarks.arena.policies.bandits import Knn, LinearThompson, LinUcb, RidgePerModel
from benchmarks.arena.policies.features import Context
from benchmarks.arena.policies.learning import Bandit, PerEpisode, PerTurn
from benchmarks.arena.policies.policy_gradient import SoftmaxPolicy
from benchmarks.arena.policies.vowpal import VowpalBandit
from tests.arena.tiny_world import MODELS, PRICES, RIGHT, TinyEpisode, encoder, facts, mean_score, run, tiny_tasks, view


def pareto(seed: int) -> Bandit:
    pytest.importorskip("pareto_bandit", reason="the arena's extra is not installed")
    from benchmarks.arena.policies.pareto import ParetoRouter

    return ParetoRouter(encoder(), PRICES, seed=seed, alpha=0.5)


LEARNERS: dict[str, Callable[[int], Bandit]] = {
    "linucb": lambda seed: LinUcb(encoder(), alpha=0.3),
    "thompson": lambda seed: LinearThompson(encoder(), seed=seed),
    "vw": lambda seed: VowpalBandit(MODELS, seed=seed),
    "softmax": lambda seed: SoftmaxPolicy(encoder(), seed=seed),
    "pareto": pareto,
}
ONCE: dict[str, Callable[[int], Bandit]] = {
    "linucb": lambda seed: LinUcb(encoder(), alpha=0.3),
    "knn": lambda seed: Knn(encoder(), seed=seed),
    "pareto": pareto,
}
ALL = LEARNERS | ONCE


@pytest.mark.parametrize("name", LEARNERS)
@pytest.mark.parametrize("seed", [1, 2])
def test_per_turn_it_learns_the_right_model_for_each_tool(name: str, seed: int):
    episodes = run(PerTurn(LEARNERS[name](seed), MODELS, cost_weight=0.0), 600)
    assert mean_score(episodes[-150:]) >= 0.75
    assert share_of_right(episodes[-150:]) >= 0.75


@pytest.mark.parametrize("name", ONCE)
@pytest.mark.parametrize("seed", [1, 2])
def test_per_episode_it_learns_the_right_model_for_each_kind_of_episode(name: str, seed: int):
    episodes = run(PerEpisode(ONCE[name](seed), MODELS, cost_weight=0.0), 500, is_pure=True)
    assert mean_score(episodes[-150:]) >= 0.75
    assert all(len(set(episode.served)) == 1 for episode in episodes)


@pytest.mark.parametrize("name", LEARNERS)
def test_when_money_weighs_more_it_turns_to_the_cheap_model(name: str):
    episodes = run(PerTurn(LEARNERS[name](1), MODELS, cost_weight=20.0), 600)
    assert fmean(episode.served.count("cheap") for episode in episodes[-150:]) / 6 >= 0.75


@pytest.mark.parametrize("name", ALL)
def test_a_run_repeats_itself(name: str):
    first, second = (run(PerTurn(ALL[name](7), MODELS, cost_weight=1.0), 40) for _ in range(2))
    assert first == second


@pytest.mark.parametrize("name", ALL.keys() - {"linucb", "pareto"})
def test_another_seed_explores_otherwise(name: str):
    first, second = (run(PerTurn(ALL[name](seed), MODELS, cost_weight=1.0), 40) for seed in (7, 8))
    assert first != second


@pytest.mark.parametrize("name", ALL)
def test_only_offered_models_are_picked(name: str):
    chooser = PerTurn(ALL[name](3), MODELS, cost_weight=0.0)
    run(chooser, 60)
    chooser.offered = ("writer", "cheap")
    withheld = run(chooser, 30)
    assert {model for episode in withheld for model in episode.served} <= {"writer", "cheap"}
    chooser.offered = MODELS
    assert any("searcher" in episode.served for episode in run(chooser, 200))


@pytest.mark.parametrize("name", ALL)
def test_it_prefers_what_served_well_although_it_did_not_pick_it(name: str):
    bandit = ALL[name](5)
    chooser = PerTurn(bandit, MODELS, cost_weight=0.0)
    for task in tiny_tasks(60):
        chooser.begin(task)
        chooser.choose(view(0))
        model = MODELS[task.index % 3]
        chooser.observe(facts(model))
        chooser.end(0.9 if model == "cheap" else 0.1, 0.0)
    picks = [bandit.pick(Context(view(0), None), MODELS) for _ in range(50)]
    assert picks.count("cheap") > 25


def share_of_right(episodes: Sequence[TinyEpisode]) -> float:
    """Share of turns on the right model for their tool."""
    pairs = [pair for episode in episodes for pair in zip(episode.served, episode.tool_types, strict=True)]
    return fmean(model == RIGHT[tool] for model, tool in pairs)


def test_rank_one_updates_equal_the_ridge_solution():
    random = np.random.default_rng(0)
    inputs, wanted = random.normal(size=(50, 4)), random.normal(size=50)
    ridge = RidgePerModel(4, 2, ridge=0.5)
    for vector, utility in zip(inputs, wanted, strict=True):
        ridge.update(1, vector, utility)
    gram = inputs.T @ inputs + 0.5 * np.eye(4)
    solution = np.linalg.solve(gram, inputs.T @ wanted)
    probe = random.normal(size=4)
    assert ridge.means(probe) == pytest.approx([0.0, probe @ solution])
    assert ridge.deviations(probe)[1] == pytest.approx(np.sqrt(probe @ np.linalg.solve(gram, probe)))


def test_knn_forgets_the_oldest_turns():
    knn = Knn(encoder(), seed=1, k=1, epsilon=0.0, memory=3)
    chooser = PerTurn(knn, MODELS, cost_weight=0.0)
    for model, score in [("writer", 1.0), ("searcher", 0.5), ("cheap", 0.4), ("writer", 0.0)]:
        chooser.begin(tiny_tasks(1)[0])
        chooser.choose(view(0))
        chooser.observe(facts(model))
        chooser.end(score, 0.0)
    picks = [knn.pick(Context(view(0), None), MODELS) for _ in range(60)]
    assert picks.count("searcher") > picks.count("writer") + picks.count("cheap")


def test_vw_text_survives_hostile_names():
    bandit = VowpalBandit(["a b|c:1\nshared |x y", "plain"], seed=1)
    names = ("a b|c:1\nshared |x y", "plain")
    assert bandit.pick(Context(view(0, "search"), None), names) in names
