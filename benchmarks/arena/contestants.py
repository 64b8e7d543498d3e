"""Who plays: every policy of the arena by its name, made anew for each (environment, seed)."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from statistics import fmean
from typing import Any, NamedTuple

from benchmarks.arena.cache import remembered
from benchmarks.arena.environments import TUNING_SEEDS, Environment, by_name
from benchmarks.arena.policies import placebos
from benchmarks.arena.policies.bandits import Knn, LinearThompson, LinUcb
from benchmarks.arena.policies.estimator import Estimator, collect
from benchmarks.arena.policies.features import Encoder
from benchmarks.arena.policies.learning import PerEpisode, PerTurn
from benchmarks.arena.policies.policy_gradient import SoftmaxPolicy
from benchmarks.arena.policies.rules import Escalation, HandTable, MtrouterRules, PhaseOracle, Table, fit_table
from benchmarks.arena.policies.vowpal import VowpalBandit
from benchmarks.arena.sojourn import Sojourn, settings
from sojourn_server.config import PolicyConfig
from sojourn_server.demo.choosers import NeverSwitch
from sojourn_server.demo.play import Chooser, EpisodeResult, Task

COST_WEIGHT = 1.0  # score that one USD is worth; the product's default
FIT_TASKS = 60  # for tables and oracle, on tuning seeds
TRAINING_TASKS = 30  # of the MTRouter-like estimator: 23 runs each


class Entry(NamedTuple):
    """A contestant. `donor`: the policy whose episodes, of another seed, it is made from."""

    make: Callable[[Environment, int, Sequence[EpisodeResult]], Chooser]
    donor: str | None = None


def contestants(environment: Environment) -> dict[str, Entry]:
    """All policies that can play in an environment, by name."""
    entries = {f"never-switch:{name}": _fixed(name) for name in environment.model_names}
    entries |= {name: _product(name) for name in _BASES}
    return entries | _RULES | _LEARNERS | _PLACEBOS


def entry(environment: Environment, name: str) -> Entry:
    """A contestant by its name, which may change settings of Sojourn's behind a "?". Raises KeyError."""
    return _product(name) if name.partition("?")[0] in _BASES else contestants(environment)[name]


def _product(name: str) -> Entry:
    return Entry(lambda environment, seed, donors: sojourn(environment, seed, name))


def _fixed(name: str) -> Entry:
    return Entry(lambda environment, seed, donors: NeverSwitch(name))


def sojourn(environment: Environment, seed: int, name: str) -> Sojourn:
    """Sojourn at the product's defaults, but for what its name changes: "sojourn-warm?gap_scale=5&lesson.turns_cap=50".

    Keys are choice settings, or lesson settings behind "lesson."; values are JSON where they can be read as such.
    """
    base, _, query = name.partition("?")
    policy = settings(dict(environment.table), environment.strongest, cost_weight=COST_WEIGHT, **_BASES[base])
    raw = policy.model_dump()
    for change in filter(None, query.split("&")):
        key, _, value = change.partition("=")
        target = raw["lesson"] if key.startswith("lesson.") else raw["choice"]
        target[key.removeprefix("lesson.")] = _read(value)
    return Sojourn(environment.registry, PolicyConfig.model_validate(raw), seed=seed)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


_BASES: dict[str, dict[str, Any]] = {
    "sojourn-warm": {},
    "sojourn-cold": {"warm": False},
    "heuristic": {"mode": "HEURISTIC"},
}


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


def _mean_utility(results: Sequence[EpisodeResult]) -> float:
    return fmean(result.score - COST_WEIGHT * result.usd for result in results)


def hand_table(environment: Environment) -> dict[str, str]:
    """The best table over what is visible, on tuning tasks."""

    def evaluate(tasks: Sequence[Task], table: Table) -> float:
        return _mean_utility([environment.play(task, HandTable(table, environment.strongest)) for task in tasks])

    return _fitted(environment, "hand-table", environment.tool_types, evaluate)


def phase_table(environment: Environment) -> dict[str, str]:
    """The best table over the hidden phases, on tuning tasks."""

    def evaluate(tasks: Sequence[Task], table: Table) -> float:
        oracle = PhaseOracle(table)
        return _mean_utility([environment.play(task, oracle, reveal=oracle.reveal) for task in tasks])

    return _fitted(environment, "phase-table", environment.phases, evaluate)


def _fitted(
    environment: Environment, name: str, keys: Sequence[str], evaluate: Callable[[Sequence[Task], Table], float]
) -> dict[str, str]:
    def fit() -> dict[str, str]:
        tasks = environment.tasks(FIT_TASKS, seed=TUNING_SEEDS[-2])
        return fit_table(environment.model_names, keys, lambda table: evaluate(tasks, table), sweeps=2)

    table: dict[str, str] = remembered(f"{environment.name}/fitted/{name}", fit)
    return table


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


_PLACEBOS = {
    "random-matched": Entry(
        lambda e, seed, donors: placebos.MatchedRandom(placebos.shares(_served(donors)), seed=seed), "sojourn-warm"
    ),
    "sojourns-matched": Entry(
        lambda e, seed, donors: placebos.MatchedSojourns(_served(donors), seed=seed), "sojourn-warm"
    ),
    "transplanted": Entry(
        lambda e, seed, donors: placebos.Transplanted(_by_task_type(donors), seed=seed), "sojourn-warm"
    ),
}
