"""How far a policy falls behind who knows the changed world, and how soon it is back; unit: the seed.

Both play the same tasks with the same luck, so they are compared window by window. Where outcomes meet a fault, the
fault is there from the first episode, and so are the windows. Where callers ask for another cost weight, it values the
episodes before the change as well.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from statistics import fmean, median
from typing import Any

from rich.table import Table

from benchmarks.arena.cache import ROOT
from benchmarks.arena.changes.run import Episode, Job, load
from benchmarks.arena.changes.worlds import CHANGES
from benchmarks.arena.measures import Interval, interval
from benchmarks.latency import where

RESULT = ROOT / "benchmarks" / "results" / "changes.json"
WINDOW, DETECTION_WINDOW, BLOCK = 100, 50, 50  # episodes
RECOVERED_SHARE = 0.9  # of the utility of who knows
DETECTED_SHARE = 0.5  # of the watched model's share of turns where its use is known

Rows = dict[str, dict[str, dict[str, dict[str, Any]]]]


def moving_means(values: Sequence[float], window: int) -> list[float]:
    """Means of all full windows, by the number of episodes at their end: the first is that of `window` episodes."""
    return [fmean(values[end - window : end]) for end in range(window, len(values) + 1)]


def recovery(own: Sequence[float], knowing: Sequence[float], *, window: int = WINDOW) -> int | None:
    """Episodes after the change until a moving mean of utility is within 10 % of the knowing policy's; None if never.

    Windows lie after the change, so the least that it can be is `window`.
    """
    return next((end for end, is_within in _windows(own, knowing, window) if is_within), None)


def lasting_recovery(own: Sequence[float], knowing: Sequence[float], *, window: int = WINDOW) -> int | None:
    """The same until no later window falls behind again; None if the last one is behind."""
    windows = _windows(own, knowing, window)
    behind = [end for end, is_within in windows if not is_within]
    start = behind[-1] + 1 if behind else window
    return start if windows and start <= windows[-1][0] else None


def _windows(own: Sequence[float], knowing: Sequence[float], window: int) -> list[tuple[int, bool]]:
    """Each full window by its end, and whether it is within 10 %."""
    pairs = zip(moving_means(own, window), moving_means(knowing, window), strict=True)
    allowed = 1.0 - RECOVERED_SHARE
    return [(end, u >= k - allowed * abs(k)) for end, (u, k) in enumerate(pairs, start=window)]


def detection(shares: Sequence[float], wanted_share: float, *, window: int = DETECTION_WINDOW) -> int | None:
    """Episodes after the change until a model serves half of the turns that it should; None if never.

    `shares`: of turns, by episode. `wanted_share`: where its use is known; without one (0) there is nothing to detect.
    """
    if wanted_share == 0.0:
        return None
    means = enumerate(moving_means(shares, window), start=window)
    return next((end for end, share in means if share >= DETECTED_SHARE * wanted_share), None)


def rows(jobs: Sequence[Job]) -> Rows:
    """environment -> change -> policy -> figures, of jobs that were played."""
    grouped: dict[tuple[str, str, str], list[Job]] = {}
    for job in jobs:
        grouped.setdefault((job.environment, job.change, job.policy), []).append(job)
    table: Rows = {}
    for (environment, change, policy), same in grouped.items():
        table.setdefault(environment, {}).setdefault(change, {})[policy] = row(same)
    return table


def row(jobs: Sequence[Job]) -> dict[str, Any]:
    """The figures of one policy under one change, over at least one seed; `before` is the last window before it."""
    change = CHANGES[jobs[0].change]
    pairs = [(_affected(load(job), job), _affected(load(job.reference), job)) for job in jobs]
    utilities = [([e.utility for e in own], [e.utility for e in knowing]) for own, knowing in pairs]
    figures: dict[str, Any] = {
        "seeds": [job.seed for job in jobs],
        "before": None if change.fault else rounded(interval([_mean_before(load(job), job) for job in jobs])),
        "after": rounded(interval([fmean(own) for own, _ in utilities])),
        "share_of_knowing_first": rounded(interval([_share(*both, slice(WINDOW)) for both in utilities])),
        "share_of_knowing_last": rounded(interval([_share(*both, slice(-WINDOW, None)) for both in utilities])),
        "recovery_episodes": [recovery(*both) for both in utilities],
        "lasting_recovery_episodes": [lasting_recovery(*both) for both in utilities],
        "blocks": blocks([own for own, _ in utilities]),
        "knowing_blocks": blocks([knowing for _, knowing in utilities]),
    }
    if change.watched:
        figures["detection_episodes"] = [
            detection([e.watched_share for e in own], fmean(e.watched_share for e in knowing)) for own, knowing in pairs
        ]
        figures["watched_share_blocks"] = blocks([[e.watched_share for e in own] for own, _ in pairs])
    return figures


def _affected(episodes: Sequence[Episode], job: Job) -> Sequence[Episode]:
    """Faults act from the first episode, other changes on the last ones."""
    return episodes if CHANGES[job.change].fault else episodes[-job.after :]


def _mean_before(episodes: Sequence[Episode], job: Job) -> float:
    return fmean(e.utility for e in episodes[max(job.before - WINDOW, 0) : job.before])


def _share(own: Sequence[float], knowing: Sequence[float], where: slice) -> float:
    return fmean(own[where]) / fmean(knowing[where])


def blocks(runs: Sequence[Sequence[float]]) -> list[float]:
    """Means over all runs of each block of episodes; an unfinished last block counts as one."""
    starts = range(0, len(runs[0]), BLOCK)
    return [round(fmean(value for run in runs for value in run[start : start + BLOCK]), 4) for start in starts]


def rounded(value: Interval) -> list[float | None]:
    """[mean, half width of the 95 % interval over seeds]."""
    return [round(value.mean, 4), None if value.half_width is None else round(value.half_width, 4)]


_TIMES = ("recovery_episodes", "lasting_recovery_episodes", "detection_episodes")


def printed(environment: str, change: str, policies: Mapping[str, Mapping[str, Any]]) -> Table:
    """One change as a table for a terminal."""
    table = Table(
        "policy", "before", "after", f"first {WINDOW} / knowing", "last / knowing", "back after", "for good",
        "detected",
        title=f"{environment}: {change} (utility; episodes)",
    )  # fmt: skip
    for policy, figures in policies.items():
        keys = ("before", "after", "share_of_knowing_first", "share_of_knowing_last")
        times = (episodes(figures.get(key)) for key in _TIMES)
        table.add_row(policy, *(_cell(figures[key]) for key in keys), *times)
    return table


def _cell(value: Sequence[float | None] | None) -> str:
    if value is None:
        return ""
    mean, half_width = value
    return f"{mean:.3f}" + ("" if half_width is None else f" ± {half_width:.3f}")


def episodes(by_seed: Sequence[int | None] | None) -> str:
    """The median over seeds that got there, and how many did."""
    if by_seed is None:
        return ""
    there = [count for count in by_seed if count is not None]
    return (f"{median(there):g}" if there else "never") + f" ({len(there)}/{len(by_seed)})"


def write(table: Rows, *, before: int, after: int, command: str) -> None:
    """Writes the results file."""
    found = {
        **table,
        "definitions": {
            "recovery_episodes": f"per seed: until a mean over {WINDOW} episodes is {RECOVERED_SHARE:g} of the knowing",
            "lasting_recovery_episodes": "per seed: until no later window is behind again",
            "detection_episodes": f"per seed: until a mean over {DETECTION_WINDOW} episodes of the watched model's "
            f"share of turns is {DETECTED_SHARE:g} of its share under the knowing",
            "blocks": f"mean utility of each {BLOCK} episodes since the change",
            "intervals": "[mean, half width of 95 % over seeds]",
        },
        "episodes_before": before,
        "episodes_after": after,
        **where(command),
    }
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
