"""What came of a question's lines: measures with intervals over seeds, and gains and shares paired by seed.

Policies of one environment played the same tasks with the same luck, so one is held against another seed by seed, on
the same episodes and at the same cost weight.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import NamedTuple

from benchmarks.arena import measures
from benchmarks.arena.ablations import cost_weight_of
from benchmarks.arena.measures import Episodes, Interval, interval
from benchmarks.arena.questions.catalogue import Line, asked
from benchmarks.arena.run import Job, load

Runs = Mapping[str, Sequence[Episodes]]
"""By policy: the episodes of each seed, in the order of seeds."""


class Answer(NamedTuple):
    """A line with what came of it. `gain` and `share` are paired by seed; `p` is of the gain, corrected by Holm."""

    line: Line
    values: Mapping[str, Interval]
    worst_seed_utility: float
    gain: Interval | None
    p: float | None
    share: Interval | None


def answers(question: str, jobs: Sequence[Job], *, tail: int) -> dict[str, list[Answer]]:
    """By environment, from the last `tail` episodes of each job; the jobs are those of one question, all played."""
    grouped: dict[str, dict[str, list[Episodes]]] = {}
    for job in jobs:
        grouped.setdefault(job.environment, {}).setdefault(job.policy, []).append(load(job).episodes[-tail:])
    return {environment: answer(asked(question, environment), runs) for environment, runs in grouped.items()}


def answer(lines: Sequence[Line], runs: Runs) -> list[Answer]:
    """One environment's lines. Gains of one environment are corrected together."""
    gains = {line.label: gain_by_seed(line, runs) for line in lines if line.against is not None}
    tested = {label: measures.p_value(gain) for label, gain in gains.items() if len(gain) > 1}
    p_values = measures.holm(tested)
    return [
        Answer(
            line,
            _values(line, runs),
            min(utility_by_seed(line, line.policy, runs)),
            interval(gains[line.label]) if line.label in gains else None,
            p_values.get(line.label),
            share(line, runs) if line.between else None,
        )
        for line in lines
    ]


def counted(line: Line, episodes: Episodes) -> Episodes:
    """The episodes that count for a line (at least one): those that drew its cost weight if it asks so, else all."""
    if not line.drawn_weight:
        return episodes
    drawn = [episode for episode in episodes if cost_weight_of(episode.task) == line.cost_weight]
    if not drawn:
        raise ValueError(f"no episode drew the cost weight {line.cost_weight:g}; play more episodes")
    return drawn


def _values(line: Line, runs: Runs) -> dict[str, Interval]:
    seeds = [counted(line, episodes) for episodes in runs[line.policy]]
    named = measures.measures(line.cost_weight)
    return {name: interval([measure(episodes) for episodes in seeds]) for name, measure in named.items()}


def utility_by_seed(line: Line, policy: str, runs: Runs) -> list[float]:
    """A policy's utility on the line's episodes at the line's cost weight."""
    return [measures.utility(counted(line, episodes), line.cost_weight) for episodes in runs[policy]]


def gain_by_seed(line: Line, runs: Runs) -> list[float]:
    """The line's utility minus that of whom it is held against."""
    assert line.against is not None, "only lines with a rival have a gain"
    pairs = zip(utility_by_seed(line, line.policy, runs), utility_by_seed(line, line.against, runs), strict=True)
    return [own - rival for own, rival in pairs]


def share(line: Line, runs: Runs) -> Interval | None:
    """How far the line goes from the low end to the high one: 0 = the low end, 1 = the high end; None if they are one.

    A ratio of means over seeds, since a seed's own gap may be tiny; its interval is that of a linearised ratio.
    """
    assert line.between is not None, "only lines on a scale have a share"
    own, low, high = (utility_by_seed(line, policy, runs) for policy in (line.policy, *line.between))
    gains, gaps = ([u - base for u, base in zip(of, low, strict=True)] for of in (own, high))
    gap = fmean(gaps)
    if gap == 0.0:
        return None
    ratio = fmean(gains) / gap
    off = interval([gain - ratio * whole for gain, whole in zip(gains, gaps, strict=True)]).half_width
    return Interval(ratio, None if off is None else off / abs(gap))
