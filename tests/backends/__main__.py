"""`python -m tests.backends`: an agent's traces in real tracing backends, and a table of what holds in each.

Installs the newest of each backend from its registry into an environment of its own, starts it, a router and an agent,
reads the traces back through its API, and writes benchmarks/results/backends.json, the table of docs/tracing.md and the
pictures of its pages. Ends with 1 if something does not hold, with 2 if a backend could not be had.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.latency import where
from tests.backends.backends import BACKENDS, FOLDER_VARIABLE, PICTURES_VARIABLE
from tests.environments import Outcome, environment, outcomes
from tests.habits.sources import REPOSITORY
from tests.packages import NoProgram
from tests.pages import table, write_between

RESULT = REPOSITORY / "benchmarks" / "results" / "backends.json"
PAGE = REPOSITORY / "docs" / "tracing.md"
PICTURES = REPOSITORY / "docs" / "images"
MARKS = ("<!-- matrix: python -m tests.backends -->", "<!-- end of matrix -->")
COMMAND = "python -m tests.backends"
WORDS: Mapping[Outcome, str] = {"passed": "yes", "failed": "**no**", "skipped": "n/a"}


def play(name: str, folder: Path) -> dict[str, Any]:
    """The version of a backend and what came of each law. Raises NoProgram, CalledProcessError."""
    kind = BACKENDS[name]
    python = environment(folder / name, "--editable", ".", *kind.requirements)
    version = kind.version(python)
    variables = os.environ | {FOLDER_VARIABLE: str(folder), PICTURES_VARIABLE: str(PICTURES)}
    found = outcomes(Path(sys.executable), folder, ["tests/backends/test_laws.py", "-k", name], variables)
    laws = {test.partition("::test_")[2].removesuffix(f"[{name}]"): outcome for test, outcome in found.items()}
    count = Counter(laws.values())
    return {"version": version, "passed": count["passed"], "failed": count["failed"], "laws": laws}


def matrix(plays: Mapping[str, Any]) -> str:
    """A row a law, a column a backend, in Markdown."""
    head = ["what holds", *(f"{name} {play['version']}" for name, play in plays.items())]
    laws = dict.fromkeys(law for play in plays.values() for law in play["laws"])
    rows = ([law.replace("_", " "), *(WORDS[play["laws"][law]] for play in plays.values())] for law in laws)
    return table([head, *rows])


def main(
    backend: Annotated[list[str] | None, typer.Option(help="Play this backend alone; may be given again.")] = None,
) -> None:
    """Play the backends; a run of all of them writes the result and the table."""
    wanted = backend or [*BACKENDS]
    if unknown := set(wanted) - BACKENDS.keys():
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}")
    PICTURES.mkdir(exist_ok=True)
    plays: dict[str, Any] = {}
    for name in wanted:
        with TemporaryDirectory() as folder:
            try:
                plays[name] = play(name, Path(folder))
            except (NoProgram, subprocess.SubprocessError) as error:
                typer.echo(f"  {name} was not played: {error}", err=True)
    typer.echo(matrix(plays))
    unplayed = set(wanted) - plays.keys()
    if not backend and not unplayed:
        place = where(COMMAND)
        RESULT.write_text(json.dumps(plays | place, indent=2) + "\n")
        write_between(PAGE, MARKS, matrix(plays), place)
    raise typer.Exit(2 if unplayed else any(play["failed"] for play in plays.values()))


if __name__ == "__main__":
    typer.run(main)
