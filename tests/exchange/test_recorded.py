"""The maps in docs/import fit the recorded episodes that they were written for."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import run, run_json

MAPS = Path(__file__).resolve().parents[2] / "docs" / "import"

pytestmark = pytest.mark.recorded


@pytest.mark.parametrize(("name", "episodes", "turns"), [("medagentbench", 400, 836), ("tau2_turns", 1008, 12_833)])
def test_every_recorded_row_is_taken(recorded: Path, name: str, episodes: int, turns: int):
    summary = run_json("import", recorded / name, "--map", MAPS / f"{name}.toml", "--dry-run")
    assert (summary["episodes"], summary["turns"], summary["rejected"]) == (episodes, turns, [])


def test_recorded_episodes_enter_a_journal_once(recorded: Path, tmp_path: Path):
    command = ("import", recorded / "medagentbench", "--map", MAPS / "medagentbench.toml", "--journal", tmp_path)
    assert run_json(*command)["episodes"] == 400
    assert run_json(*command)["episodes_already_there"] == 400
    assert "gpt-4o (imported)" in run("show", "episode", "medagentbench/97/gpt-4o", "--journal", tmp_path).output
