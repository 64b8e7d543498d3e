from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.cli.command import open_app, play, run, run_json


def test_a_journal_replays_to_its_snapshot_bit_for_bit(played: Path):
    result = run_json("replay", "--journal", played)
    assert result["same"]
    assert result["max_abs_difference"] == 0.0
    assert result["episodes"] == 5
    assert result["predictions"] > 100
    assert "the same, bit for bit" in run("replay", "--journal", played).output


def test_every_stored_version_replays(played: Path):
    """Version 0, the prior, too."""
    versions = sorted(int(p.stem) for p in played.glob("snapshots/*/*.snapshot"))
    assert versions[0] == 0
    assert [run_json("replay", "--journal", played, "--version", v)["version"] for v in versions] == versions


def test_it_runs_beside_the_router(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "e")
        assert run("replay", "--journal", tmp_path).exit_code == 0


def test_a_snapshot_that_learned_something_else_is_found(played: Path, tmp_path: Path):
    """The same positions with other scores: the snapshots of one journal do not fit the other."""
    with open_app(tmp_path) as app:
        for i in range(5):
            play(app.address, f"e{i}", score=1.0 - i / 4)
    shutil.rmtree(tmp_path / "snapshots")
    shutil.copytree(played / "snapshots", tmp_path / "snapshots")
    result = run_json("replay", "--journal", tmp_path, exit_code=1)
    assert not result["same"]
    assert result["max_abs_difference"] > 0
    assert "DIFFERENT" in run("replay", "--journal", tmp_path).output


@pytest.fixture
def damaged(played: Path, tmp_path: Path) -> Path:
    """A copy whose newest snapshot has one bit flipped."""
    copy = tmp_path / "copy"
    shutil.copytree(played, copy)
    newest = max(copy.glob("snapshots/*/*.snapshot"))
    data = bytearray(newest.read_bytes())
    data[-1] ^= 1
    newest.write_bytes(data)
    return copy


def test_a_damaged_snapshot_is_said(damaged: Path):
    result = run("replay", "--journal", damaged)
    assert result.exit_code == 2
    assert "SHA-256" in result.stderr


@pytest.mark.parametrize(
    ("options", "said"),
    [(["--version", "1"], "no snapshot of version 1"), (["--policy", "none"], "policy 'none' has no snapshot")],
    ids=str,
)
def test_nothing_to_compare_with_is_said(played: Path, options: list[str], said: str):
    result = run("replay", "--journal", played, *options)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_missing_journal_is_said(tmp_path: Path):
    assert "cannot read the journal" in run("replay", "--journal", tmp_path).stderr
