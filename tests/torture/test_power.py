"""An acknowledged outcome survives a power loss at any moment, and so does everything that came before it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.torture import disk
from tests.torture.disk import Disk, Operation, Wreck
from tests.torture.power import lose_power

LOSSES = 40


@pytest.mark.timeout(240)
def test_no_power_loss_takes_an_acknowledged_outcome_or_leaves_half_a_snapshot(tmp_path: Path, unused_port: int):
    """40 moments of a run with kills and restarts: what was synced is there, what was not may be there in part."""
    lost = lose_power(tmp_path, unused_port, losses=LOSSES, seconds=6.0, seed=7)
    assert [found for found in lost.findings if not found.sound] == []
    assert max(found.outcomes for found in lost.findings) > 50


class _Writer:
    """Makes a log as a process would that creates one file, on descriptor 3, in a new directory."""

    def __init__(self, name: str) -> None:
        self.operations: list[Operation] = []
        self.add(disk.MKDIR, name="/d")
        self.add(disk.CREATE, name=name)

    def add(self, kind: int, *, file: int = 3, offset: int = 0, name: str = "", data: bytes = b"") -> None:
        self.operations.append(Operation(len(self.operations), kind, file, offset, name, data))

    def sync_names(self) -> None:
        self.add(disk.OPEN, file=4, name="/d")
        self.add(disk.SYNC, file=4)


def _states(writer: _Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str) -> set[bytes | None]:
    """All that a file may hold after a loss at the end, over many draws; None = it is not there."""
    monkeypatch.setattr(disk, "operations", lambda _: [*writer.operations, Operation(99, disk.CLOSE, 3, 0, "", b"")])
    found: set[bytes | None] = set()
    for seed in range(40):
        into = tmp_path / str(seed)
        wreck = Wreck(tmp_path, Path("/d"))
        wreck.salvage(len(writer.operations), into, seed=seed)
        path = into / name
        found.add(path.read_bytes() if path.exists() else None)
    return found


def test_what_was_not_synced_may_be_lost_and_what_was_synced_is_not(tmp_path, monkeypatch):
    """What was written before the sync is there in every state, what came later only in some."""
    writer = _Writer("/d/f")
    writer.add(disk.WRITE, data=b"old")
    writer.add(disk.SYNC)
    writer.sync_names()
    writer.add(disk.WRITE, data=b"new")
    assert _states(writer, tmp_path, monkeypatch, "f") == {b"old", b"new"}


def test_a_new_name_may_be_missing_until_its_directory_is_synced(tmp_path, monkeypatch):
    """A file that was written and synced under one name and renamed has either name or none."""
    writer = _Writer("/d/f.tmp")
    writer.add(disk.WRITE, data=b"all")
    writer.add(disk.SYNC)
    writer.add(disk.RENAME, name="/d/f.tmp", data=b"/d/f")
    assert _states(writer, tmp_path / "new", monkeypatch, "f") == {None, b"all"}
    assert _states(writer, tmp_path / "old", monkeypatch, "f.tmp") == {None, b"all"}


def test_a_write_of_two_sectors_may_arrive_in_half(tmp_path, monkeypatch):
    """Each sector of an unsynced write is there or not by itself."""
    writer = _Writer("/d/f")
    writer.sync_names()
    writer.add(disk.WRITE, data=b"a" * disk.SECTOR_BYTES + b"b" * disk.SECTOR_BYTES)
    states = _states(writer, tmp_path, monkeypatch, "f")
    assert b"" in states
    assert bytes(disk.SECTOR_BYTES) + b"b" * disk.SECTOR_BYTES in states
    assert b"a" * disk.SECTOR_BYTES in states


def test_the_disk_before_a_process_logs_and_fails_as_told(tmp_path: Path):
    """A real process below the shim: its writes are in the log with their data, and fail once told to."""
    under = tmp_path / "data"
    under.mkdir()
    device = Disk(under, tmp_path / "workshop", logged=True)
    program = f"open({str(under / 'f')!r}, 'wb').write(b'hello')"
    run = [sys.executable, "-c", program]
    assert subprocess.run(run, env=dict(device.environment()), check=False).returncode == 0
    assert device.log is not None
    assert [o.data for o in disk.operations(device.log) if o.kind == disk.WRITE] == [b"hello"]
    device.set(write_errno=28)
    failed = subprocess.run(run, env=dict(device.environment()), check=False, capture_output=True, text=True)
    assert "No space left on device" in failed.stderr
