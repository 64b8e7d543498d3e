"""`sojourn evaluate` on a journal that a router wrote."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.command import open_app, play, run, run_json


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    with open_app(tmp_path) as app:
        for i in range(6):
            play(app.address, f"e{i}", score=i / 6)
    return tmp_path


def test_every_control_stands_beside_the_asked_policy(journal: Path):
    found = run_json("evaluate", "--journal", journal, "--set", "cost_weight=3", "--set", "friction=0")
    names = [policy["name"] for policy in found["evaluations"]]
    assert names[:2] == ["as logged", "as asked"]
    assert {"never-switch:gpt-5", "heuristic", "uniform random", "share-matched random"} <= set(names)
    assert found["episodes"] + sum(found.get("left_out", {}).values()) == 6
    assert all(policy["refused"] for policy in found["evaluations"])  # six episodes judge nobody


def test_the_table_says_why_it_refuses(journal: Path):
    result = run("evaluate", "--journal", journal)
    assert result.exit_code == 0
    assert "REFUSED" in result.stdout
    assert "extrapolation" in result.stdout


def test_episodes_without_known_money_are_counted(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "known")
        play(app.address, "unknown", turn_usd=None)
    found = run_json("evaluate", "--journal", tmp_path)
    assert (found["episodes"], found["without_cost_usd"]) == (2, 1)
    assert "No USD: 1 of the 2 episodes have no known money." in run("evaluate", "--journal", tmp_path).stdout


def test_the_journal_here_is_read_unless_another_place_is_named(journal: Path, monkeypatch: pytest.MonkeyPatch):
    """As the help says."""
    here = journal.rename(journal.with_name("sojourn-data"))
    monkeypatch.chdir(here.parent)
    assert run_json("evaluate") == run_json("evaluate", "--journal", here)
    told = " ".join(run("evaluate", "--help").output.split())
    assert "Without --journal and --address it reads sojourn-data." in told
    assert "unless given" not in told


@pytest.mark.parametrize(
    ("change", "said"), [("frictoin=1", "frictoin"), ("friction=-1", "friction"), ("nonsense", "nonsense")]
)
def test_a_wrong_setting_is_named(journal: Path, change: str, said: str):
    result = run("evaluate", "--journal", journal, "--set", change)
    assert result.exit_code == 2
    assert said in result.stderr


def test_a_journal_without_episodes_and_an_unknown_policy_are_refused(tmp_path: Path):
    with open_app(tmp_path):
        pass
    assert "no episode" in run("evaluate", "--journal", tmp_path).stderr
    unknown = run("evaluate", "--journal", tmp_path, "--policy", "nobody")
    assert (unknown.exit_code, "nobody" in unknown.stderr) == (2, True)
