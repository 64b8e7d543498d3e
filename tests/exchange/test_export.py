from __future__ import annotations

import json
import sys
from pathlib import Path

import grpc
import pyarrow.parquet as pq  # type: ignore[import-untyped]  # ships no annotations
import pytest
from google.protobuf import json_format

from sojourn.v1 import journal_pb2, router_pb2, router_pb2_grpc
from sojourn_server.app import App
from sojourn_server.exchange.decision_rows import COLUMNS
from sojourn_server.journal.sqlite import SqliteJournal
from tests.cli.command import play, run


def read_back(text: str) -> list[journal_pb2.JournalRecord]:
    return [json_format.Parse(line, journal_pb2.JournalRecord()) for line in text.splitlines()]


def journal_of(directory: Path) -> list[journal_pb2.JournalRecord]:
    journal = SqliteJournal.open_read_only(directory)
    records = journal.read(0)
    journal.close()
    return records


def test_json_lines_read_back_without_loss(played: Path):
    """One record a line, in journal order, under the contract's field names."""
    result = run("export", "--journal", played)
    records = journal_of(played)
    assert read_back(result.stdout) == records
    assert f"{len(records)} records written" in result.stderr
    decision = next(line for line in map(json.loads, result.stdout.splitlines()) if "decision" in line)
    assert {"received_at_ms", "episode_id"} <= decision.keys()


def test_a_router_exports_what_its_journal_holds(server: App, tmp_path: Path):
    play(server.address, "e")
    output = tmp_path / "journal.jsonl"
    assert run("export", "--address", server.address, "-o", output).exit_code == 0
    assert read_back(output.read_text()) == server.journal.read(0)


def test_only_what_came_after_a_position_is_exported(played: Path):
    records = journal_of(played)
    assert read_back(run("export", "--journal", played, "--after", len(records) - 2).stdout) == records[-2:]


def test_parquet_has_a_row_per_decision_with_what_became_of_it(played: Path, tmp_path: Path):
    output = tmp_path / "decisions.parquet"
    assert run("export", "--journal", played, "--format", "parquet", "-o", output).exit_code == 0
    table = pq.read_table(output)
    assert table.column_names == list(COLUMNS)
    rows = {(row["episode_id"], row["turn_index"]): row for row in table.to_pylist()}
    decisions = {(r.episode_id, r.decision.request.turn_index): r for r in journal_of(played) if r.HasField("decision")}
    assert rows.keys() == decisions.keys()
    for key, row in rows.items():
        answer = decisions[key].decision.answer
        assert read_back(row["record_json"]) == [decisions[key]]
        assert (row["model"], row["propensity"], row["decision_id"]) == (
            answer.model,
            answer.propensity,
            answer.decision_id,
        )
        assert (row["served_model"], row["turn_cost_usd"]) == (answer.model, 0.01)
        assert row["outcome_score"] == int(row["episode_id"][1]) / 4
        assert row["error"] == ("MEDIUM" if row["turn_index"] == 1 else "NONE")
    assert rows["e0", 0]["reason"] == "FIRST_TURN"
    assert rows["e0", 1]["predicted_score"] is None
    assert rows["e0", 1]["reason"] == "HELD"


def test_parquet_of_an_open_episode_has_no_outcome(server: App, tmp_path: Path):
    play(server.address, "ended")
    answer = play_one_turn(server.address, "open")
    output = tmp_path / "decisions.parquet"
    run("export", "--address", server.address, "--format", "parquet", "-o", output)
    row = next(row for row in pq.read_table(output).to_pylist() if row["episode_id"] == "open")
    assert (row["model"], row["outcome_score"], row["outcome_status"]) == (answer, None, None)


def play_one_turn(address: str, episode_id: str) -> str:
    with grpc.insecure_channel(address) as channel:
        return router_pb2_grpc.RouterServiceStub(channel).Decide(router_pb2.DecideRequest(episode_id=episode_id)).model


def test_parquet_needs_a_file(played: Path):
    result = run("export", "--journal", played, "--format", "parquet")
    assert result.exit_code == 2
    assert "--output" in result.stderr


def test_without_pyarrow_the_extra_is_named(played: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "sojourn_server.exchange.parquet", raising=False)
    result = run("export", "--journal", played, "--format", "parquet", "-o", tmp_path / "x")
    assert result.exit_code == 2
    assert "sojourn[server,parquet]" in result.stderr


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path, unused_port: int):
    """A failing export leaves the earlier file as it was, and nothing beside it."""
    output = tmp_path / "journal.jsonl"
    output.write_text("earlier")
    assert run("export", "--address", f"127.0.0.1:{unused_port}", "-o", output).exit_code == 2
    assert [p.name for p in tmp_path.iterdir()] == ["journal.jsonl"]
    assert output.read_text() == "earlier"


def test_a_file_that_cannot_be_written_is_said(played: Path, tmp_path: Path):
    result = run("export", "--journal", played, "-o", tmp_path / "none" / "journal.jsonl")
    assert result.exit_code == 2
    assert "cannot write" in result.stderr
