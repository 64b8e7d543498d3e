"""What the README shows works: its first decision runs, its commands exist, its links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from sojourn_server.app import App
from sojourn_server.cli.program import program

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
MAX_LINES = 170
FIRST_DECISION_BY_LINE = 35


def test_the_first_decision_stands_near_the_top_and_runs(server: App, capsys: pytest.CaptureFixture[str]):
    lines = README.splitlines()
    code = [line[4:] for line in lines if line.startswith((">>> ", "... "))]
    printed = lines[max(i for i, line in enumerate(lines) if line.startswith("... ")) + 1]
    assert lines.index(printed) < FIRST_DECISION_BY_LINE
    patient = f'{server.address}", decide_deadline_ms=10_000.0'  # a loaded machine needs more than 50 ms to connect
    exec("\n".join(code).replace('127.0.0.1:50051"', patient), {})
    model, reason = capsys.readouterr().out.split()[-2:]
    assert reason == printed.split()[1] == "FIRST_TURN"
    assert model in server.router.world.registry.models


@pytest.mark.parametrize("command", sorted(set(re.findall(r"^\$ sojourn ([a-z-]+)", README, re.MULTILINE))))
def test_each_command_shown_exists(command: str):
    assert CliRunner().invoke(program(), [command, "--help"]).exit_code == 0


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)#:]+)\)", README))))
def test_each_link_leads_somewhere(target: str):
    assert (ROOT / target).exists()


def test_the_readme_stays_short():
    assert len(README.splitlines()) <= MAX_LINES
