"""`sojourn explain` on a router's own episode: a strip, a row a decision, a summary; the same as JSON."""

from __future__ import annotations

from pathlib import Path

import grpc
import pytest

from sojourn.v1 import admin_pb2, admin_pb2_grpc
from sojourn_server.cli.explain import STRIP_TURNS
from tests.cli.command import open_app, play, run, run_json


def test_an_episode_is_explained(played: Path):
    output = run("explain", "e3", "--journal", played).output
    lines = output.splitlines()
    assert lines[0].split()[1][:2] == "AA"
    assert lines[1][lines[0].index("A") + 1] == "m"
    assert "0-1" in output
    assert "medium at 1" in output
    assert "first turn" in output
    assert "the work changed from search to code" in output
    assert "ended" in output
    assert "score 0.750" in output
    assert "stayed" in output


def test_json_says_the_same_in_numbers(played: Path):
    found = run_json("explain", "e3", "--journal", played)
    assert (found["turns"], found["score"], found["status"]) == (3, 0.75, "scored")
    assert found["cost_usd"] == 0.03
    assert found["after_errors"] == 1
    assert found["stayed"] == 1 - found["stretches"][1]["switched"]
    assert found["switches"] == sum(s["switched"] for s in found["stretches"])
    assert [s["turns"] for s in found["stretches"]] == [[0, 1], [2]]
    assert found["stretches"][0]["errors"] == [{"turn_index": 1, "severity": "medium"}]


def test_a_router_and_its_journal_answer_alike(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "seen")
        from_router = run_json("explain", "seen", "--address", app.address)
        assert from_router == run_json("explain", "seen", "--journal", tmp_path)


def test_usage_is_priced_as_of_then_whatever_models_cost_now(tmp_path: Path):
    with open_app(tmp_path) as app, grpc.insecure_channel(app.address) as channel:
        answers = play(app.address, "e", turn_usd=None, output_tokens=1_000_000)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        models = admin.ListModels(admin_pb2.ListModelsRequest()).models
        usd = sum(m.output_usd_per_mtok for answer in answers for m in models if m.name == answer.model)
        assert usd > 0.0
        for model in models:
            model.output_usd_per_mtok *= 10.0
            admin.PutModel(admin_pb2.PutModelRequest(model=model))
        found = run_json("explain", "e", "--address", app.address)
        assert found["cost_usd"] == pytest.approx(usd)
        assert sum(stretch["cost_usd"] for stretch in found["stretches"]) == pytest.approx(usd)
    assert found == run_json("explain", "e", "--journal", tmp_path)


def test_an_open_episode_is_explained_so_far(tmp_path: Path):
    from sojourn import Client

    with open_app(tmp_path) as app, Client(app.address) as client:
        episode = client.episode("open")
        for _ in range(STRIP_TURNS + 5):
            episode.decide(tool_type="search")
        output = run("explain", "open", "--address", app.address).output
    lines = output.splitlines()
    assert [line.split()[0] for line in lines if line.endswith("AAA")] == ["0", str(STRIP_TURNS)]
    assert f"0 in {STRIP_TURNS + 5} turns" in output
    assert "no error with a turn after it" in output
    assert "open" in output


def test_what_is_not_there_is_said_plainly(played: Path):
    result = run("explain", "none", "--journal", played)
    assert (result.exit_code, "no episode 'none'" in result.stderr) == (2, True)
