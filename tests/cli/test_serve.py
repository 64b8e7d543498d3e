"""`sojourn serve` as the process that it is: started, asked, told to stop, started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sojourn.v1 import router_pb2, router_pb2_grpc
from tests.cli.command import open_app, play, run, run_json

SOJOURN = Path(sys.executable).with_name("sojourn")
GIVE_UP_S = 60.0
SERVICE = health_pb2.HealthCheckRequest(service="sojourn.v1.RouterService")


class Served:
    """A `sojourn serve` on a free port with its journal below a directory."""

    def __init__(self, directory: Path, *options: str) -> None:
        command = [str(SOJOURN), "serve", "--address", "127.0.0.1:0", *options]
        environment = {"SOJOURN_JOURNAL__DIRECTORY": str(directory), "PATH": "/usr/bin:/bin"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.logs: list[dict[str, str]] = []
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.logs.append(json.loads(line))
            if self.logs[-1]["event"] == "serving":
                break
        self.address = self.logs[-1]["address"]

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def exit_code(self) -> int:
        assert self.process.stderr is not None
        self.logs += [json.loads(line) for line in self.process.stderr]
        return self.process.wait(timeout=GIVE_UP_S)


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    made = Served(tmp_path)
    yield made
    made.process.kill()
    made.process.wait()
    assert made.process.stderr is not None
    made.process.stderr.close()


def refused(*options: object, environment: dict[str, str] | None = None) -> str:
    """Starts one that must refuse with exit code 2; what it said."""
    result = subprocess.run(
        [SOJOURN, "serve", *map(str, options)], capture_output=True, text=True, check=False, timeout=GIVE_UP_S,
        env={"PATH": "/usr/bin:/bin", **(environment or {})},
    )  # fmt: skip
    assert result.returncode == 2, result.stderr
    assert "Traceback" not in result.stderr
    return result.stderr


def test_a_stopped_router_goes_on_where_it_was(served: Served, tmp_path: Path):
    """SIGTERM: exit code 0, and the next start has the episode, its lesson, and the open episode's first answer."""
    play(served.address, "ended")
    open_request = router_pb2.DecideRequest(episode_id="open")
    with grpc.insecure_channel(served.address) as channel:
        first = router_pb2_grpc.RouterServiceStub(channel).Decide(open_request)
    served.signal(signal.SIGTERM)
    assert served.exit_code() == 0
    assert served.logs[-1]["event"] == "stopped"
    with open_app(tmp_path) as app:
        with grpc.insecure_channel(app.address) as channel:
            assert router_pb2_grpc.RouterServiceStub(channel).Decide(open_request) == first
        assert run_json("show", "policy", "--address", app.address)["statistics"]["episodes"] == "1"
        assert run("show", "episode", "ended", "--address", app.address).exit_code == 0


def test_it_drains_on_the_first_signal_and_ends_at_once_on_the_second(served: Served):
    """A call in flight keeps it draining; watchers are told NOT_SERVING, and new calls are refused meanwhile."""
    go_on = threading.Event()
    with grpc.insecure_channel(served.address) as channel:
        method: Any = channel.stream_unary("/sojourn.v1.AdminService/ImportSnapshot", None, None)
        in_flight = method.future(request for request in [b""] if go_on.wait(GIVE_UP_S))
        watched = health_pb2_grpc.HealthStub(channel).Watch(SERVICE)
        assert next(watched).status == health_pb2.HealthCheckResponse.SERVING
        served.signal(signal.SIGINT)
        assert next(watched).status == health_pb2.HealthCheckResponse.NOT_SERVING
        time.sleep(0.2)
        assert served.process.poll() is None
        started = time.monotonic()
        served.signal(signal.SIGTERM)
        assert served.process.wait(timeout=GIVE_UP_S) == -signal.SIGTERM
        assert time.monotonic() - started < 5.0  # of the ten seconds that the drain may take
        go_on.set()
        assert in_flight.code() == grpc.StatusCode.UNAVAILABLE


def test_a_second_router_on_the_same_journal_refuses_to_start(served: Served, tmp_path: Path):
    said = refused("--address", "127.0.0.1:0", environment={"SOJOURN_JOURNAL__DIRECTORY": str(tmp_path)})
    assert "another server holds the journal" in said
    assert served.process.poll() is None


def test_a_taken_address_is_said(served: Served, tmp_path: Path):
    environment = {"SOJOURN_JOURNAL__DIRECTORY": str(tmp_path / "other")}
    assert served.address in refused("--address", served.address, environment=environment)


def test_a_wrong_configuration_is_said_with_every_key(tmp_path: Path):
    config = tmp_path / "wrong.toml"
    config.write_text('[server]\nthreads = 0\n[journal]\nkind = "paper"\n')
    said = refused("--config", config)
    assert "server.threads" in said
    assert "journal.kind" in said
    assert f"sojourn check-config --config {config}" in said
