"""`python -m benchmarks.arena`: plays the arena, prints the table, writes results, plots and page.

What was played already with the same code is not played again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from benchmarks.arena import report
from benchmarks.arena.contestants import contestants
from benchmarks.arena.environments import HELD_OUT_SEEDS, TUNING_SEEDS, by_name, environments
from benchmarks.arena.goals import is_compared
from benchmarks.arena.progress import progress_bar
from benchmarks.arena.run import Job, play_all

README_ROWS = (
    "sojourn-warm", "sojourn-cold", "sojourn-free", "heuristic", "random", "random-matched", "sojourns-matched",
    "transplanted", "escalation", "escalation-hysteresis", "mtrouter-rules", "per-turn", "linucb-turn",
    "linucb-episode", "knn-episode", "paretobandit", "router-r1-like", "mtrouter-like", "hand-table", "phase-oracle",
)  # fmt: skip


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arena", description=__doc__)
    known = [environment.name for environment in environments()]
    usual = [name for name in known if name.startswith("babyai")]
    parser.add_argument(
        "--environments", nargs="+", default=usual, choices=known, metavar="NAME", help=", ".join(known)
    )
    parser.add_argument("--policies", nargs="+", metavar="NAME", help="default: all but slow duplicates")
    parser.add_argument("--seeds", type=int, default=3, help="how many held-out seeds (default 3)")
    parser.add_argument("--control-seeds", type=int, help="of them, for rows that no goal compares (default: all)")
    parser.add_argument("--episodes", type=int, default=600, help="episodes per seed (default 600)")
    parser.add_argument("--tail", type=int, help="episodes that rows sum up (default: the last quarter)")
    parser.add_argument("--tuning", action="store_true", help="play tuning seeds instead; writes no files")
    parser.add_argument("--no-files", action="store_true", help="print only")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> None:
    """Plays and reports."""
    given = options()
    seeds = (TUNING_SEEDS if given.tuning else HELD_OUT_SEEDS)[: given.seeds]
    controls = seeds[: given.control_seeds]
    jobs = [
        Job(environment, policy, seed, given.episodes)
        for environment in given.environments
        for policy in given.policies or _default_policies(environment)
        for seed in (seeds if is_compared(policy, by_name(environment)) else controls)
    ]
    with progress_bar() as told:
        play_all(jobs, processes=given.processes, played=told)
    tail = given.tail or max(given.episodes // 4, 1)
    table = report.rows(jobs, tail=tail)
    for environment, policies in table.items():
        Console(width=150).print(report.printed(environment, policies))
    if not (given.tuning or given.no_files):
        command = "python -m benchmarks.arena " + " ".join(sys.argv[1:])
        report.write(report.results(table, episodes=given.episodes, tail=tail, command=command.strip()), table)
        print(f"written: {report.relative(report.RESULT)}, {report.relative(report.INDEX)}")


def _default_policies(environment: str) -> list[str]:
    singles = [name for name in contestants(by_name(environment)) if name.startswith("never-switch:")]
    return [*README_ROWS, *singles]


if __name__ == "__main__":
    main()
