"""`python -m benchmarks.arena.changes`: plays worlds that change, prints who is back how soon, writes the results.

What was played already with the same code is not played again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from benchmarks.arena.cache import ROOT
from benchmarks.arena.changes import report
from benchmarks.arena.changes.run import Job, play_all
from benchmarks.arena.changes.worlds import CHANGES
from benchmarks.arena.environments import HELD_OUT_SEEDS, TUNING_SEEDS, environments
from benchmarks.arena.progress import progress_bar

POLICIES = ("sojourn-warm", "sojourn-cold", "heuristic", "per-turn", "linucb-turn", "mtrouter-like")
UNTAUGHT = ("heuristic", "mtrouter-like")  # outcomes are nothing to them, and so are faults of outcomes
FLOORS = tuple(f"sojourn-warm?floor={floor}" for floor in ("0.0", "0.003", "0.01"))
"""The default floor, .001, is plain "sojourn-warm"; these show how the time of detection depends on it."""


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arena.changes", description=__doc__)
    names = [environment.name for environment in environments()]
    parser.add_argument("--environments", nargs="+", default=names, choices=names, metavar="NAME")
    parser.add_argument(
        "--changes", nargs="+", default=list(CHANGES), choices=CHANGES, metavar="NAME", help=", ".join(CHANGES)
    )
    parser.add_argument("--policies", nargs="+", metavar="NAME", help=f"default: {', '.join(POLICIES)}, and floors")
    parser.add_argument("--seeds", type=int, default=3, help="how many held-out seeds (default 3)")
    parser.add_argument("--episodes-before", type=int, default=400)
    parser.add_argument("--episodes-after", type=int, default=400)
    parser.add_argument("--tuning", action="store_true", help="play tuning seeds instead; writes no file")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def policies(change: str) -> list[str]:
    """Who plays a change by default."""
    if CHANGES[change].is_asked:
        return [policy for policy in POLICIES if policy.startswith("sojourn")]
    if CHANGES[change].fault:
        return [policy for policy in POLICIES if policy not in UNTAUGHT]
    return [*POLICIES, *(FLOORS if change == "improves" else ())]


def main() -> None:
    """Plays and reports."""
    given = options()
    seeds = (TUNING_SEEDS if given.tuning else HELD_OUT_SEEDS)[: given.seeds]
    jobs = [
        Job(environment, change, policy, seed, given.episodes_before, given.episodes_after)
        for environment in given.environments
        for change in given.changes
        for policy in given.policies or policies(change)
        for seed in seeds
    ]
    with progress_bar() as told:
        play_all(jobs, processes=given.processes, played=told)
    table = report.rows(jobs)
    for environment, changes in table.items():
        for change, figures in changes.items():
            Console().print(report.printed(environment, change, figures))
    if not given.tuning:
        command = "python -m benchmarks.arena.changes " + " ".join(sys.argv[1:])
        report.write(table, before=given.episodes_before, after=given.episodes_after, command=command.strip())
        print(f"written: {report.RESULT.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
