"""What runs came to. For learners the unit is the seed: means per seed first, then an interval over seeds.

Contestants of one environment play the same tasks with the same luck, so differences are taken seed by seed (common
random numbers). Intervals are Student's t at 95 %; several primary comparisons are corrected by Holm (1979).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from itertools import groupby, pairwise
from math import sqrt
from statistics import fmean, stdev
from typing import NamedTuple

from scipy import stats  # type: ignore[import-untyped]  # ships no py.typed

from benchmarks.arena.run import Played
from sojourn_server.demo.play import EpisodeResult

Episodes = Sequence[EpisodeResult]


class Interval(NamedTuple):
    """A mean over seeds and the half width of its 95 % interval (None for a single seed)."""

    mean: float
    half_width: float | None


def interval(values: Sequence[float]) -> Interval:
    """Student's t over at least one value."""
    count = len(values)
    if count < 2:
        return Interval(fmean(values), None)
    return Interval(fmean(values), float(stats.t.ppf(0.975, count - 1)) * stdev(values) / sqrt(count))


_NOISE = 1e-12  # of floating point; a spread below it is none


def p_value(differences: Sequence[float]) -> float:
    """Two-sided p of a paired t test that the mean difference is 0; 1 where nothing differs. At least two seeds."""
    if stdev(differences) < _NOISE:
        return 1.0 if abs(differences[0]) < _NOISE else 0.0
    return float(stats.ttest_1samp(differences, 0.0).pvalue)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's adjusted p values (Holm 1979), by name."""
    adjusted, largest = {}, 0.0
    for rank, (name, p) in enumerate(sorted(p_values.items(), key=lambda item: item[1])):
        largest = max(largest, min(1.0, p * (len(p_values) - rank)))
        adjusted[name] = largest
    return adjusted


def utility(episodes: Episodes, cost_weight: float) -> float:
    """Mean of score - cost_weight * USD."""
    return fmean(e.score - cost_weight * e.usd for e in episodes)


def _stay_after_error(episodes: Episodes) -> float:
    errors = sum(e.turns_after_error for e in episodes)
    return sum(e.stays_after_error for e in episodes) / errors if errors else 1.0


def _recovery(episodes: Episodes) -> float:
    """Of the turns that follow an error, the share without one."""
    after = [erred for e in episodes for before, erred in zip(e.erred, e.erred[1:], strict=False) if before]
    return 1.0 - fmean(after) if after else 1.0


def _switches_of_solved(episodes: Episodes) -> float:
    solved = [e.switches for e in episodes if e.score > 0.5]
    return fmean(solved) if solved else 0.0


def measures(cost_weight: float) -> dict[str, Callable[[Episodes], float]]:
    """Every measure by the name that the results file gives it; each takes the episodes of one seed."""
    return {
        "score": lambda episodes: fmean(e.score for e in episodes),
        "usd": lambda episodes: fmean(e.usd for e in episodes),
        "usd_p95": lambda episodes: sorted(e.usd for e in episodes)[int(0.95 * (len(episodes) - 1))],
        "forfeited_usd": lambda episodes: fmean(e.forfeited_usd for e in episodes),
        "utility": lambda episodes: utility(episodes, cost_weight),
        "switches_per_episode": lambda episodes: fmean(e.switches for e in episodes),
        "switches_per_solved_episode": _switches_of_solved,
        "switches_per_25_turns": lambda episodes: (
            25.0 * sum(e.switches for e in episodes) / sum(e.turns for e in episodes)
        ),
        "stay_after_error": _stay_after_error,
        "next_turn_recovery": _recovery,
        "turns": lambda episodes: fmean(e.turns for e in episodes),
    }


FIRST = 250  # episodes that a new user sees first


class Row(NamedTuple):
    """A policy in an environment: measures of the last `tail` episodes, utility of all of them, of the first `FIRST`
    and of equal blocks of them."""

    policy: str
    seeds: tuple[int, ...]
    episodes: int
    values: dict[str, Interval]
    cumulative_utility: Interval
    utility_by_seed: tuple[float, ...]
    first_utility_by_seed: tuple[float, ...]
    curve_by_seed: tuple[tuple[float, ...], ...]
    lift: dict[str, dict[str, float]]
    decisions_per_second: float

    @property
    def learning_curve(self) -> tuple[float, ...]:
        """Utility of the blocks, mean over seeds."""
        return tuple(fmean(block) for block in zip(*self.curve_by_seed, strict=True))


def row(runs: Sequence[Played], *, tail: int, cost_weight: float, blocks: int = 20) -> Row:
    """Sums up one policy's runs, one per seed."""
    tails = [run.episodes[-tail:] for run in runs]
    named = measures(cost_weight)
    decisions = sum(e.turns for run in runs for e in run.episodes)
    return Row(
        policy=runs[0].job.policy,
        seeds=tuple(run.job.seed for run in runs),
        episodes=len(runs[0].episodes),
        values={name: interval([measure(t) for t in tails]) for name, measure in named.items()},
        cumulative_utility=interval([utility(run.episodes, cost_weight) for run in runs]),
        utility_by_seed=tuple(utility(t, cost_weight) for t in tails),
        first_utility_by_seed=tuple(utility(run.episodes[:FIRST], cost_weight) for run in runs),
        curve_by_seed=tuple(_curve(run.episodes, cost_weight, blocks) for run in runs),
        lift=lift([e for t in tails for e in t]),
        decisions_per_second=decisions / max(sum(run.decide_seconds for run in runs), 1e-9),
    )


def _curve(episodes: Episodes, cost_weight: float, blocks: int) -> tuple[float, ...]:
    """Utility of each of `blocks` equal stretches of episodes."""
    edges = [round(block * len(episodes) / blocks) for block in range(blocks + 1)]
    return tuple(utility(episodes[low:high], cost_weight) for low, high in pairwise(edges) if high > low)


def lift(episodes: Episodes) -> dict[str, dict[str, float]]:
    """Share of each model at a tool type over its share of all turns, by tool type and model."""
    pairs = Counter(pair for e in episodes for pair in zip(e.tool_types, e.served, strict=True))
    tools, models = Counter[str](), Counter[str]()
    for (tool, model), count in pairs.items():
        tools[tool] += count
        models[model] += count
    total = pairs.total()
    return {
        tool: {model: round(pairs[tool, model] / tools[tool] / (models[model] / total), 3) for model in sorted(models)}
        for tool in sorted(tools)
    }


def differences(one: Row, other: Row) -> list[float]:
    """Utility of one minus the other's, seed by seed. Raises ValueError if they played other seeds."""
    if one.seeds != other.seeds:
        raise ValueError(f"{one.policy} played seeds {one.seeds}, {other.policy} {other.seeds}")
    return [a - b for a, b in zip(one.utility_by_seed, other.utility_by_seed, strict=True)]


def sojourn_lengths(episodes: Episodes) -> list[int]:
    """Turns of every sojourn."""
    return [len(list(turns)) for e in episodes for _, turns in groupby(e.served)]
