"""The law of propensities, by enumerated draws over whole episodes with revisited phases.

Along an episode the propensities multiply to its exact probability: they equal the share of all draws that lead to the
same choices. So an importance weight has a mean of 1 for any target that chooses only what the logged policy could.
The draws are the points of a Fibonacci lattice, which fills the square of the two phases' draws evenly.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from functools import cache
from math import prod
from typing import NamedTuple

import pytest

from sojourn_server.config import ChoiceSettings
from sojourn_server.policy.decision import Choice
from sojourn_server.policy.distribution import UNIT, Interval
from sojourn_server.policy.registry import Registry
from tests.policy.play import Play, default_registry

POINTS, STEP = 987, 610
"""Neighbouring Fibonacci numbers: a rank-1 lattice, off by about log(n) / n on any rectangle."""
LATTICE_ERROR = 0.008
FLAT = ChoiceSettings(prior_width=1.0, floor=0.01)
"""A flat policy, so that every candidate is tried and a decision amid a phase often chooses anew."""
THREE = Registry({n: default_registry().models[n] for n in ("deepseek-v3.2", "gpt-5", "gpt-oss-120b")})
DAY_MS = 86_400_000
IDLE_BEFORE = (2, 4)  # every cache is gone then, so the turn decides amid its phase
PHASES = ("search", "search", "search", "code", "code", "search")
TURNS = [
    {"tool_type": phase, "prompt_tokens": tokens, "cost_weight": weight}
    for phase, tokens, weight in zip(
        PHASES, (2_000, 2_500, 60_000, 50_000, 60_000, 9_000), (0.0, 0.0, 12.0, 4.0, 0.0, 0.0), strict=True
    )
]


class Run(NamedTuple):
    """One episode: its choices, and before each what was known of its phase's draw."""

    choices: tuple[Choice, ...]
    surviving: tuple[Interval, ...]

    @property
    def path(self) -> tuple[str, ...]:
        return tuple(choice.model for choice in self.choices)

    @property
    def probability(self) -> float:
        return prod(choice.propensity for choice in self.choices)


def play(draws: dict[str, float]) -> Run:
    """Search, held, idle, code, idle, back to search; lengths and cost weights change, and with them the cells."""
    episode = Play(settings=FLAT, registry=THREE, phase_draws=draws)
    choices, surviving = [], []
    for t, turn in enumerate(TURNS):
        episode.now_ms += DAY_MS * (t in IDLE_BEFORE)
        surviving.append(episode.episode.interval(PHASES[t]))
        choices.append(episode.ask(t, **turn))
    return Run(tuple(choices), tuple(surviving))


@cache
def lattice() -> tuple[Run, ...]:
    """One run per point."""
    return tuple(
        play({"search": (i + 0.5) / POINTS, "code": (i * STEP % POINTS + 0.5) / POINTS}) for i in range(POINTS)
    )


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


def test_the_product_of_propensities_is_the_joint_frequency_of_the_choices():
    counts: dict[tuple[str, ...], int] = defaultdict(int)
    probability: dict[tuple[str, ...], float] = {}
    for run in lattice():
        counts[run.path] += 1
        assert probability.setdefault(run.path, run.probability) == pytest.approx(run.probability)
    assert len(counts) > 15
    assert sum(probability.values()) == pytest.approx(1.0, abs=0.01)
    for path, count in counts.items():
        assert count / POINTS == pytest.approx(probability[path], abs=LATTICE_ERROR)


def test_decisions_amid_a_phase_choose_anew_so_that_the_product_of_marginals_would_not_do():
    """This episode can tell the two rules apart: the naive product does not even sum to 1."""
    assert mean([run.path[0] != run.path[2] for run in lattice()]) > 0.05
    naive = {run.path: prod(choice.cell.width for choice in run.choices) for run in lattice()}
    assert abs(sum(naive.values()) - 1.0) > 0.3


def test_held_turns_and_returns_are_certain_and_say_nothing_of_the_draw():
    for run in lattice()[:100]:
        for certain, chosen in ((1, 0), (5, 2)):
            choice = run.choices[certain]
            assert (choice.propensity, choice.model, choice.cell) == (1.0, run.path[chosen], UNIT)


def test_the_mean_importance_weight_is_one_for_another_policy_at_a_first_visit():
    """One-step deviation: an even choice when code begins, everything else as logged."""
    weights = [1 / 3 / run.choices[3].propensity for run in lattice()]
    assert mean(weights) == pytest.approx(1.0, abs=0.01)


def parts(choice: Choice, surviving: Interval) -> list[Interval]:
    """What would be left of the draw's interval, for each candidate that could still be chosen."""
    lows = [sum(choice.probabilities[:i]) for i in range(len(choice.probabilities))]
    cells = [Interval(low, low + p) for low, p in zip(lows, choice.probabilities, strict=True)]
    return [part for part in (cell.intersect(surviving) for cell in cells) if part.width > 1e-9]


def target_probability(run: Run) -> float:
    """Of a policy that chooses evenly among all that the logged one could still have chosen, given the draws so far."""
    return prod(1 / len(parts(choice, surviving)) for choice, surviving in zip(run.choices, run.surviving, strict=True))


def reward(run: Run) -> float:
    """Share of turns on the small model: any number that depends on the whole path."""
    return mean([name == "gpt-oss-120b" for name in run.path])


@cache
def every_path() -> tuple[Run, ...]:
    """One run per path, found by stepping into the middle of each part of each run's intervals."""
    found: dict[tuple[str, ...], Run] = {}
    waiting = [{"search": 0.5, "code": 0.5}]
    while waiting:
        draws = waiting.pop()
        run = play(draws)
        if run.path in found:
            continue
        found[run.path] = run
        for phase, choice, surviving in zip(PHASES, run.choices, run.surviving, strict=True):
            waiting += [{**draws, phase: (part.low + part.high) / 2} for part in parts(choice, surviving)]
    return tuple(found.values())


def test_the_probabilities_of_all_paths_sum_to_one():
    assert sum(run.probability for run in every_path()) == pytest.approx(1.0)
    assert sum(target_probability(run) for run in every_path()) == pytest.approx(1.0)


def test_the_mean_trajectory_weight_is_one_and_the_weighted_reward_is_the_targets_value():
    weights = [target_probability(run) / run.probability for run in lattice()]
    assert mean(weights) == pytest.approx(1.0, abs=0.03)
    estimate = mean([weight * reward(run) for weight, run in zip(weights, lattice(), strict=True)])
    assert estimate == pytest.approx(sum(target_probability(run) * reward(run) for run in every_path()), abs=0.02)
