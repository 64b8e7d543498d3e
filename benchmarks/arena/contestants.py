"""Who plays: every policy of the arena by its name, made anew for each (environment, seed)."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any, NamedTuple

from benchmarks.arena.ablations import PLAIN, variant
from benchmarks.arena.environments import TUNING_SEEDS, Environment, by_name
from benchmarks.arena.policies import placebos
from benchmarks.arena.policies.bandits import Knn, LinearThompson, LinUcb
from benchmarks.arena.policies.estimator import Estimator, collect
from benchmarks.arena.policies.features import Encoder
from benchmarks.arena.policies.learning import PerEpisode, PerTurn
from benchmarks.arena.policies.policy_gradient import SoftmaxPolicy
from benchmarks.arena.policies.rules import Escalation, HandTable, MtrouterRules, PhaseOracle
from benchmarks.arena.policies.vowpal import VowpalBandit
from benchmarks.arena.sojourn import Sojourn, changed, settings
from benchmarks.arena.tables import COST_WEIGHT, hand_table, nameable, phase_table, table_at
from sojourn_server.demo.choosers import NeverSwitch
from sojourn_server.demo.play import Chooser, EpisodeResult

TRAINING_TASKS = 30  # of the MTRouter-like estimator: 23 runs each


class Entry(NamedTuple):
    """A contestant. `donor`: the policy whose episodes, of another seed, it is made from."""

    make: Callable[[Environment, int, Sequence[EpisodeResult]], Chooser]
    donor: str | None = None


def contestants(environment: Environment) -> dict[str, Entry]:
    """All policies that can play in an environment, by name."""
    entries = {f"never-switch:{name}": _fixed(name) for name in environment.model_names}
    entries |= {name: _product(name) for name in PLAIN}
    return entries | _RULES | _LEARNERS | _PLACEBOS


def entry(environment: Environment, name: str) -> Entry:
    """A contestant by its name; see `sojourn` and `_MATCHED` for names that are made up of parts. Raises KeyError."""
    if variant(re.split("[@?]", name)[0]) is not None:
        return _product(name)
    placebo, _, donor = name.partition(":")
    if donor and placebo in _MATCHED:
        return _MATCHED[placebo](donor)
    return contestants(environment)[name]


def _product(name: str) -> Entry:
    return Entry(lambda environment, seed, donors: sojourn(environment, seed, name))


def _fixed(name: str) -> Entry:
    return Entry(lambda environment, seed, donors: NeverSwitch(name))


def sojourn(environment: Environment, seed: int, name: str) -> Sojourn:
    """Sojourn at the product's defaults, but for what its name says: "<variant>[@<table>][?<settings>]".

    "sojourn-warm@right-2" is taught that table (`table_at`), "sojourn-warm?floor=0&lesson.turns_cap=50" changes
    settings (`changed`).
    """
    head, _, query = name.partition("?")
    base, _, level = head.partition("@")
    made = variant(base)
    if made is None:
        raise KeyError(name)
    table = table_at(environment, level) if level else dict(environment.table)
    registry = nameable(environment.registry) if level else environment.registry
    policy = settings(table, environment.strongest, cost_weight=COST_WEIGHT, **made.base)
    policy = policy.model_copy(update={"choice": policy.choice.model_copy(update=made.choice)})
    return made.make(registry, changed(policy, query), seed=seed)


def encoder(environment: Environment) -> Encoder:
    """The shared vector of all rivals."""
    return Encoder(environment.model_names, task_types=environment.task_types, tool_types=environment.tool_types)


def _per_turn(bandit: Any, environment: Environment, *, counts_forfeited: bool = True) -> PerTurn:
    return PerTurn(bandit, environment.model_names, cost_weight=COST_WEIGHT, counts_forfeited=counts_forfeited)


def _per_episode(bandit: Any, environment: Environment) -> PerEpisode:
    return PerEpisode(bandit, environment.model_names, cost_weight=COST_WEIGHT)


def _pareto(environment: Environment, seed: int) -> Chooser:
    from benchmarks.arena.policies.pareto import ParetoRouter  # heavy to import

    return _per_episode(ParetoRouter(encoder(environment), environment.prices, seed=seed, alpha=0.5), environment)


@cache
def _training_runs(name: str) -> Any:
    environment = by_name(name)
    tasks = environment.tasks(TRAINING_TASKS, seed=TUNING_SEEDS[-1])
    return collect(tasks, environment.play, environment.model_names, seed=TUNING_SEEDS[-1])


@cache
def _estimator(name: str, cost_weight: float) -> Estimator:
    """Trained once: its money is spent once."""
    return Estimator.trained(encoder(by_name(name)), _training_runs(name), seed=1, cost_weight=cost_weight)


_LEARNERS = {
    "per-turn": Entry(lambda e, seed, _: _per_turn(VowpalBandit(e.model_names, seed=seed), e)),
    "linucb-turn": Entry(lambda e, seed, _: _per_turn(LinUcb(encoder(e), alpha=0.1), e)),
    "thompson-turn": Entry(lambda e, seed, _: _per_turn(LinearThompson(encoder(e), seed=seed), e)),
    "linucb-episode": Entry(lambda e, seed, _: _per_episode(LinUcb(encoder(e), alpha=0.1), e)),
    "knn-episode": Entry(lambda e, seed, _: _per_episode(Knn(encoder(e), seed=seed), e)),
    "router-r1-like": Entry(
        lambda e, seed, _: _per_turn(SoftmaxPolicy(encoder(e), seed=seed), e, counts_forfeited=False)
    ),
    "mtrouter-like": Entry(lambda e, seed, _: _per_turn(_estimator(e.name, 0.0), e)),
    "mtrouter-like-money": Entry(lambda e, seed, _: _per_turn(_estimator(e.name, COST_WEIGHT), e)),
    "paretobandit": Entry(lambda e, seed, _: _pareto(e, seed)),
}


def training_usd(environment: Environment) -> float:
    """What the training runs of the MTRouter-like estimator cost."""
    return _estimator(environment.name, 0.0).training_usd


_RULES = {
    "random": Entry(
        lambda e, seed, _: placebos.MatchedRandom(dict.fromkeys(e.model_names, 1 / len(e.models)), seed=seed)
    ),
    "escalation": Entry(lambda e, seed, _: Escalation(e.cheapest, e.strongest)),
    "escalation-hysteresis": Entry(lambda e, seed, _: Escalation(e.cheapest, e.strongest, hold_turns=5)),
    "mtrouter-rules": Entry(
        lambda e, seed, _: MtrouterRules(
            e.strongest,
            e.cheapest,
            [n for n in e.model_names if n != e.strongest],
            expected_turns=lambda task_type: 27.0,
            seed=seed,
        )
    ),
    "hand-table": Entry(lambda e, seed, _: HandTable(hand_table(e), e.strongest)),
    "phase-oracle": Entry(lambda e, seed, _: PhaseOracle(phase_table(e))),
}


def _served(donors: Sequence[EpisodeResult]) -> list[tuple[str, ...]]:
    return [donor.served for donor in donors[len(donors) // 2 :]]


def _by_task_type(donors: Sequence[EpisodeResult]) -> dict[str, list[tuple[str, ...]]]:
    grouped = defaultdict[str, list[tuple[str, ...]]](list)
    for donor in donors[len(donors) // 2 :]:
        grouped[donor.task.level.name].append(donor.served)
    return grouped


_MATCHED: dict[str, Callable[[str], Entry]] = {
    "random-matched": lambda donor: Entry(
        lambda e, seed, donors: placebos.MatchedRandom(placebos.shares(_served(donors)), seed=seed), donor
    ),
    "sojourns-matched": lambda donor: Entry(
        lambda e, seed, donors: placebos.MatchedSojourns(_served(donors), seed=seed), donor
    ),
    "transplanted": lambda donor: Entry(
        lambda e, seed, donors: placebos.Transplanted(_by_task_type(donors), seed=seed), donor
    ),
}
"""Placebos, each made from another policy's episodes; "random-matched:escalation" names whose."""

_PLACEBOS = {name: make("sojourn-warm") for name, make in _MATCHED.items()}
