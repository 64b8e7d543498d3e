"""Kills the server again and again, at random moments and at chosen operations, while callers play.

A chosen operation puts the kill into the middle of a commit (a write or sync of the journal), of a snapshot (new file,
write, sync, rename, the directory's sync before the swap) or of a start.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random

from tests.torture import disk
from tests.torture.audit import Findings, audit
from tests.torture.disk import Disk
from tests.torture.service import Callers, DidNotServe, Server

CALLERS = ("caller-0", "caller-1", "caller-2", "caller-3")
MOST_OPERATIONS = {disk.WRITE: 400, disk.SYNC: 60, disk.RENAME: 12, disk.CREATE: 12, disk.UNLINK: 8, disk.OPEN: 40}
_PATIENCE_S = 1.5


@dataclass(frozen=True)
class Killed:
    """How often the server died, how often of that at a chosen operation or while starting, and what was left."""

    kills: int
    at_operations: int
    while_starting: int
    findings: Findings


def kill_again_and_again(
    directory: Path, port: int, *, kills: int, seed: int, told: Callable[[int], None] = lambda _: None
) -> Killed:
    """Plays and kills; `told` hears the number of kills so far. Raises AssertionError if it does not end well."""
    random = Random(seed)
    device = Disk(directory / "data", directory / "workshop")
    server = Server(directory, port, disk=device)
    server.start()
    at_operations = while_starting = dead = 0
    with Callers(server.address, names=CALLERS) as callers:
        while dead < kills:
            at_operations += _kill_once(server, device, random)
            dead += 1
            told(dead)
            device.set(kill_in=0)
            if dead < kills and random.random() < 0.1:
                device.kill_at(random.choice((disk.OPEN, disk.WRITE)), random.randint(1, 15))
            try:
                server.start()
            except DidNotServe:
                while_starting += 1
                dead += 1
                device.set(kill_in=0)
                server.start()
    assert server.stop() == 0, server.said()
    ledger = callers.ledger
    return Killed(dead, at_operations, while_starting, audit(server.data, ledger.scores(), ledger.decisions))


def _kill_once(server: Server, device: Disk, random: Random) -> bool:
    """One death; whether it came at a chosen operation."""
    if random.random() < 0.3:
        server.wait(random.uniform(0.05, 0.8))
        server.kill()
        return False
    kind = random.choice(list(MOST_OPERATIONS))
    device.kill_at(kind, random.randint(1, MOST_OPERATIONS[kind]))
    if server.wait(_PATIENCE_S):
        return True
    server.kill()
    return False
