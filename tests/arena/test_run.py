"""Jobs of the arena: kept whole, not played twice, made from donors; and what the report says of them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.arena import cache, report
from benchmarks.arena.contestants import contestants, entry
from benchmarks.arena.environments import HELD_OUT_SEEDS, TUNING_SEEDS, by_name
from benchmarks.arena.policies.placebos import MatchedRandom
from benchmarks.arena.run import Job, load, play, play_all
from benchmarks.arena.sojourn import Sojourn
from benchmarks.arena.tables import COST_WEIGHT

ENVIRONMENT = "babyai-small"
SEED = TUNING_SEEDS[0]


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
    cache.folder.cache_clear()
    yield tmp_path
    cache.folder.cache_clear()


def test_what_was_played_is_read_back_as_it_was():
    environment, job = by_name(ENVIRONMENT), Job(ENVIRONMENT, "random", SEED, 3)
    play(job)
    chooser = entry(environment, "random").make(environment, SEED, ())
    again = [environment.play(task, chooser) for task in environment.tasks(3, seed=SEED)]
    assert load(job).episodes == again
    assert load(job).decide_seconds > 0


def test_a_job_is_played_once_and_donors_first(folder: Path):
    jobs = [Job(ENVIRONMENT, "random-matched", SEED, 2), Job(ENVIRONMENT, "random", SEED, 2)]
    steps = list[tuple[int, int]]()
    play_all(jobs, processes=1, played=lambda done, of: steps.append((done, of)))
    assert steps == [(1, 3), (2, 3), (3, 3)]
    assert {file.stem for file in folder.rglob("*.json")} >= {f"sojourn-warm-{SEED}-2", f"random-matched-{SEED}-2"}
    steps.clear()
    play_all(jobs, processes=1, played=lambda done, of: steps.append((done, of)))
    assert steps == []


def test_a_placebo_on_held_out_seeds_is_made_from_another_held_out_seed():
    donor = Job(ENVIRONMENT, "transplanted", HELD_OUT_SEEDS[0], 5).donor
    assert donor == Job(ENVIRONMENT, "sojourn-warm", HELD_OUT_SEEDS[1], 5)
    assert Job(ENVIRONMENT, "heuristic", SEED, 5).donor is None


def test_the_two_sides_share_no_seed_and_no_task():
    assert not set(TUNING_SEEDS) & set(HELD_OUT_SEEDS)
    environment = by_name(ENVIRONMENT)
    one, other = (environment.tasks(300, seed=seeds[0]) for seeds in (TUNING_SEEDS, HELD_OUT_SEEDS))
    assert not {(t.level.name, t.level_seed) for t in one} & {(t.level.name, t.level_seed) for t in other}


def test_settings_in_a_name_reach_the_policy():
    environment = by_name(ENVIRONMENT)
    chooser = entry(environment, "sojourn-cold?prior_width=0.5&lesson.vw_options=-l 0.2").make(environment, SEED, ())
    assert isinstance(chooser, Sojourn)
    settings = chooser.fold.state.settings
    assert (settings.choice.prior_width, settings.lesson.vw_options, settings.lesson.prior.events) == (0.5, "-l 0.2", 0)
    with pytest.raises(ValueError, match="prior_widt"):
        entry(environment, "sojourn-cold?prior_widt=5").make(environment, SEED, ())
    with pytest.raises(KeyError):
        entry(environment, "nobody")


def test_every_contestant_without_a_donor_plays():
    environment = by_name(ENVIRONMENT)
    (task,) = environment.tasks(1, seed=SEED)
    slow = {"hand-table", "phase-oracle", "mtrouter-like", "mtrouter-like-money"}  # they are fitted first
    for name, contestant in contestants(environment).items():
        if contestant.donor is None and name not in slow:
            assert environment.play(task, contestant.make(environment, SEED, ())).turns > 0, name
    donors = [
        environment.play(t, MatchedRandom(dict.fromkeys(environment.model_names, 1 / 6), seed=1)) for t in [task] * 2
    ]
    for name in ("random-matched", "sojourns-matched", "transplanted"):
        chooser = contestants(environment)[name].make(environment, SEED, donors)
        assert environment.play(task, chooser).turns > 0


def test_the_page_and_the_results_say_the_same():
    jobs = [Job(ENVIRONMENT, policy, seed, 4) for policy in ("sojourn-warm", "heuristic") for seed in TUNING_SEEDS[:2]]
    play_all(jobs, processes=1)
    table = report.rows(jobs, tail=2)
    found = report.results(table, episodes=4, tail=2, command="test")
    assert json.loads(json.dumps(found)) == found
    row = found[ENVIRONMENT]["heuristic"]
    expected = [
        sum(e.score - COST_WEIGHT * e.usd for e in load(job).episodes[-2:]) / 2
        for job in jobs
        if job.policy == "heuristic"
    ]
    assert row["utility"] == pytest.approx(sum(expected) / 2, abs=1e-4)
    gain = found["comparisons"][ENVIRONMENT]["heuristic"]["utility_gain"]
    assert row["sojourn_minus_this"]["utility"] == gain
    page = report.page(by_name(ENVIRONMENT), table[ENVIRONMENT], found)
    assert f"| heuristic | {gain:+.3f}" in page
    assert found["commit"] in page


def test_an_environment_that_is_played_again_replaces_itself_alone():
    jobs = [Job(ENVIRONMENT, policy, SEED, 4) for policy in ("random", "heuristic")]
    play_all(jobs, processes=1)
    found = report.results(report.rows(jobs, tail=2), episodes=4, tail=2, command="newer")
    earlier = {
        ENVIRONMENT: {"escalation": {}},
        "elsewhere": {"heuristic": {"utility": 0.5, "ci95": {"utility": 0.1}}},
        "played": {"elsewhere": {"episodes": 9, "seeds": [1, 2], "command": "older"}},
        "commit": "older",
    }
    merged = report.joined(earlier, found)
    assert set(merged[ENVIRONMENT]) == {"random", "heuristic"}
    assert [played["command"] for played in merged["played"].values()] == ["older", "newer"]
    assert "| [elsewhere](arena/elsewhere.md) | 9 × 2 |  |  | 0.500 ± 0.100 |" in report.index(merged)
