"""`python -m tests.stacks`: each agent stack's tests with the oldest and the newest supported version of its package.

Makes a throwaway environment for each by uv, and writes what passed to benchmarks/results/stacks.json and to the table
of docs/stacks.md. The oldest version is the lower bound of the stack's extra; the newest is what an installation gets
today. The proxy gets an environment of its own, without the service: their requirements exclude each other. The AI SDK
gets a build of the TypeScript client by npm, which needs node.
Ends with 1 if a test failed.
"""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import typer

from benchmarks.latency import where
from tests.environments import environment, outcomes, version_of
from tests.habits.sources import REPOSITORY
from tests.pages import table, write_between
from tests.stacks import ai_sdk
from tests.stacks.agents_under_test import STACKS
from tests.stacks.test_proxy import PROXY_VARIABLE

RESULT = REPOSITORY / "benchmarks" / "results" / "stacks.json"
PAGE = REPOSITORY / "docs" / "stacks.md"
MARKS = ("<!-- matrix: python -m tests.stacks -->", "<!-- end of matrix -->")
COMMAND = "python -m tests.stacks"
TEST_TOOLS = ("pytest", "pytest-timeout", "hypothesis")
PROXY = "litellm-proxy"


@dataclass(frozen=True)
class Score:
    """How many tests of a stack passed and failed; skipped ones are rules that its package gives no hold for."""

    passed: int
    failed: int
    skipped: int


def requirement(stack: str) -> str:
    """What the extra of a stack asks for, such as "litellm>=1.80"."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    (needed,) = project["optional-dependencies"][stack]
    return str(needed)


def score(python: Path, folder: Path, selection: Sequence[str]) -> Score:
    """Runs some of the tests by an environment's Python."""
    found = Counter(outcomes(python, folder, selection).values())
    return Score(found["passed"], found["failed"], found["skipped"])


def play(stack: str, *, oldest: bool) -> tuple[str, Score]:
    """The version and the score of a stack's oldest or newest package."""
    needed = requirement(stack)
    with TemporaryDirectory() as directory:
        pinned = needed.replace(">=", "==") if oldest else needed
        python = environment(Path(directory) / "venv", "--editable", f".[server,{stack}]", pinned, *TEST_TOOLS)
        found = version_of(python, needed.partition(">=")[0])
        return found, score(python, Path(directory), ["tests/stacks", "-k", stack])


def play_ai_sdk(*, oldest: bool) -> tuple[str, Score]:
    """The version and the score of the oldest or the newest AI SDK with the TypeScript client."""
    with TemporaryDirectory() as directory:
        folder, found = ai_sdk.built(Path(directory), ai_sdk.oldest() if oldest else "latest")
        os.environ[ai_sdk.FOLDER_VARIABLE] = str(folder)
        return found, score(Path(sys.executable), Path(directory), ["tests/stacks", "-k", ai_sdk.STACK])


def play_proxy() -> tuple[str, Score]:
    """The version and the score of LiteLLM's proxy, as `litellm[proxy]` installs it today."""
    with TemporaryDirectory() as directory:
        python = environment(Path(directory) / "venv", "--editable", ".", "litellm[proxy]>=1.80")
        os.environ[PROXY_VARIABLE] = str(python.with_name("litellm"))
        return version_of(python, "litellm"), score(
            Path(sys.executable), Path(directory), ["tests/stacks/test_proxy.py"]
        )


def matrix(scores: dict[str, Any]) -> str:
    """A row a stack and version, in Markdown."""
    rows = [["stack", "version", "passed", "failed", "not applicable", "at commit"]]
    for stack in (*STACKS, PROXY):
        for version, found in scores.get(stack, {}).items():
            rows.append([stack, version, *(str(found[n]) for n in ("passed", "failed", "skipped", "commit"))])
    return table(rows)


def main(
    stack: Annotated[list[str] | None, typer.Option(help="Play this stack alone; may be given again.")] = None,
) -> None:
    """Play the stacks, and write what passed in place of what these stacks had before."""
    wanted = stack or [*STACKS, PROXY]
    if unknown := set(wanted) - {*STACKS, PROXY}:
        raise typer.BadParameter(f"unknown: {', '.join(sorted(unknown))}")
    place, scores = where(COMMAND), {}
    for name in wanted:
        scores[name] = {v: asdict(result) | {"commit": place["commit"]} for v, result in _plays(name)}
    known = json.loads(RESULT.read_text("utf-8")) | scores | place
    RESULT.write_text(json.dumps(known, indent=2) + "\n")
    write_between(PAGE, MARKS, matrix(known), place)
    typer.echo(matrix(scores))
    raise typer.Exit(any(result["failed"] for versions in scores.values() for result in versions.values()))


def _plays(name: str) -> list[tuple[str, Score]]:
    if name == PROXY:
        return [play_proxy()]
    if name == ai_sdk.STACK:
        return [play_ai_sdk(oldest=True), play_ai_sdk(oldest=False)]
    return [play(name, oldest=True), play(name, oldest=False)]


if __name__ == "__main__":
    typer.run(main)
