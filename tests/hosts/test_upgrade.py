"""A rolling upgrade: hosts of two releases side by side. Their lessons differ: neither uses the other's snapshots."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager

from sojourn.v1 import admin_pb2
from sojourn_server.hosts.shared import open_shared_for_reading
from tests.hosts.hosts import ask, wait_until
from tests.rpc.wire import Stubs, connected
from tests.serving import address_of

OLD, NEW = 2, 3
"""What `world.LESSON_FORMAT` says in either release."""
_RELEASE = """
import sys
import sojourn_server.world
sojourn_server.world.LESSON_FORMAT = int(sys.argv.pop(1))
from sojourn_server.cli.program import run
run(sys.argv[1:])
"""


@contextmanager
def running(dsn: str, release: int) -> Iterator[Stubs]:
    """A host of a release; at the end it is told to stop, and drains."""
    environment = {
        "PATH": os.environ["PATH"],
        "SOJOURN_JOURNAL__KIND": "postgres",
        "SOJOURN_JOURNAL__DSN": dsn,
        "SOJOURN_LEARNER__PUBLISH_OUTCOMES": "1",
        "SOJOURN_LEARNER__KEEP_SNAPSHOTS": "100",
    }
    command = [sys.executable, "-c", _RELEASE, str(release), "serve", "--address", "127.0.0.1:0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
    try:
        with connected(address_of(process)) as stubs:
            yield stubs
    finally:
        process.terminate()
        assert process.stderr is not None
        process.stderr.close()
        process.wait(60)


def play(host: Stubs, episode_id: str) -> None:
    assert host.decide(episode_id, 0, tool_type="search").model
    host.end(episode_id, 0.5)


def learned(host: Stubs) -> int:
    return int(host.admin.GetPolicy(admin_pb2.GetPolicyRequest(), timeout=10).statistics.episodes)


def digests(dsn: str) -> list[str]:
    """Of the lessons of all stored snapshots, oldest first."""
    journal, snapshots = open_shared_for_reading(dsn)
    with closing(journal):
        return [snapshots.load("default", v).lesson_digest for v in reversed(snapshots.versions("default"))]


def test_hosts_of_two_releases_decide_side_by_side_and_the_new_one_takes_over(dsn: str):
    with running(dsn, OLD) as old:
        for number in range(4):
            play(old, f"before-{number}")
        wait_until(lambda: learned(old) == 4)
        with running(dsn, NEW) as new:
            assert learned(new) == 4  # folded for itself, by its own lesson
            for number in range(4):
                play((old, new)[number % 2], f"amid-{number}")
            assert (
                old.decide("wanders", 0, tool_type="code").model == new.decide("wanders", 1, tool_type="code").incumbent
            )
            wait_until(lambda: learned(old) == 8)
            assert learned(new) == 4  # until it leads
            leader = ask(dsn, "SELECT leader FROM head")[0]["leader"]
            old_digest = digests(dsn)[-1]
            # The old host goes, as the last one of its release.
            with running(dsn, NEW) as newer:
                _stop_leader(leader)
                wait_until(lambda: ask(dsn, "SELECT leader FROM head")[0]["leader"] != leader)
                play(new, "after")
                wait_until(lambda: learned(new) == learned(newer) == 9)
    assert digests(dsn)[-1] != old_digest
    journal, snapshots = open_shared_for_reading(dsn)
    with closing(journal):
        assert len({snapshots.load("default", v).lesson_digest for v in snapshots.versions("default")}) == 2


def _stop_leader(leader: str) -> None:
    os.kill(int(leader.rpartition(":")[2]), 15)
