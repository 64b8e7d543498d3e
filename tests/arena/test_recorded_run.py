"""Passes over recorded outcomes: played once, measured against the best single model, and told on a page."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.arena import cache
from benchmarks.arena.recorded import measures, report, run
from benchmarks.arena.recorded.contests import Contest, contests
from benchmarks.arena.recorded.measures import MARGIN, verdict
from benchmarks.arena.recorded.run import Job, Source, choices, play_all, played
from benchmarks.arena.recorded.tables import Table
from tests.arena.recorded_tables import table

SOURCE = Source("made up")
POLICIES = ("sojourn-cold", "random-matched", "never-switch:cheap", "never-switch:dear", "oracle")


@pytest.fixture(autouse=True)
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Table]:
    monkeypatch.setenv(cache.FOLDER_VARIABLE, str(tmp_path))
    cache.folder.cache_clear()
    tiny = table(40, turns=1)
    monkeypatch.setattr(run, "_table", lambda source: tiny)
    yield tiny
    cache.folder.cache_clear()


def job(policy: str, *, seed: int = 1, half: bool = False) -> Job:
    return Job(SOURCE, half, 1.0, policy, seed, seed + 1)


def contest(half: bool = False) -> Contest:
    policies = ("sojourn-cold", "sojourn-cold+import", "best-single") if half else POLICIES
    pairs = (("sojourn-cold", policies[-1]),)
    return Contest("Made up", "For tests.", SOURCE, (0.0, 1.0), policies, (1, 2), pairs, half)


def test_a_half_is_played_after_the_half_that_is_imported():
    whole, half = played(job("oracle")), played(job("oracle", half=True))
    assert half.tolist() == whole.tolist()[20:]
    assert len(choices(job("sojourn-cold+import", half=True))) == 20


def test_what_was_played_is_remembered(monkeypatch: pytest.MonkeyPatch):
    first = choices(job("sojourn-cold")).tolist()
    monkeypatch.setattr(run, "play", lambda job: pytest.fail("played again"))
    assert choices(job("sojourn-cold")).tolist() == first


def test_a_placebo_has_the_shares_of_another_order():
    donor = job("random-matched").donor
    assert donor == Job(SOURCE, False, 1.0, "sojourn-cold", 2, 1)
    share = choices(donor).mean()
    assert choices(job("random-matched")).mean() == pytest.approx(share, abs=0.25)


def test_regret_is_to_the_best_single_model(made: Table):
    utilities = made.utilities(1.0)
    best, other = (measures.row(made, [job(f"never-switch:{name}")]) for name in ("cheap", "dear"))
    assert best.regret_share.mean == 0.0
    cheap, dear = utilities.mean(axis=0)
    assert other.regret_share.mean == pytest.approx((cheap - dear) / cheap)
    assert other.curve[-1] == pytest.approx(40 * (cheap - dear))
    oracle = measures.row(made, [job("oracle")])
    assert oracle.regret_share.mean < 0.0 < oracle.last_half_utility.mean
    assert oracle.utility.mean == pytest.approx(utilities.max(axis=1).mean())


@pytest.mark.parametrize(
    ("mean", "half_width", "p_holm", "said"),
    [
        (0.02, 0.01, 0.01, "better"),
        (0.02, 0.01, 0.2, "no worse"),
        (-MARGIN / 2, MARGIN / 4, 0.2, "no worse"),
        (-MARGIN, 2 * MARGIN, 0.9, "open"),
        (-0.02, 0.01, 0.2, "open"),
        (-0.02, 0.01, 0.01, "worse"),
        (0.02, None, None, "open"),
    ],
)
def test_verdicts_need_the_corrected_p_or_the_whole_interval(
    mean: float, half_width: float | None, p_holm: float | None, said: str
):
    assert verdict(mean, half_width, p_holm) == said


def test_gains_are_paired_by_seed(made: Table):
    one, two = (measures.row(made, [job("oracle", seed=s) for s in seeds]) for seeds in ((1, 2), (1, 3)))
    with pytest.raises(ValueError, match="seeds"):
        measures.gains({"x": (one, two)})
    cheap = measures.row(made, [job("never-switch:cheap", seed=s) for s in (1, 2)])
    gain = measures.gains({"x": (one, cheap)})["x"]
    assert gain.mean == pytest.approx(one.utility.mean - cheap.utility.mean)
    assert gain.verdict == "better"


def test_the_page_and_the_results_say_the_same():
    found = report.results([contest(), contest(half=True)._replace(title="Made up, half")], command="test")
    assert json.loads(json.dumps(found)) == found
    page = report.page(found)
    section = found["contests"]["Made up"]
    for policy, row in section["cost_weights"]["1"].items():
        assert f"| {policy} | {report.cell(row['score'])} |" in page
    mean, _ = section["comparisons"]["sojourn-cold - oracle at 1"]["utility_gain"]
    assert f"| sojourn-cold - oracle at 1 | {mean:+.4f}" in page
    assert found["commit"] in page
    assert "made up for tests" in page, "whose data it is stands beside the figures"


def test_all_that_is_written_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for name, path in {"RESULT": "out.json", "PAGE": "out.md", "PLOTS": "plots"}.items():
        monkeypatch.setattr(report, name, tmp_path / path)
    report.write(report.results([contest()], command="test"))
    assert {"recorded-cost-weights.svg", "recorded-regret.svg"} == {p.name for p in (tmp_path / "plots").iterdir()}
    assert json.loads((tmp_path / "out.json").read_text())["seeds"] == [1, 2]


def test_without_recordings_the_prompts_are_played(monkeypatch: pytest.MonkeyPatch):
    names = {section.source.name for section in contests([1, 2], None)}
    assert names == {"kind+numbers", "kind", "numbers", "clusters+numbers"}


@pytest.mark.recorded
def test_every_recording_is_played_whole_and_half_imported(recorded: Path):
    sections = contests([1, 2], recorded)
    titles = [section.title for section in sections if "prompts" not in section.title]
    assert len(titles) >= 6
    assert sum("half imported" in title for title in titles) == len(titles) / 2
    assert all(section.cost_weights == (0.0,) for section in sections if "medagentbench" in section.title)


def test_donors_are_played_first(monkeypatch: pytest.MonkeyPatch):
    class Inline:
        def __init__(self, *args: object, **kwargs: object) -> None: ...
        def __enter__(self) -> Inline:
            return self

        def __exit__(self, *exit_: object) -> None: ...
        def submit(self, call: object, job: Job) -> object:
            from concurrent.futures import Future

            order.append(job)
            future: Future[object] = Future()
            future.set_result(choices(job))
            return future

    order: list[Job] = []
    monkeypatch.setattr("benchmarks.arena.run.ProcessPoolExecutor", Inline)
    jobs = [job("random-matched", seed=s) for s in (1, 2)]
    steps: list[tuple[int, int]] = []
    play_all(jobs, processes=1, played=lambda done, of: steps.append((done, of)))
    assert [j.policy for j in order] == ["sojourn-cold"] * 2 + ["random-matched"] * 2
    assert steps[-1] == (4, 4)
    order.clear()
    play_all(jobs, processes=1)
    assert order == []
