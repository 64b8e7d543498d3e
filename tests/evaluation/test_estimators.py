"""The arithmetic of off-policy estimates: by hand, by law, and by coverage over simulated worlds."""

from __future__ import annotations

from math import inf, sqrt
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn_server.evaluation.estimators import Step, doubly_robust, effective_sample_size, ips, mean, snips

rewards = st.lists(st.floats(0, 1), min_size=2, max_size=20)


def test_by_hand():
    """Weights 2, 0, 1 on rewards 1, 1, 0: IPS 2/3, SNIPS 2/3; Kish's size 9/5."""
    weights, outcomes = [2.0, 0.0, 1.0], [1.0, 1.0, 0.0]
    assert ips(weights, outcomes).value == pytest.approx(2 / 3)
    assert snips(weights, outcomes).value == pytest.approx(2 / 3)
    assert effective_sample_size(weights) == pytest.approx(9 / 5)
    assert effective_sample_size([0.0, 0.0]) == 0.0


def test_the_interval_of_a_mean_is_students():
    found = mean([1.0, 2.0, 3.0])
    assert found.value == 2.0
    assert found.high - found.value == pytest.approx(4.303 / sqrt(3), abs=1e-3)
    assert mean([5.0]) == (5.0, -inf, inf)


@given(rewards)
def test_weights_of_one_give_the_plain_mean(outcomes: list[float]):
    ones = [1.0] * len(outcomes)
    assert ips(ones, outcomes).value == pytest.approx(mean(outcomes).value)
    assert snips(ones, outcomes).value == pytest.approx(mean(outcomes).value)


@given(rewards, st.floats(0.1, 10))
def test_snips_does_not_care_for_the_scale_of_weights_and_stays_among_the_rewards(outcomes: list[float], scale: float):
    weights = [1.0 + i for i in range(len(outcomes))]
    one, other = snips(weights, outcomes), snips([scale * w for w in weights], outcomes)
    assert one == pytest.approx(other)
    assert min(outcomes) - 1e-9 <= one.value <= max(outcomes) + 1e-9


def test_doubly_robust_by_hand_backwards():
    """Last step: .5 + 2 (1 - .6) = 1.3; first: .4 + .5 (1.3 - .3) = .9."""
    assert doubly_robust([Step(0.5, 0.4, 0.3), Step(2.0, 0.5, 0.6)], 1.0) == pytest.approx(0.9)


def test_doubly_robust_without_a_model_is_the_weighted_reward_and_without_steps_the_reward():
    assert doubly_robust([Step(2.0, 0.0, 0.0), Step(0.5, 0.0, 0.0), Step(3.0, 0.0, 0.0)], 0.7) == pytest.approx(3 * 0.7)
    assert doubly_robust([], 0.7) == 0.7


def test_doubly_robust_with_a_true_model_is_the_models_value_whoever_was_chosen():
    values = {"a": 0.9, "b": 0.2}
    target = {"a": 0.3, "b": 0.7}
    expected = sum(target[name] * values[name] for name in values)
    for chosen, propensity in (("a", 0.6), ("b", 0.4)):
        step = Step(target[chosen] / propensity, expected, values[chosen])
        assert doubly_robust([step], values[chosen]) == pytest.approx(expected)


class World:
    """Two choices an episode between two models, the second with a memory; the logging policy learns as it goes."""

    def __init__(self, seed: int) -> None:
        self._random = Random(seed)
        self.truth = 0.0  # of always choosing 1 with probability .7, by enumeration
        self._good = [self._random.uniform(0.2, 0.8) for _ in range(4)]
        for first in (0, 1):
            for second in (0, 1):
                chance = (0.7 if first else 0.3) * (0.7 if second else 0.3)
                self.truth += chance * self._good[2 * first + second]

    def log(self, episodes: int) -> tuple[list[float], list[list[Step]], list[float]]:
        """Weights, steps (with what was learned so far as the model) and rewards of episodes."""
        tried, won, weights, steps, outcomes = [1.0] * 4, [0.5] * 4, [], [], []
        for _ in range(episodes):
            chosen, of_episode = list[int](), list[Step]()
            for _ in (0, 1):
                greedy = max((0, 1), key=lambda m, c=chosen: self._guess(tried, won, [*c, m]))  # type: ignore[misc]  # bound now
                chance = 0.75 if greedy else 0.25
                choice = int(self._random.random() < chance)
                logged = chance if choice else 1.0 - chance
                guesses = [self._guess(tried, won, [*chosen, m]) for m in (0, 1)]
                of_episode.append(
                    Step((0.7, 0.3)[1 - choice] / logged, 0.3 * guesses[0] + 0.7 * guesses[1], guesses[choice])
                )
                chosen.append(choice)
            reward = float(self._random.random() < self._good[2 * chosen[0] + chosen[1]])
            tried[2 * chosen[0] + chosen[1]] += 1
            won[2 * chosen[0] + chosen[1]] += reward
            weights.append(of_episode[0].ratio * of_episode[1].ratio)
            steps.append(of_episode)
            outcomes.append(reward)
        return weights, steps, outcomes

    def _guess(self, tried: list[float], won: list[float], chosen: list[int]) -> float:
        cells = [2 * chosen[0] + chosen[1]] if len(chosen) == 2 else [2 * chosen[0], 2 * chosen[0] + 1]
        return sum(won[c] for c in cells) / sum(tried[c] for c in cells)


def test_intervals_cover_the_truth_as_often_as_they_say_and_estimates_are_unbiased():
    covered, errors = {"ips": 0, "snips": 0, "dr": 0}, {"ips": 0.0, "snips": 0.0, "dr": 0.0}
    worlds = 400
    squares = dict.fromkeys(errors, 0.0)
    for seed in range(worlds):
        world = World(seed)
        weights, steps, outcomes = world.log(150)
        found = {
            "ips": ips(weights, outcomes),
            "snips": snips(weights, outcomes),
            "dr": mean([doubly_robust(s, r) for s, r in zip(steps, outcomes, strict=True)]),
        }
        for name, estimate in found.items():
            covered[name] += estimate.low <= world.truth <= estimate.high
            errors[name] += estimate.value - world.truth
            squares[name] += (estimate.value - world.truth) ** 2
    for name, count in covered.items():
        assert 0.92 <= count / worlds <= 0.98, (name, count / worlds)
        standard_error = sqrt(squares[name]) / worlds
        assert abs(errors[name] / worlds) < 3.5 * standard_error, name
