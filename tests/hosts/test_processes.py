"""Hosts as the processes that they are: the leader is killed amid outcomes, and another one takes over."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest

from sojourn.v1 import admin_pb2
from sojourn_server.hosts.home import open_for_reading
from sojourn_server.journal.journal import terminal_key
from tests.cli.command import run_json
from tests.hosts.hosts import ask, term, wait_until
from tests.rpc.wire import Stubs, connected
from tests.serving import address_of

SOJOURN = Path(sys.executable).with_name("sojourn")
EPISODES = 40


class Process:
    """A `sojourn serve` over a journal in PostgreSQL; the default lesson, so it is as slow to start as in service."""

    def __init__(self, dsn: str) -> None:
        environment = {
            "PATH": os.environ["PATH"],
            "SOJOURN_JOURNAL__KIND": "postgres",
            "SOJOURN_JOURNAL__DSN": dsn,
            "SOJOURN_LEARNER__KEEP_SNAPSHOTS": "1000",
        }
        command = [str(SOJOURN), "serve", "--address", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.address = address_of(self.process)

    def kill(self) -> None:
        """As the kernel does it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stderr is not None
        self.process.stderr.close()


@pytest.fixture
def processes(dsn: str) -> Iterator[list[Process]]:
    """Two; the first one leads."""
    started = [Process(dsn), Process(dsn)]
    yield started
    for process in started:
        process.kill()


def play(stubs: Stubs, episode_id: str, score: float) -> bool:
    """An episode of two turns; False if the host was gone before it acknowledged the outcome."""
    try:
        stubs.decide(episode_id, 0, tool_type="search")
        stubs.decide(episode_id, 1, tool_type="code")
        stubs.end(episode_id, score)
    except grpc.RpcError:
        return False
    return True


def test_when_the_leading_process_is_killed_another_goes_on_and_nothing_acknowledged_is_lost(
    processes: list[Process], dsn: str
):
    leader, other = processes
    before = term(dsn)
    acknowledged = set()
    with connected(leader.address) as first, connected(other.address) as second:
        for i in range(EPISODES):
            if i == EPISODES // 2:
                leader.kill()
            if play((first, second)[i % 2], f"e{i}", score=i % 5 / 4):
                acknowledged.add(f"e{i}")
        assert len(acknowledged) == EPISODES * 3 // 4

        def learned() -> int:
            return int(second.admin.GetPolicy(admin_pb2.GetPolicyRequest(), timeout=10).statistics.joins["learned"])

        wait_until(lambda: learned() == len(acknowledged))
    assert term(dsn) > before
    with open_for_reading(dsn) as (journal, _):
        assert all(journal.get(terminal_key("default", episode_id)) for episode_id in acknowledged)
    versions = [row["position"] for row in ask(dsn, "SELECT position FROM snapshots ORDER BY position")]
    for version in (versions[0], versions[len(versions) // 2], versions[-1]):
        assert run_json("replay", "--journal", dsn, "--version", version)["same"]


def test_a_host_that_is_stopped_learns_what_it_acknowledged_before_it_goes(dsn: str):
    process = Process(dsn)
    with connected(process.address) as stubs:
        assert all(play(stubs, f"e{i}", score=0.5) for i in range(5))
    process.process.send_signal(signal.SIGTERM)
    assert process.process.stderr is not None
    with process.process.stderr as lines:
        assert json.loads(lines.readlines()[-1])["event"] == "stopped"
    assert process.process.wait(60) == 0
    assert run_json("replay", "--journal", dsn)["episodes"] == 5


def test_a_process_that_cannot_reach_its_database_says_so(unused_port: int):
    result = subprocess.run(
        [SOJOURN, "serve"],
        env={"SOJOURN_JOURNAL__KIND": "postgres", "SOJOURN_JOURNAL__DSN": f"postgresql://u@127.0.0.1:{unused_port}/db"},
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert result.returncode == 2
    assert "cannot use PostgreSQL" in result.stderr
    assert "Traceback" not in result.stderr
