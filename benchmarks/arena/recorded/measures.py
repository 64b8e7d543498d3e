"""What passes came to, over seeds: score, USD, utility, and regret to the best single model in hindsight.

The outcomes are fixed, so a seed changes the order of the items and a policy's own draws, nothing else: intervals say
how much of a difference is luck of the order, not how it would be on other tasks. A policy without learning and draws
has none. Differences are taken seed by seed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.arena.measures import Interval, holm, interval, p_value
from benchmarks.arena.recorded.run import Job, choices, played
from benchmarks.arena.recorded.tables import FloatArray, IntArray, Table, best_single

MARGIN = 0.005  # utility: a loss whose whole interval is below it counts as none
SIGNIFICANT = 0.05
CURVE_POINTS = 40


class Row(NamedTuple):
    """A policy on a table at one cost weight; means over seeds of whole passes.

    `regret_share`: utility lost to the best single model by the end of the pass, over that model's utility; `curve`:
    mean cumulative regret, in utility, at equal steps of the pass. USD is None where unknown.
    """

    policy: str
    seeds: tuple[int, ...]
    score: Interval
    usd: Interval | None
    utility: Interval
    last_half_utility: Interval
    regret_share: Interval
    utility_by_seed: tuple[float, ...]
    curve: tuple[float, ...]
    shares: dict[str, float]


def row(table: Table, jobs: Sequence[Job]) -> Row:
    """Sums up one policy's jobs, one per seed."""
    passes = [(played(job), choices(job)) for job in jobs]
    utilities = table.utilities(jobs[0].cost_weight)
    gained = [utilities[items, chosen] for items, chosen in passes]
    regrets = [_regrets(utilities[items], chosen) for items, chosen in passes]
    bests = [float(utilities[items].mean(axis=0).max()) * len(items) for items, _ in passes]
    by_seed = tuple(float(u.mean()) for u in gained)
    everything = np.concatenate([chosen for _, chosen in passes])
    money = table.usd
    return Row(
        policy=jobs[0].policy,
        seeds=tuple(job.seed for job in jobs),
        score=interval([float(table.scores[items, chosen].mean()) for items, chosen in passes]),
        usd=None if money is None else interval([float(money[items, chosen].mean()) for items, chosen in passes]),
        utility=interval(by_seed),
        last_half_utility=interval([float(u[len(u) // 2 :].mean()) for u in gained]),
        regret_share=interval([float(r.sum()) / best for r, best in zip(regrets, bests, strict=True)]),
        utility_by_seed=by_seed,
        curve=_curve(regrets),
        shares={name: round(float((everything == k).mean()), 4) for k, name in enumerate(table.model_names)},
    )


def _regrets(utilities: FloatArray, chosen: IntArray) -> FloatArray:
    """Utility of the best single model minus that of the choice, item by item."""
    regrets: FloatArray = utilities[:, best_single(utilities)] - utilities[np.arange(len(utilities)), chosen]
    return regrets


def _curve(regrets: Sequence[FloatArray]) -> tuple[float, ...]:
    ends = np.linspace(0, len(regrets[0]), CURVE_POINTS + 1).round().astype(int)[1:]
    sums = [np.cumsum(r)[ends - 1] for r in regrets]
    return tuple(float(value) for value in np.mean(sums, axis=0))


class Gain(NamedTuple):
    """A policy's utility minus a rival's, paired by seed; p corrected by Holm (None for a single seed)."""

    mean: float
    half_width: float | None
    p_holm: float | None
    verdict: str


def gains(pairs: Mapping[str, tuple[Row, Row]]) -> dict[str, Gain]:
    """Several comparisons (hero, rival) by name, corrected together."""
    differences = {name: _differences(*pair) for name, pair in pairs.items()}
    several = {name: values for name, values in differences.items() if len(values) > 1}
    adjusted = holm({name: p_value(values) for name, values in several.items()})
    found = {}
    for name, values in differences.items():
        mean, width = interval(values)
        p_holm = adjusted.get(name)
        found[name] = Gain(mean, width, p_holm, verdict(mean, width, p_holm))
    return found


def _differences(hero: Row, rival: Row) -> list[float]:
    """Seed by seed. Raises ValueError if they played other seeds."""
    if hero.seeds != rival.seeds:
        raise ValueError(f"{hero.policy} played seeds {hero.seeds}, {rival.policy} {rival.seeds}")
    return [a - b for a, b in zip(hero.utility_by_seed, rival.utility_by_seed, strict=True)]


def verdict(mean: float, half_width: float | None, p_holm: float | None) -> str:
    """In words: better and worse need a corrected p below 0.05; no worse, an interval above -MARGIN."""
    if half_width is None or p_holm is None:
        return "open"
    if p_holm < SIGNIFICANT:
        return "better" if mean > 0.0 else "worse"
    return "no worse" if mean - half_width > -MARGIN else "open"
