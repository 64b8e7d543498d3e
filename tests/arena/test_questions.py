"""Questions of the arena: who plays exists, gains are paired by seed, answers stand beside each other in one file."""

from __future__ import annotations

import json
from pathlib import Path
from statistics import fmean

import pytest

from benchmarks.arena.ablations import COST_WEIGHTS, cost_weight_of
from benchmarks.arena.contestants import entry
from benchmarks.arena.environments import TUNING_SEEDS, by_name
from benchmarks.arena.questions import report
from benchmarks.arena.questions.answers import Runs, answer
from benchmarks.arena.questions.catalogue import QUESTIONS, Between, Line, asked, players, usual_usd
from sojourn_server.demo.play import EpisodeResult, Task

SMALL = by_name("babyai-small")
TASKS = SMALL.tasks(120, seed=TUNING_SEEDS[0])


def _episode(task: Task, score: float, usd: float = 0.1) -> EpisodeResult:
    return EpisodeResult(
        task=task,
        score=score,
        served=("a", "b", "b", "a"),
        tool_types=("search",) * 4,
        erred=(False, True, False, False),
        usd=usd,
        forfeited_usd=0.0,
    )


def _runs(**scores: tuple[float, ...]) -> Runs:
    """Episodes of each policy, the same score on all tasks of a seed."""
    return {name: [[_episode(task, score) for task in TASKS] for score in by_seed] for name, by_seed in scores.items()}


@pytest.mark.parametrize("name", QUESTIONS)
def test_who_is_asked_about_can_play_and_each_line_has_its_own_label(name: str):
    for environment in QUESTIONS[name].environments:
        lines = asked(name, environment)
        for policy in players(lines):
            entry(by_name(environment), policy)
        labels = [line.label for line in lines]
        assert len(labels) == len(set(labels))


def test_a_gain_is_paired_by_seed_and_corrected_among_its_neighbours():
    lines = [Line("a"), Line("b", against="a"), Line("c", against="a")]
    found = answer(lines, _runs(a=(0.2, 0.6, 0.4), b=(0.31, 0.7, 0.52), c=(0.3, 0.5, 0.42)))
    none, better, unclear = found
    assert none.gain is None
    assert none.p is None
    assert better.gain is not None
    assert better.gain.mean == pytest.approx(0.11)
    assert better.gain.half_width is not None
    assert better.gain.half_width < 0.03, "seeds differ much more than policies do"
    assert better.p is not None
    assert unclear.p is not None
    assert better.p < 0.05 < unclear.p
    assert better.worst_seed_utility == pytest.approx(0.31 - 0.1)


def test_a_share_says_how_far_between_two_policies():
    line = Line("mid", between=Between("low", "high"))
    (found,) = answer([line], _runs(low=(0.2, 0.4), mid=(0.5, 0.7), high=(0.6, 0.8)))
    assert found.share is not None
    assert found.share == pytest.approx((0.75, 0.0))
    (same,) = answer([line], _runs(low=(0.2, 0.4), mid=(0.5, 0.7), high=(0.2, 0.4)))
    assert same.share is None


def test_a_share_is_surer_the_more_seeds_agree_and_bears_a_seed_without_a_gap():
    line = Line("mid", between=Between("low", "high"))
    widths = []
    for off in (0.01, 0.1):
        (found,) = answer([line], _runs(low=(0.2, 0.4, 0.5), mid=(0.4 + off, 0.6 - off, 0.5), high=(0.6, 0.8, 0.5)))
        assert found.share is not None
        assert found.share.mean == pytest.approx(0.5)
        assert found.share.half_width is not None
        widths.append(found.share.half_width)
    assert widths[1] == pytest.approx(10 * widths[0])


def test_a_line_of_one_drawn_weight_counts_its_episodes_alone_and_so_does_its_rival():
    weight = COST_WEIGHTS[2]
    mixed = [[_episode(task, 0.9 if cost_weight_of(task) == weight else 0.1) for task in TASKS]]
    runs: Runs = {"mixed": mixed, **_runs(alone=(0.5,))}
    line = Line("mixed", against="alone", cost_weight=weight, drawn_weight=True)
    (found,) = answer([line], runs)
    assert found.values["score"].mean == pytest.approx(0.9)
    assert found.values["utility"].mean == pytest.approx(0.9 - weight * 0.1)
    assert found.gain is not None
    assert found.gain.mean == pytest.approx(0.4)
    with pytest.raises(ValueError, match="no episode drew"):
        answer([line._replace(cost_weight=17.0)], runs)


def test_switches_are_also_counted_by_turns():
    (found,) = answer([Line("a")], _runs(a=(1.0,)))
    assert found.values["switches_per_25_turns"].mean == pytest.approx(25 * 2 / 4)
    assert found.values["usd_p95"].mean == pytest.approx(0.1)


def test_an_answer_is_written_beside_others_and_drawn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(report, "RESULT", tmp_path / "answers.json")
    folder = tmp_path / "plots"
    monkeypatch.setattr(report, "PLOTS", folder)
    for name in ("weights", "prompts", "errors"):
        lines = {environment: asked(name, environment) for environment in QUESTIONS[name].environments[:2]}
        found = {e: answer(of, _runs(**dict.fromkeys(players(of), (0.4, 0.5)))) for e, of in lines.items()}
        report.write(name, found, command="test", episodes=120, tail=120, seeds=[1, 2])
        counts = [len(of) for of in lines.values()]
        assert [table.row_count for table in report.printed(name, found)] == ([2] if name == "prompts" else counts)
    written = json.loads(report.RESULT.read_text())
    assert set(written) == {"weights", "prompts", "errors"}
    row = written["errors"]["environments"]["babyai-small"]["escalation"]
    assert row["gain"]["over"] == "random-matched:escalation"
    assert row["utility"] == pytest.approx(fmean((0.3, 0.4)))
    assert {"machine", "commit", "command", "date", "seeds", "tail"} <= set(written["errors"])
    assert {path.name for path in folder.iterdir()} == {
        "babyai-small-weights.svg",
        "babyai-large-weights.svg",
        "prompts.svg",
    }


def test_an_episode_of_the_strongest_costs_what_it_costs():
    small, large = usual_usd(SMALL), usual_usd(by_name("babyai-large"))
    assert 0.1 < small < 0.3
    assert large > 1.5 * small
