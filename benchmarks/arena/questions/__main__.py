"""`python -m benchmarks.arena.questions staying`: plays, prints the answer, writes it and its curves.

Jobs are the arena's own (`run.py`): what was played already with the same code is not played again, so a run that was
stopped goes on where it was, and questions share contestants.
"""

from __future__ import annotations

import argparse
import os
import sys

from rich.console import Console

from benchmarks.arena.environments import HELD_OUT_SEEDS, TUNING_SEEDS
from benchmarks.arena.progress import progress_bar
from benchmarks.arena.questions import report
from benchmarks.arena.questions.answers import answers
from benchmarks.arena.questions.catalogue import QUESTIONS, asked, players
from benchmarks.arena.report import relative
from benchmarks.arena.run import Job, play_all


def options() -> argparse.Namespace:
    """The command line."""
    listed = "; ".join(f"{name}: {question.asks}" for name, question in QUESTIONS.items())
    parser = argparse.ArgumentParser(prog="python -m benchmarks.arena.questions", description=__doc__, epilog=listed)
    parser.add_argument("questions", nargs="+", choices=QUESTIONS, metavar="QUESTION", help=", ".join(QUESTIONS))
    parser.add_argument("--environments", nargs="+", metavar="NAME", help="default: the question's own")
    parser.add_argument("--seeds", type=int, default=10, help="how many held-out seeds (default 10)")
    parser.add_argument("--episodes", type=int, default=2_000, help="episodes per seed (default 2000)")
    parser.add_argument("--tail", type=int, help="episodes that are summed up (default: the last quarter)")
    parser.add_argument("--tuning", action="store_true", help="play tuning seeds instead; writes no files")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> None:
    """Plays and reports, one question after the other."""
    given = options()
    seeds = (TUNING_SEEDS if given.tuning else HELD_OUT_SEEDS)[: given.seeds]
    tail = given.tail or max(given.episodes // 4, 1)
    command = "python -m benchmarks.arena.questions " + " ".join(sys.argv[1:])
    for question in given.questions:
        jobs = [
            Job(environment, policy, seed, given.episodes)
            for environment in given.environments or QUESTIONS[question].environments
            for policy in players(asked(question, environment))
            for seed in seeds
        ]
        _play(question, jobs, given.processes)
        found = answers(question, jobs, tail=tail)
        for table in report.printed(question, found):
            Console(width=190).print(table)
        if not given.tuning:
            report.write(question, found, command=command, episodes=given.episodes, tail=tail, seeds=list(seeds))
            print(f"written: {relative(report.RESULT)}")


def _play(question: str, jobs: list[Job], processes: int) -> None:
    with progress_bar(question) as told:
        play_all(jobs, processes=processes, played=told)


if __name__ == "__main__":
    main()
