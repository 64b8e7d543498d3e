"""The command line reads a journal in PostgreSQL as it reads one in a directory, beside the hosts that serve it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from sojourn_server.app import App
from tests.cli.command import MAP, run, run_json
from tests.hosts.hosts import decide, end, host, learned, wait_until

EPISODES = 5


@pytest.fixture
def serving(dsn: str) -> Iterator[App]:
    """A host that has learned from a few episodes."""
    with host(dsn) as app:
        for i in range(EPISODES):
            for turn, kind in enumerate(("search", "code", "reasoning")):
                decide(app, f"e{i}", turn, tool_type=kind)
            end(app, f"e{i}", score=i / 4)
        wait_until(lambda: learned(app) == EPISODES)
        yield app


def test_a_journal_in_postgres_replays_to_its_snapshot_bit_for_bit(serving: App, dsn: str):
    result = run_json("replay", "--journal", dsn)
    assert result["same"]
    assert result["episodes"] == EPISODES
    assert result["predictions"] > 100
    assert result["version"] == serving.journal.position()


def test_it_is_exported_in_order_beside_its_hosts(serving: App, dsn: str):
    lines = [json.loads(line) for line in run("export", "--journal", dsn).stdout.splitlines() if line.startswith("{")]
    assert [int(line["position"]) for line in lines] == list(range(1, serving.journal.position() + 1))
    by_wire = run("export", "--address", serving.address).stdout.splitlines()
    assert [json.loads(line) for line in by_wire if line.startswith("{")] == lines


def test_views_read_it(serving: App, dsn: str):
    assert "e0" in run("show", "episodes", "--journal", dsn).stdout
    assert run("show", "episode", "e1", "--journal", dsn).exit_code == 0
    assert run_json("show", "policy", "--journal", dsn)["policy_version"] == str(serving.journal.position())


def test_trajectories_are_imported_beside_a_host_that_learns_from_them(dsn: str, tmp_path: Path):
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "episodes.csv").write_text("task,reward\na,1\nb,0\n")
    rows = "".join(f"{task},{turn},gpt-5,code,1000,\n" for task in "ab" for turn in range(3))
    (tmp_path / "turns.csv").write_text(f"task,turn,model,tool,tokens,error\n{rows}")
    command = ("import", tmp_path, "--map", tmp_path / "map.toml", "--journal", dsn)
    with host(dsn) as app:
        assert run_json(*command)["episodes"] == 2
        wait_until(lambda: sum(app.router.knowledge("default").statistics.joins.values()) >= 2)
        assert run_json(*command)["episodes_already_there"] == 2


def test_trajectories_are_imported_where_nobody_serves_yet(dsn: str, tmp_path: Path):
    (tmp_path / "map.toml").write_text(MAP)
    (tmp_path / "episodes.csv").write_text("task,reward\na,1\n")
    (tmp_path / "turns.csv").write_text("task,turn,model,tool,tokens,error\na,0,a-model-of-mine,code,1000,\n")
    found = run_json("import", tmp_path, "--map", tmp_path / "map.toml", "--journal", dsn)
    assert found["models_added"] == ["a-model-of-mine"]
    with host(dsn) as app:
        assert "a-model-of-mine" in app.router.world.registry.models


def test_a_url_that_leads_nowhere_is_said_without_its_password(unused_port: int):
    result = run("replay", "--journal", f"postgresql://user:hunter2@127.0.0.1:{unused_port}/db")
    assert result.exit_code == 2
    assert "cannot use PostgreSQL" in result.output
    assert "hunter2" not in result.output


def test_settings_in_effect_do_not_show_the_url(tmp_path: Path):
    file = tmp_path / "sojourn.toml"
    file.write_text('[journal]\nkind = "postgres"\ndsn = "postgresql://user:hunter2@db/sojourn"\n')
    result = run("check-config", "--config", file, "--show")
    assert result.exit_code == 0
    assert "# journal.dsn is set and not shown" in result.output
    assert "hunter2" not in result.output
    assert "hunter2" not in run("check-config", "--config", file, "--show", "--json").output


@pytest.mark.parametrize("text", ['kind = "postgres"', 'dsn = "postgresql://db/sojourn"'])
def test_a_url_goes_with_its_kind(text: str, tmp_path: Path):
    file = tmp_path / "sojourn.toml"
    file.write_text(f"[journal]\n{text}\n")
    result = run("check-config", "--config", file)
    assert result.exit_code == 2
    assert "journal.dsn" in result.output
