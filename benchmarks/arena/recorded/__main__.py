"""`python -m benchmarks.arena.recorded`: real LLM outcomes, one choice an episode; writes results, plots and a page.

ParetoBandit's prompts come with its PyPI wheel; further recordings are read from a directory. What was played already
by the same code on the same data is not played again, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from rich.console import Console

from benchmarks.arena.environments import HELD_OUT_SEEDS, TUNING_SEEDS
from benchmarks.arena.progress import progress_bar
from benchmarks.arena.recorded import report
from benchmarks.arena.recorded.contests import Contest, contests
from benchmarks.arena.recorded.run import play_all
from benchmarks.arena.report import relative

EPILOG = """\
Recordings: each sub-folder of --recorded (or SOJOURN_RECORDED_DIR) holds the two files that docs/import/README.md
describes and a map.toml, unless docs/import has a map of the folder's name. To try your own trajectories:

  $ ls runs/mine
  episodes.csv  map.toml  turns.csv
  $ python -m benchmarks.arena.recorded --recorded runs --only mine --no-files

Tasks that several models have played from their beginning are comparable. In the map's episode_id, name the columns of
the task, of the model, and of the repeat ("trial") if there are repeats.
"""
RECORDED_VARIABLE = "SOJOURN_RECORDED_DIR"


def options() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.arena.recorded",
        description=__doc__,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    given = os.environ.get(RECORDED_VARIABLE)
    parser.add_argument("--recorded", metavar="DIR", type=Path, default=Path(given) if given else None)
    parser.add_argument("--only", metavar="TEXT", default="", help="play only sections whose title contains this")
    parser.add_argument("--seeds", type=int, default=10, help="how many orders (default 10)")
    parser.add_argument("--tuning", action="store_true", help="play orders that are for choosing; writes no files")
    parser.add_argument("--no-files", action="store_true", help="print only")
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    return parser.parse_args()


def main() -> None:
    """Plays and reports."""
    given = options()
    seeds = (TUNING_SEEDS if given.tuning else HELD_OUT_SEEDS)[: given.seeds]
    if given.recorded is None:
        print(f"SKIPPED: recorded episodes: neither --recorded DIR nor {RECORDED_VARIABLE}", file=sys.stderr)
    sections = [contest for contest in contests(seeds, given.recorded) if given.only in contest.title]
    _play(sections, given.processes)
    shown = "" if given.recorded is None else " --recorded DIR"  # a path says nothing elsewhere
    command = f"python -m benchmarks.arena.recorded{shown} --seeds {given.seeds}"
    found = report.results(sections, command=command)
    for title in found["contests"]:
        report.show(found, title, Console(width=160))
    if not (given.tuning or given.no_files or given.only):
        report.write(found)
        print("written: " + ", ".join(map(relative, (report.RESULT, report.PAGE))))


def _play(sections: list[Contest], processes: int) -> None:
    jobs = [job for contest in sections for job in contest.all_jobs()]
    with progress_bar() as told:
        play_all(jobs, processes=processes, played=told)


if __name__ == "__main__":
    main()
