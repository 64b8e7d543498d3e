"""Takes the power away at any moment of a run, and looks at what the disk may then hold.

One real run is logged; each loss is one moment of it with one draw of which unsynced sectors and names arrived. The
run has kills and restarts in it, so that the log is cut, recovered and carried over as well.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from tempfile import TemporaryDirectory

from tests.torture import disk
from tests.torture.audit import Findings, audit
from tests.torture.disk import Disk, Wreck
from tests.torture.service import Callers, Ledger, Server

CALLERS = ("caller-0", "caller-1", "caller-2")
_DECIDING = {disk.SYNC, disk.RENAME, disk.UNLINK, disk.CREATE}


@dataclass(frozen=True)
class PowerLosses:
    """How many losses were looked at, what was found in each, and how many acknowledged outcomes that concerned."""

    losses: int
    operations: int
    findings: tuple[Findings, ...]

    @property
    def lost_outcomes(self) -> int:
        """Acknowledged outcomes that any loss took away."""
        return sum(found.lost_outcomes for found in self.findings)


def lose_power(
    directory: Path, port: int, *, losses: int, seconds: float, seed: int, told: Callable[[int], None] = lambda _: None
) -> PowerLosses:
    """Logs a run of `seconds`, then takes the power away at `losses` moments of it."""
    ledger, under, log = _run(directory, port, seconds=seconds)
    wreck = Wreck(log, under)
    random = Random(seed)
    findings = []
    for number, moment in enumerate(sorted(_moments(wreck, random, losses))):
        known = ledger.scores(before_ns=wreck.at_ns(moment))
        with TemporaryDirectory(dir=directory) as salvaged:
            wreck.salvage(moment, Path(salvaged), seed=seed + number)
            findings.append(audit(Path(salvaged), known))
        told(number + 1)
    return PowerLosses(losses, len(wreck), tuple(findings))


def _run(directory: Path, port: int, *, seconds: float) -> tuple[Ledger, Path, Path]:
    device = Disk(directory / "data", directory / "workshop", logged=True)
    server = Server(directory, port, disk=device)
    server.start()
    with Callers(server.address, names=CALLERS, pause_s=0.01) as callers:
        for ending in (server.kill, server.stop):
            time.sleep(seconds / 3)
            ending()
            server.start()
        time.sleep(seconds / 3)
    assert server.stop() == 0, server.said()
    assert device.log is not None
    return callers.ledger, server.data, device.log


def _moments(wreck: Wreck, random: Random, count: int) -> list[int]:
    """Half of them anywhere, half just before or after an operation that decides: a sync, a rename, a removal."""
    deciding = [i for i, operation in enumerate(wreck.operations) if operation.kind in _DECIDING]
    anywhere = [random.randrange(1, len(wreck)) for _ in range(count - count // 2)]
    near = [min(random.choice(deciding) + random.randint(0, 1), len(wreck) - 1) for _ in range(count // 2)]
    return anywhere + near
