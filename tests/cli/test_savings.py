"""`sojourn savings`: the figures of a journal, and a plain sentence."""

from __future__ import annotations

from pathlib import Path

import pytest

from sojourn_server.evaluation.savings import Comparison, Difference, sentence
from tests.cli.command import open_app, play, run, run_json


def compared(score: tuple[float, float], usd: tuple[float, float]) -> Comparison:
    return Comparison(
        control="heuristic",
        learned_episodes=900,
        control_episodes=100,
        learned_missing=0,
        control_missing=0,
        learned_without_usd=0,
        control_without_usd=0,
        score=Difference(sum(score) / 2, *score, 1000),
        score_bounds=(0.0, 0.0),
        usd=Difference(sum(usd) / 2, *usd, 1000),
        control_usd=0.4,
    )


@pytest.mark.parametrize(
    ("score", "usd", "said"),
    [
        ((-0.1, 0.1), (-0.1, 0.1), "the data cannot tell yet"),
        ((-0.1, 0.1), (-0.3, -0.1), "saves 50 % of the money; no difference in score shows"),
        ((0.01, 0.1), (-0.3, -0.1), "saves 50 % of the money; scores higher"),
        ((-0.2, -0.1), (-0.3, -0.1), "saves 50 % of the money; scores lower"),
        ((0.01, 0.1), (0.1, 0.2), "costs more; scores higher"),
        ((0.01, 0.1), (-0.1, 0.1), "costs about the same; scores higher"),
    ],
)
def test_the_sentence_says_what_the_intervals_allow(score: tuple[float, float], usd: tuple[float, float], said: str):
    assert said in sentence(compared(score, usd))


def test_nothing_in_common_is_said_so():
    assert "nothing can be said" in sentence(compared((0, 0), (0, 0))._replace(score=None))


def test_a_few_episodes_cannot_tell(tmp_path: Path):
    with open_app(tmp_path) as app:
        for i in range(5):
            play(app.address, f"e{i}")
    found = run_json("savings", "--journal", tmp_path)
    assert "Infinity" not in run("savings", "--journal", tmp_path, "--json").stdout
    assert [comparison["control"] for comparison in found] == ["heuristic", "never-switch"]
    assert all("cannot tell" in c["says"] or "nothing can be said" in c["says"] for c in found)
    result = run("savings", "--journal", tmp_path)
    assert (result.exit_code, "heuristic" in result.stdout) == (0, True)


def test_episodes_without_known_money_are_counted(tmp_path: Path):
    with open_app(tmp_path) as app:
        for i in range(5):
            play(app.address, f"e{i}", turn_usd=0.01 if i else None)
    found = run_json("savings", "--journal", tmp_path)
    assert found[0]["learned_without_usd"] + sum(c["control_without_usd"] for c in found) == 1
    assert "without USD" in run("savings", "--journal", tmp_path).stdout


def test_a_journal_without_episodes_says_what_to_do(tmp_path: Path):
    with open_app(tmp_path):
        pass
    result = run("savings", "--journal", tmp_path)
    assert (result.exit_code, "LIVE" in result.stderr) == (2, True)
