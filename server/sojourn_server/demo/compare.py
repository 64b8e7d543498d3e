"""The same tasks for several contestants, and what a block of episodes came to.

Every contestant plays every task, task by task, so that all of them advance together and meet the same layouts and
the same luck. A row is a pure function of the episodes that it covers; means are per episode, money in USD.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

from sojourn_server.demo.play import Chooser, EpisodeResult, Task, play
from sojourn_server.demo.tokens import PromptShape


@dataclass(frozen=True)
class Contestant:
    """A chooser with the name of its rows; `reveal` as in `play`, for upper bounds alone."""

    name: str
    chooser: Chooser
    reveal: Callable[[str], None] | None = None


@dataclass(frozen=True)
class Row:
    """Means over a block of episodes. `stay_after_error` is None where no turn followed an error.

    `utility` is score - cost weight * USD, with the half width of its 95 % interval over episodes (None for a single
    one); `forfeited_usd` is the part of `usd` that cold caches cost after switches.
    """

    contestant: str
    first_episode: int
    episodes: int
    score: float
    usd: float
    utility: float
    utility_half_width: float | None
    switches: float
    stay_after_error: float | None
    forfeited_usd: float
    turns: float


def compare(
    contestants: Sequence[Contestant],
    tasks: Sequence[Task],
    prompts: PromptShape,
    *,
    played: Callable[[], None] = lambda: None,
) -> dict[str, list[EpisodeResult]]:
    """Plays all tasks with all contestants; `played` is called after each episode. Results in the order of tasks."""
    results: dict[str, list[EpisodeResult]] = {contestant.name: [] for contestant in contestants}
    for task in tasks:
        for contestant in contestants:
            result = play(task, contestant.chooser, prompts, reveal=contestant.reveal)
            results[contestant.name].append(result)
            played()
    return results


def rows(results: Mapping[str, Sequence[EpisodeResult]], *, block_episodes: int, cost_weight: float) -> list[Row]:
    """A row for each block of at least one episode and each contestant, block after block."""
    count = max((len(episodes) for episodes in results.values()), default=0)
    return [
        summary(name, episodes[start : start + block_episodes], first_episode=start, cost_weight=cost_weight)
        for start in range(0, count, block_episodes)
        for name, episodes in results.items()
        if episodes[start : start + block_episodes]
    ]


def summary(contestant: str, episodes: Sequence[EpisodeResult], *, first_episode: int, cost_weight: float) -> Row:
    """One row over at least one episode. `cost_weight`: score that one USD is worth."""
    count = len(episodes)
    utilities = [e.score - cost_weight * e.usd for e in episodes]
    after_error = sum(e.turns_after_error for e in episodes)
    return Row(
        contestant=contestant,
        first_episode=first_episode,
        episodes=count,
        score=fmean(e.score for e in episodes),
        usd=fmean(e.usd for e in episodes),
        utility=fmean(utilities),
        utility_half_width=1.96 * stdev(utilities) / math.sqrt(count) if count > 1 else None,
        switches=fmean(e.switches for e in episodes),
        stay_after_error=sum(e.stays_after_error for e in episodes) / after_error if after_error else None,
        forfeited_usd=fmean(e.forfeited_usd for e in episodes),
        turns=fmean(e.turns for e in episodes),
    )
