"""The demo on a real router, in small: its own service, SQLite journal and client."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sojourn.v1 import journal_pb2
from sojourn_server.app import App
from sojourn_server.config import Config
from sojourn_server.demo.contest import CONTESTANTS, Outcome, Plan, hold
from sojourn_server.demo.expert import PHASES
from sojourn_server.demo.models import STRONGEST
from sojourn_server.demo.service import HEURISTIC, LEARNED
from sojourn_server.telemetry import Telemetry

EPISODES = 3


class _Kept:
    """What a contest left behind, read before its router closed."""

    def __init__(self) -> None:
        self.records: list[journal_pb2.JournalRecord] = []
        self.played = 0
        self.outcome: Outcome | None = None


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> _Kept:
    kept = _Kept()

    @contextmanager
    def open_router(config: Config) -> Iterator[App]:
        with App.open(config, Telemetry.disabled()) as app:
            yield app
            kept.records = list(app.journal.read(0, limit=10_000))

    def played(count: int) -> None:
        kept.played += count

    plan = Plan(EPISODES, seed=6, prompts="small", cost_weight=1.0, directory=tmp_path_factory.mktemp("contest"))
    kept.outcome = hold(plan, open_router, played=played)
    return kept


def test_every_contestant_plays_every_episode(kept: _Kept):
    assert kept.outcome is not None
    assert kept.played == EPISODES * CONTESTANTS
    assert [row.episodes for row in kept.outcome.totals] == [EPISODES] * CONTESTANTS


def test_every_routed_episode_ends_with_an_outcome_in_the_journal(kept: _Kept):
    ended = [(r.policy, r.episode_id) for r in kept.records if r.HasField("outcome")]
    begun = {(r.policy, r.episode_id) for r in kept.records if r.HasField("decision")}
    assert set(ended) == begun
    assert sorted(policy for policy, _ in ended) == sorted([LEARNED, HEURISTIC] * EPISODES)


def test_no_decision_was_told_the_hidden_phase(kept: _Kept):
    requests = [r.decision.request for r in kept.records if r.HasField("decision")]
    assert requests
    for request in requests:
        assert not any(phase in str(request) for phase in PHASES)


def test_the_journal_knows_the_money_that_the_caller_paid(kept: _Kept):
    assert kept.outcome is not None
    for name, policy in (("Sojourn", LEARNED), ("heuristic", HEURISTIC)):
        paid = [r.outcome.request.cost_usd for r in kept.records if r.HasField("outcome") and r.policy == policy]
        row = next(row for row in kept.outcome.totals if row.contestant == name)
        assert sum(paid) / EPISODES == pytest.approx(row.usd)


def test_the_heuristic_policy_uses_its_table_alone(kept: _Kept):
    models = {r.decision.answer.model for r in kept.records if r.HasField("decision") and r.policy == HEURISTIC}
    assert models <= {STRONGEST, "scripted-small-f"}


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """`sojourn` in a process of its own, since it sets up the logs of its process."""
    command = [sys.executable, "-c", "from sojourn_server.cli import main; main()", *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_one_json_object_and_leaves_a_journal_of_which_all_is_learned(tmp_path: Path):
    directory = str(tmp_path / "data")
    ran = _run("demo", "--episodes", "1", "--json", "--data-dir", directory)
    assert ran.returncode == 0, ran.stderr
    printed = json.loads(ran.stdout)
    assert [row["contestant"] for row in printed["totals"]][:2] == ["Sojourn", "heuristic"]
    assert "scripted models" in printed["provenance"]
    shown = json.loads(_run("show", "policy", "--json", "--journal", directory).stdout)
    assert shown["statistics"]["joins"] == {"learned": "1"}


def test_the_command_refuses_a_directory_that_holds_something(tmp_path: Path):
    (tmp_path / "journal").touch()
    ran = _run("demo", "--data-dir", str(tmp_path))
    assert ran.returncode == 2
    assert "not an empty directory" in ran.stderr
