from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sojourn.v1 import admin_pb2, admin_pb2_grpc, router_pb2, types_pb2
from sojourn_server.app import App
from tests.cli.command import open_app, play, run, run_json


@pytest.fixture(scope="module")
def live(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[App, Path]]:
    """A running router and its journal's directory."""
    directory = tmp_path_factory.mktemp("live")
    with open_app(directory) as app:
        yield app, directory


@pytest.fixture(scope="module")
def answers(live: tuple[App, Path]) -> list[router_pb2.DecideResponse]:
    """The decisions of the episode "seen"."""
    return play(live[0].address, "seen", score=0.75)


def line_with(text: str, output: str) -> str:
    return next(line for line in output.splitlines() if text in line)


def test_an_episode_is_shown_turn_by_turn(live: tuple[App, Path], answers: list[router_pb2.DecideResponse]):
    """Model, phase, reason, error, propensity, money, the mark of a switch, and how it ended."""
    output = run("show", "episode", "seen", "--address", live[0].address).output
    turns = [line.split() for line in output.splitlines() if line[:1].isdigit()]
    assert [turn[0] for turn in turns] == ["0", "1", "2"]
    for turn, answer in zip(turns, answers, strict=True):
        assert answer.model in turn
        assert ("\N{RIGHTWARDS ARROW}" in turn) == answer.switched
        assert turn[-1] == "0.01"
        assert turn[-2] == f"{answer.propensity:.3f}"
    assert "first turn" in " ".join(turns[0])
    assert "held" in turns[1]
    assert "medium" in turns[1]
    assert "phase changed" in " ".join(turns[2])
    assert "0.750" in line_with("score", output)
    assert "0.03" in output.rpartition("USD")[2]


def test_a_router_and_its_journal_answer_alike(live: tuple[App, Path], answers: list[router_pb2.DecideResponse]):
    app, directory = live
    for what in (
        ["episode", "seen"],
        ["episodes"],
        ["models"],
        ["decision", answers[2].decision_id],
        ["decision", "seen", "--turn", "2"],
    ):
        from_router = run_json("show", *what, "--address", app.address)
        assert from_router == run_json("show", *what, "--journal", directory)


def test_a_decision_is_explained_with_every_candidate(live: tuple[App, Path], answers: list[router_pb2.DecideResponse]):
    """Ranked as in the answer, with score, money, switching money, utility, probability; the chosen one is marked."""
    output = run("show", "decision", answers[2].decision_id, "--address", live[0].address).output
    rows = output.rpartition("probability")[2].splitlines()[1:]
    assert len(rows) == len(answers[2].ranked)
    for row, candidate in zip(rows, answers[2].ranked, strict=True):
        assert candidate.model in row
        assert f"{candidate.probability:.6f}" in row
        assert ("\N{BLACK CIRCLE}" in row) == (candidate.model == answers[2].model)
    assert "phase changed" in line_with("reason", output)
    assert f"{answers[2].propensity:.6f}" in line_with("propensity", output)


def test_a_later_attempt_is_found_by_its_number(live: tuple[App, Path]):
    with grpc.insecure_channel(live[0].address) as channel:
        decide = channel.unary_unary(
            "/sojourn.v1.RouterService/Decide",
            request_serializer=router_pb2.DecideRequest.SerializeToString,
            response_deserializer=router_pb2.DecideResponse.FromString,
        )
        first, second = (decide(router_pb2.DecideRequest(episode_id="retried", attempt=i)) for i in range(2))
    at = ("show", "decision", "retried", "--turn", 0, "--address", live[0].address)
    assert run_json(*at)["decision"]["answer"]["decision_id"] == second.decision_id
    assert run_json(*at, "--attempt", 0)["decision"]["answer"]["decision_id"] == first.decision_id
    assert f"{first.model} (could not serve)" in run("show", "episode", "retried", *at[-2:]).output


def test_a_policy_is_shown_with_what_it_learned(played: Path):
    output = run("show", "policy", "--journal", played).output
    assert "live" in line_with("mode", output)
    assert "5 episodes" in line_with("learned", output)
    assert line_with("search", output).split()[0] == "search"
    shares = [float(word.rstrip("%")) for word in output.split() if word.endswith("%")]
    assert sum(shares) == pytest.approx(100, abs=0.5)
    found = run_json("show", "policy", "--journal", played)
    assert found["statistics"]["episodes"] == "5"
    assert found["policy_version"] == found["journal_position"]


def test_models_are_shown_with_prices_and_cache_terms(live: tuple[App, Path]):
    with grpc.insecure_channel(live[0].address) as channel:
        terms = types_pb2.Model(name="[bold]odd[/bold]", input_usd_per_mtok=2, drained=True)
        terms.cache.read_multiplier = 0.25
        admin_pb2_grpc.AdminServiceStub(channel).PutModel(admin_pb2.PutModelRequest(model=terms))
    output = run("show", "models", "--address", live[0].address).output
    assert line_with("gpt-5", output).split()[-6:] == ["1.25", "0.125", "1.25", "10", "300", "s", "400,000"][-6:]
    assert line_with("[bold]odd[/bold] (drained)", output).split()[-6:] == ["2", "0.5", "2", "0", "300", "s", "-"][-6:]


@pytest.mark.usefixtures("answers")
@pytest.mark.parametrize(
    ("what", "said"),
    [
        (["episode", "none"], "no episode 'none'"),
        (["policy", "none"], "policy: 'none' is not configured; there are ['default']"),
        (["decision", "0" * 44], "no decision"),
        (["decision", "seen"], "for an episode's turn add --turn N"),
        (["decision", "seen", "--turn", "9"], "the episode has decisions at turns [0, 1, 2]"),
    ],
    ids=str,
)
def test_what_is_not_there_is_said_plainly(live: tuple[App, Path], what: list[str], said: str):
    app, directory = live
    for source in (["--journal", directory], ["--address", app.address]):
        result = run("show", *what, *source)
        assert result.exit_code == 2
        assert said in result.stderr


def test_without_a_router_the_next_step_is_said(unused_port: int):
    result = run("show", "models", "--address", f"127.0.0.1:{unused_port}")
    assert result.exit_code == 2
    assert "sojourn serve" in result.stderr
    assert "--journal" in result.stderr


def test_a_directory_without_a_journal_is_said(tmp_path: Path):
    result = run("show", "models", "--journal", tmp_path)
    assert result.exit_code == 2
    assert "cannot read the journal" in result.stderr
    assert list(tmp_path.iterdir()) == []


def test_one_source_at_a_time(tmp_path: Path):
    assert run("show", "models", "--journal", tmp_path, "--address", "x:1").exit_code == 2
