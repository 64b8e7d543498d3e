"""`python -m tests.scenarios`: the clients of all languages against the same scenarios, and a table of what passed.

Builds each client's runner, starts the routers, plays the scenarios and writes benchmarks/results/clients.json and the
table of docs/clients.md. Ends with 1 if a scenario failed, with 2 if a language could not be played at all.
"""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.latency import where
from tests.pages import table, write_between
from tests.scenarios.languages import LANGUAGES, REPOSITORY, BuildFailed, Language
from tests.scenarios.player import BrokenRunner, Performance, Runner
from tests.scenarios.scenario import SMOKE, Scenario, read_scenarios
from tests.scenarios.stage import Stage, built_stage

RESULT = REPOSITORY / "benchmarks" / "results" / "clients.json"
PAGE = REPOSITORY / "docs" / "clients.md"
MARKS = ("<!-- matrix: python -m tests.scenarios -->", "<!-- end of matrix -->")


@dataclass(frozen=True)
class Score:
    """What one language came to. `failures` has the names of failed scenarios; times are in seconds."""

    scenarios: int
    passed: int
    failed: int
    failures: tuple[str, ...]
    build_s: float
    play_s: float


def play(language: Language, scenario: Scenario, stage: Stage) -> list[str]:
    """What one scenario, played by a runner of its own, did not do as expected."""
    try:
        with Runner(language.run, language.folder) as runner:
            return Performance(stage, runner, scenario, language.name).play()
    except BrokenRunner as error:
        return [f"{scenario.name}: {error}"]


def score(language: Language, scenarios: Sequence[Scenario], stage: Stage) -> Score:
    """Builds and plays one language. Raises BuildFailed."""
    began = time.monotonic()
    language.make()
    built = time.monotonic()
    failures = []
    for scenario in scenarios:
        unmet = play(language, scenario, stage)
        failures += [scenario.name] if unmet else []
        for line in unmet:
            typer.echo(f"  {language.title}: {line}", err=True)
    passed = len(scenarios) - len(failures)
    times = (round(built - began, 1), round(time.monotonic() - built, 1))
    return Score(len(scenarios), passed, len(failures), tuple(failures), *times)


def matrix(scores: dict[str, dict[str, Any]], scenarios: Sequence[Scenario]) -> str:
    """A row a scenario, a column a language, in Markdown."""
    names = [name for name in LANGUAGES if name in scores]
    rows = [["scenario", *(LANGUAGES[name].title for name in names)]]
    for scenario in scenarios:
        marks = ["failed" if scenario.name in scores[name]["failures"] else "yes" for name in names]
        rows.append([scenario.rule, *marks])
    rows.append(["**passed**", *(f"{scores[n]['passed']} of {scores[n]['scenarios']}" for n in names)])
    return table(rows)


def main(
    language: Annotated[list[str] | None, typer.Option(help="Play this language alone; may be given again.")] = None,
    scenario: Annotated[list[str] | None, typer.Option(help="Play this scenario alone; may be given again.")] = None,
    smoke: Annotated[bool, typer.Option(help="Play one scenario per language.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print the scores as JSON.")] = False,
) -> None:
    """Play the scenarios in every language; a full run of all of them writes the result and the table."""
    names = [n for n in LANGUAGES if n in (language or LANGUAGES)]
    wanted = [SMOKE] if smoke else scenario
    scenarios = [s for s in read_scenarios() if s.name in (wanted or {s.name})]
    if unknown := {*(language or ()), *(wanted or ())} - {*LANGUAGES, *(s.name for s in scenarios)}:
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}")
    scores, unplayed = _scores(names, scenarios)
    if as_json:
        typer.echo(json.dumps(scores, indent=2))
    else:
        typer.echo(matrix(scores, scenarios))
    if names == list(LANGUAGES) and not wanted and not unplayed:
        place = where("python -m tests.scenarios")
        RESULT.write_text(json.dumps(scores | place, indent=2) + "\n")
        write_between(PAGE, MARKS, matrix(scores, scenarios), place)
    raise typer.Exit(2 if unplayed else any(s["failed"] for s in scores.values()))


def _scores(names: Sequence[str], scenarios: Sequence[Scenario]) -> tuple[dict[str, dict[str, Any]], list[str]]:
    """Scores by language, and the languages that could not be played."""
    scores, unplayed = {}, []
    with TemporaryDirectory() as directory, built_stage(Path(directory)) as stage:
        for name in names:
            language = LANGUAGES[name]
            try:
                if missing := language.prepare():
                    raise BuildFailed(f"not on this machine: {', '.join(missing)}")
                scores[name] = asdict(score(language, scenarios, stage))
            except BuildFailed as error:
                typer.echo(f"  {language.title} was not played: {error}", err=True)
                unplayed.append(name)
    return scores, unplayed


if __name__ == "__main__":
    typer.run(main)
