"""`python -m tests.torture`: the long run behind docs/promises.md; writes benchmarks/results/trust.json.

Each part can be run alone and adds its figures to the file; what was measured earlier stays, with its own commit.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from benchmarks.arena.progress import progress_bar
from benchmarks.latency import where
from tests.ports import find_unused_port
from tests.torture.audit import audit
from tests.torture.fuzz import fuzz
from tests.torture.kills import kill_again_and_again
from tests.torture.machine import Service
from tests.torture.power import lose_power
from tests.torture.service import Server

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
RESULT = RESULTS / "trust.json"
ELSEWHERE = {"overload": "overload_p99_ratio", "ope": "ope_coverage", "soak": "soak_growth_mib"}
"""Figures that other benchmarks find, by the names of their results."""
ADMIN_SHARE = 0.3
Told = Callable[[int], None]


def kills(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Kills a server under load, `count` times."""
    with TemporaryDirectory() as directory:
        killed = kill_again_and_again(Path(directory).resolve(), find_unused_port(), kills=count, seed=seed, told=told)
    found = killed.findings
    return {
        "kills": killed.kills,
        "kills_at_operations": killed.at_operations,
        "kills_while_starting": killed.while_starting,
        "outcomes_acknowledged": found.outcomes,
        "outcomes_lost": found.lost_outcomes,
        "decisions_lost": found.lost_decisions,
        "records_repeated": found.repeated,
        "outcomes_not_learned_once": found.not_learned_once,
        "replay_max_abs_difference": found.replay_max_abs_difference,
    }


def power_losses(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Takes the power away at `count` moments of a run."""
    with TemporaryDirectory() as directory:
        lost = lose_power(
            Path(directory).resolve(), find_unused_port(), losses=count, seconds=20.0, seed=seed, told=told
        )
    return {
        "power_losses": lost.losses,
        "operations_logged": lost.operations,
        "outcomes_lost_to_power": lost.lost_outcomes,
        "power_losses_not_sound": sum(not found.sound for found in lost.findings),
    }


def stateful_steps(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Drives the service by `count` random steps against the reference model."""
    quiet = settings(max_examples=20, stateful_step_count=50, database=None, deadline=None)
    while Service.steps_taken < count:
        run_state_machine_as_test(hypothesis.seed(seed + Service.steps_taken)(Service), settings=quiet)
        told(min(Service.steps_taken, count))
    return {"stateful_steps": Service.steps_taken, "stateful_decisions": Service.decided}


def fuzz_inputs(count: int, seed: int, told: Told) -> dict[str, Any]:
    """Sends `count` odd messages to a live server, and some to another one whose administrators are odd as well."""
    with TemporaryDirectory() as directory:
        server = Server(Path(directory).resolve(), find_unused_port())
        server.start()
        first = fuzz(server.address, inputs=count // 10, seed=seed + 1)
        warm_mib = server.resident_mib()
        fuzzed = fuzz(server.address, inputs=count, seed=seed, told=told)
        growth_mib = server.resident_mib() - warm_mib
        faults = [*first.faults, *fuzzed.faults, *_left_unsound(server)]
    with TemporaryDirectory() as directory:
        server = Server(Path(directory).resolve(), find_unused_port())
        server.start()
        admin = fuzz(server.address, inputs=count // 50, seed=seed + 2, admin_share=ADMIN_SHARE)
        faults += [*admin.faults, *_left_unsound(server)]
    for fault in faults[:20]:
        print(fault, file=sys.stderr)
    return {
        "fuzz_inputs": first.inputs + fuzzed.inputs + admin.inputs,
        "fuzz_crashes": len(faults),
        "fuzz_growth_mib": round(growth_mib, 1),
        "fuzz_statuses": fuzzed.statuses,
        "fuzz_statuses_with_administrators": admin.statuses,
    }


def _left_unsound(server: Server) -> Iterator[str]:
    """Stops a server; what it leaves that it should not."""
    if exit_code := server.stop():
        yield f"exit code {exit_code}: {server.said()}"
    findings = audit(server.data, {})
    if findings.replay_max_abs_difference or findings.repeated:
        yield str(findings)


PARTS = {
    "kills": (kills, 1_000),
    "power-losses": (power_losses, 200),
    "stateful-steps": (stateful_steps, 50_000),
    "fuzz-inputs": (fuzz_inputs, 1_000_000),
}
"""What can be done, and how much of it by default."""


def main() -> None:
    """Runs the parts asked for and writes what they found."""
    parser = argparse.ArgumentParser(prog="python -m tests.torture", description=__doc__)
    for name, (part, count) in PARTS.items():
        parser.add_argument(f"--{name}", type=int, metavar="N", help=f"{part.__doc__} Alone: {count}")
    parser.add_argument("--seed", type=int, default=1_000, help="what chance begins with")
    given = parser.parse_args()
    asked = {name: getattr(given, name.replace("-", "_")) for name in PARTS}
    if not any(asked.values()):
        asked = {name: count for name, (_, count) in PARTS.items()}
    for name, count in asked.items():
        if count:
            place = where(" ".join(["python -m tests.torture", *sys.argv[1:]]))
            with progress_bar(name) as told:
                found = PARTS[name][0](count, given.seed, partial(_tell, told, count))
            _write(name, found, place)


def _tell(told: Callable[[int, int], None], of: int, done: int) -> None:
    told(done, of)


def _write(name: str, found: dict[str, Any], place: dict[str, Any]) -> None:
    """Adds a part's figures to the file, those found elsewhere too, and where they were seen."""
    kept = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    ran = kept.get("ran", {}) | {name: place}
    for other, figure in ELSEWHERE.items():
        there = json.loads((RESULTS / f"{other}.json").read_text())
        kept[figure] = there[figure]
        ran[other] = {key: there[key] for key in place}
    RESULT.write_text(json.dumps(kept | found | {"ran": ran}, indent=2) + "\n")
    print(json.dumps({name: found}, indent=2))


if __name__ == "__main__":
    main()
