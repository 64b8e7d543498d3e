"""While the disk fails, agents go on; when it works again, everything that was acknowledged is there.

The server is a process of its own, and the faults are what the operating system would answer: no space, a file system
turned read-only, an I/O error in the middle of a sync, a disk that has become very slow.
"""

from __future__ import annotations

import errno
import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import grpc
import pytest

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.journal.sqlite import SqliteJournal
from tests.rpc.wire import Stubs, connected, refusal
from tests.torture.audit import audit
from tests.torture.disk import Disk
from tests.torture.service import Callers, DidNotServe, Server

HOUR_NS = 3_600 * 1_000_000_000


@pytest.fixture
def device(tmp_path: Path) -> Disk:
    """A disk that works until it is told otherwise."""
    return Disk(tmp_path / "data", tmp_path / "workshop")


@pytest.fixture
def server(tmp_path: Path, unused_port: int, device: Disk) -> Iterator[Server]:
    """A server on that disk."""
    server = Server(tmp_path, unused_port, disk=device)
    server.start()
    yield server
    if server.is_running:
        server.kill()


@pytest.fixture
def stubs(server: Server) -> Iterator[Stubs]:
    """Stubs of that server."""
    with connected(server.address) as stubs:
        yield stubs


FAULTS = {
    "disk full": {"write_errno": errno.ENOSPC},
    "read-only file system": {"write_errno": errno.EROFS, "sync_errno": errno.EROFS},
    "I/O error amid a sync": {"sync_errno": errno.EIO},
    "I/O error of everything": {"write_errno": errno.EIO, "sync_errno": errno.EIO},
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
def test_a_disk_that_fails_stops_no_agent_and_costs_no_acknowledged_outcome(
    fault: dict[str, int], server: Server, device: Disk, stubs: Stubs
):
    """Decisions go on, outcomes are refused with when to try again, and after the repair both are as if never away."""
    stubs.decide("before")
    assert stubs.end("before").state == router_pb2.REPORT_STATE_RECORDED
    device.set(**fault)
    assert stubs.decide("meanwhile").model
    refused = refusal(lambda: stubs.end("meanwhile"))
    assert refused.code == grpc.StatusCode.UNAVAILABLE
    assert refused.retry_ms
    device.heal()
    assert stubs.end("meanwhile").state == router_pb2.REPORT_STATE_RECORDED
    after = stubs.decide("after")
    assert after.reason == types_pb2.REASON_FIRST_TURN
    assert stubs.end("after").state == router_pb2.REPORT_STATE_RECORDED
    assert server.stop() == 0
    assert audit(server.data, {"before": 1.0, "meanwhile": 1.0, "after": 1.0}).sound


@pytest.mark.timeout(180)
def test_a_disk_that_comes_and_goes_under_load_loses_nothing(server: Server, device: Disk):
    """Faults of all kinds, a few hundred milliseconds each, while callers play and repeat."""
    with Callers(server.address, names=("caller-0", "caller-1")) as callers:
        for fault in [*FAULTS.values()] * 3:
            time.sleep(0.3)
            device.set(**fault)
            time.sleep(0.3)
            device.heal()
        time.sleep(0.3)
    assert server.stop() == 0
    scores = callers.ledger.scores()
    assert len(scores) > 20
    assert audit(server.data, scores, callers.ledger.decisions).sound


def test_a_disk_that_fails_at_the_start_refuses_it_in_words(tmp_path: Path, unused_port: int, device: Disk):
    """No service on a journal that cannot be made; the reason is in the log."""
    device.set(write_errno=errno.EROFS)
    server = Server(tmp_path, unused_port, disk=device)
    with pytest.raises(DidNotServe, match="cannot open the journal"):
        server.start()


def test_a_very_slow_disk_delays_what_must_be_durable_and_nothing_else(server: Server, device: Disk, stubs: Stubs):
    """With syncs of half a second a decision, which needs none, takes a small part of what an outcome takes."""
    stubs.decide("warm-up")
    device.set(sync_delay_ms=500)
    began = time.monotonic()
    for turn in range(20):
        stubs.decide("slow", turn)
    decided = time.monotonic()
    stubs.end("slow")
    reported = time.monotonic()
    assert reported - decided >= 0.5
    assert (decided - began) / 20 < (reported - decided) / 3


@pytest.mark.parametrize("hours", [-48, 23], ids=["back two days", "ahead almost a day"])
def test_a_clock_that_jumps_changes_no_answer_and_loses_no_outcome(
    hours: int, server: Server, device: Disk, stubs: Stubs
):
    """An episode under way goes on with its incumbent, and its outcome is learned."""
    first = stubs.decide("episode")
    device.set(clock_ns=hours * HOUR_NS)
    second = stubs.decide("episode", 1)
    assert stubs.decide("episode") == first
    if second.reason == types_pb2.REASON_HELD:
        assert second.model == first.model
    assert stubs.end("episode").joined_decisions == 2
    assert server.stop() == 0
    assert audit(server.data, {"episode": 1.0}, {("episode", 0): first.model, ("episode", 1): second.model}).sound


def test_a_clock_that_jumps_beyond_the_window_expires_an_open_episode_and_its_outcome_is_late(
    server: Server, device: Disk, stubs: Stubs
):
    """The window is wall-clock time: an outcome after it is recorded as late, never lost silently."""
    stubs.decide("episode")
    device.set(clock_ns=25 * HOUR_NS)
    deadline = time.monotonic() + 20.0
    while time.monotonic() < deadline and not _expired(server.data):
        time.sleep(0.1)
    assert stubs.end("episode").state == router_pb2.REPORT_STATE_LATE


def _expired(data: Path) -> bool:
    with closing(SqliteJournal.open_read_only(data)) as journal:
        return any(record.episode_id == "episode" for record in journal.read(0, bodies={"episode_expired"}))


def test_a_journal_that_another_process_has_locked_stops_no_agent(server: Server, stubs: Stubs):
    """A write lock of somebody else's (a shell, a backup tool) is an outage of the journal like any other."""
    stubs.decide("before")
    with closing(sqlite3.connect(server.data / "journal.sqlite3", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert stubs.decide("meanwhile").reason == types_pb2.REASON_JOURNAL_UNAVAILABLE
        other.execute("ROLLBACK")
    assert stubs.end("before").state == router_pb2.REPORT_STATE_RECORDED


def test_a_second_server_on_a_journal_is_refused_in_words(server: Server, tmp_path: Path, unused_port: int):
    """Two learners would fold one journal: the second server names the directory and ends."""
    (tmp_path / "second").mkdir()
    second = Server(tmp_path / "second", unused_port + 1)
    second.point_to(server.data)
    with pytest.raises(DidNotServe, match="another server holds the journal"):
        second.start()


@pytest.mark.parametrize("damage", ["truncated", "altered", "of the future"])
def test_a_damaged_snapshot_is_left_behind_and_said_in_the_log(damage: str, server: Server, stubs: Stubs):
    """The service starts from the snapshot before, or from the prior, and gives the same predictions."""
    for number in range(8):
        stubs.decide(f"episode-{number}")
        stubs.end(f"episode-{number}")
    assert server.stop() == 0
    newest = max((server.data / "snapshots").rglob("*.snapshot"))
    whole = newest.read_bytes()
    newest.write_bytes(
        {
            "truncated": whole[: len(whole) // 2],
            "altered": whole[:-9] + bytes([whole[-9] ^ 1]) + whole[-8:],
            "of the future": b"SOJOURN9" + whole[8:],
        }[damage]
    )
    server.start()
    stubs.decide("after")
    assert server.stop() == 0
    lines = [json.loads(line) for line in server.log_path.read_text().splitlines()]
    assert any(line["event"] == "snapshot_rejected" for line in lines)
    assert audit(server.data, {f"episode-{number}": 1.0 for number in range(8)}).sound


def test_a_damaged_journal_is_refused_in_words_and_left_as_it_is(tmp_path: Path, unused_port: int):
    """A file that is no journal is not overwritten."""
    data = tmp_path / "data"
    data.mkdir()
    (data / "journal.sqlite3").write_bytes(b"this is not a journal" * 400)
    with pytest.raises(DidNotServe, match="cannot open the journal"):
        Server(tmp_path, unused_port).start()
    assert (data / "journal.sqlite3").read_bytes().startswith(b"this is not a journal")
