"""Three times the sustainable load for a minute: what becomes of the calls that are accepted, and how soon is it over?

The real service runs in a process of its own, on one core; h2load and a few probing callers share the other. Decisions
carry the clients' default deadline. The sustainable load is the first, in steps downwards from what 16 calls in flight
get, at which no probe is refused or late. Stretches at one and at three times that load take turns, so that a drifting
machine moves both alike. h2load cannot tell a refusal from an answer, so latency is that of the probes, real callers
who decide and report outcomes all the while: only accepted calls count, others are repeated when RetryInfo says. At the
end every acknowledged outcome must be in the journal.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from shutil import which
from typing import Any

import grpc
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from benchmarks.arena.progress import progress_bar
from benchmarks.latency import DECIDE, load, request, server, where
from sojourn.v1 import admin_pb2, admin_pb2_grpc, router_pb2, router_pb2_grpc, types_pb2

RESULT = Path(__file__).parent / "results" / "overload.json"
STEPS = tuple(0.95 - 0.05 * step for step in range(16))
"""Shares of the capacity that are tried for the sustainable load."""
STEP_S = 5
DEADLINE_MS = 50
"""The clients' default for a decision."""
PROBES = 4
PROBE_PAUSE_S = 0.02
LEARNER_BATCH_S = 1.0
"""The default of learner.publish_interval_ms: the longest that a batch is gathered."""
GIVE_UP_S = 60.0


_NO_ROOM = {grpc.StatusCode.RESOURCE_EXHAUSTED, grpc.StatusCode.CANCELLED}
"""CANCELLED: what gRPC's core makes of a call that it has no room for, before the server sees it."""


@dataclass
class Told:
    """What the probes were told in one stretch: latencies of accepted calls in ms, refusals by their reason."""

    decide_ms: list[float] = field(default_factory=list)
    outcome_ms: list[float] = field(default_factory=list)
    refusals: Counter[str] = field(default_factory=Counter)


class Probe(threading.Thread):
    """A caller who decides and reports outcomes, one call at a time, and does as RetryInfo says."""

    def __init__(self, stub: router_pb2_grpc.RouterServiceStub, name: str) -> None:
        super().__init__(name=name, daemon=True)
        self._stub = stub
        self.told = Told()  # replaced by whoever starts another stretch
        self.acknowledged: list[str] = []
        self.done = threading.Event()

    def run(self) -> None:
        """Plays until told to stop."""
        number = 0
        while not self.done.is_set():
            episode_id = f"{self.name}-{number}"
            number += 1
            context = types_pb2.Context(tool_type="code", prompt_tokens=12_000)
            decide = router_pb2.DecideRequest(episode_id=episode_id, turn_index=0, context=context)
            self.told.decide_ms.append(self.accepted(self._stub.Decide, decide, timeout_s=DEADLINE_MS / 1e3))
            outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=0.5)
            self.told.outcome_ms.append(self.accepted(self._stub.ReportOutcome, outcome))
            self.acknowledged.append(episode_id)
            time.sleep(PROBE_PAUSE_S)

    def accepted(self, call: Callable[..., Any], message: Any, *, timeout_s: float = GIVE_UP_S) -> float:
        """Repeats a call until it is accepted; milliseconds of the attempt that was."""
        while True:
            started = time.perf_counter()
            try:
                call(message, timeout=timeout_s)
            except grpc.RpcError as error:
                reason, wait_s = _refused(error)
                self.told.refusals[reason] += 1
                time.sleep(wait_s)
            else:
                return (time.perf_counter() - started) * 1e3


def _refused(error: grpc.RpcError) -> tuple[str, float]:
    """Why, and seconds until one may try again; raises the error if it is not for want of room."""
    if isinstance(error, grpc.Call) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        return "late", PROBE_PAUSE_S
    if not isinstance(error, grpc.Call) or error.code() not in _NO_ROOM:
        raise error
    status = rpc_status.from_call(error)
    info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
    for detail in status.details if status else ():
        if not detail.Unpack(retry):
            detail.Unpack(info)
    return info.reason or f"{error.code().name} by gRPC itself", retry.retry_delay.ToMilliseconds() / 1e3 or 0.2


@contextmanager
def probing(address: str) -> Iterator[list[Probe]]:
    """Probes at work, each over a connection of its own."""
    with grpc.insecure_channel(address) as channel:
        probes = [Probe(router_pb2_grpc.RouterServiceStub(channel), f"probe-{n}") for n in range(PROBES)]
        for probe in probes:
            probe.start()
        yield probes
        for probe in probes:
            probe.done.set()
        for probe in probes:
            probe.join(GIVE_UP_S)


def stretch(address: str, probes: list[Probe], *, per_second: float, seconds: int) -> Told:
    """A constant load for a while; what all probes were told meanwhile."""
    for probe in probes:
        probe.told = Told()
    payload = request(held=False).SerializeToString()
    with tempfile.TemporaryDirectory() as directory:
        body = Path(directory, "body")
        body.write_bytes(b"\0" + len(payload).to_bytes(4, "big") + payload)
        command = ["h2load", "-D", str(seconds), "-c", "4", "-m", "1000", "-t", "1", f"--rps={per_second / 4:.0f}"]
        command += ["-H", "content-type: application/grpc", "-H", "te: trailers", "-d", str(body)]
        command += ["-H", f"grpc-timeout: {DEADLINE_MS}m"]
        subprocess.run([*command, f"http://{address}{DECIDE}"], check=True, capture_output=True)
    told = Told()
    for probe in probes:
        told.decide_ms += probe.told.decide_ms
        told.outcome_ms += probe.told.outcome_ms
        told.refusals += probe.told.refusals
    return told


def recovered_s(address: str, name: str, usual_ms: float) -> tuple[float, float]:
    """Seconds until a Decide is accepted within the usual latency, and until the newest outcome has been learned."""
    started = time.perf_counter()
    with grpc.insecure_channel(address) as channel:
        stub = router_pb2_grpc.RouterServiceStub(channel)
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        probe = Probe(stub, name)
        while probe.accepted(stub.Decide, router_pb2.DecideRequest(episode_id=name, turn_index=0)) > usual_ms:
            pass
        answered = time.perf_counter() - started
        stub.ReportOutcome(router_pb2.ReportOutcomeRequest(episode_id=name, score=0.5), timeout=GIVE_UP_S)
        newest = _newest_position(admin, name)
        while _newest_snapshot(admin) < newest:
            time.sleep(0.02)
        return answered, time.perf_counter() - started


def _newest_position(admin: admin_pb2_grpc.AdminServiceStub, name: str) -> int:
    episode = admin.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id=name), timeout=GIVE_UP_S)
    return max(record.position for record in episode.records)


def _newest_snapshot(admin: admin_pb2_grpc.AdminServiceStub) -> int:
    listed = admin.ListSnapshots(admin_pb2.ListSnapshotsRequest(), timeout=GIVE_UP_S)
    return max((snapshot.policy_version for snapshot in listed.snapshots), default=0)


def outcomes_in_journal(address: str) -> set[str]:
    """Episodes of all outcomes that the journal has."""
    with grpc.insecure_channel(address) as channel:
        admin = admin_pb2_grpc.AdminServiceStub(channel)
        return {
            answer.record.episode_id
            for answer in admin.ExportJournal(admin_pb2.ExportJournalRequest())
            if answer.record.HasField("outcome")
        }


def main() -> None:
    """Measures, prints, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=20, help="of each stretch; three rounds make a minute")
    given = parser.parse_args()
    if which("h2load") is None:
        sys.exit("h2load is needed: apt-get install nghttp2-client")
    result = measure(given.rounds, given.seconds) | where(" ".join(["python -m benchmarks.overload", *sys.argv[1:]]))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def measure(rounds: int, seconds: int) -> dict[str, Any]:
    """Rounds of one and of three times the sustainable load."""
    cores = sorted(os.sched_getaffinity(0))
    with server(cores={cores[0]}) as (address, position, _):
        os.sched_setaffinity(0, {cores[-1]})
        payload = request(held=False).SerializeToString()
        capacity = max(load(address, DECIDE, payload, requests=8_000, concurrency=16).qps for _ in range(3))
        rows, recoveries = [], []
        with progress_bar("overload") as bar, probing(address) as probes:
            once = sustainable(address, probes, capacity)
            for done in range(rounds):
                pair = []
                for times in (1, 3):
                    before = position()
                    offered = times * once
                    told = stretch(address, probes, per_second=offered, seconds=seconds)
                    pair.append(row(told, offered, (position() - before) / seconds))
                    print(pair[-1], file=sys.stderr)
                rows.append(pair)
                recoveries.append(recovered_s(address, f"after-{done}", pair[0]["decide_p99_ms"]))
                bar(done + 1, rounds)
        acknowledged = {episode for probe in probes for episode in probe.acknowledged}
        lost = len(acknowledged - outcomes_in_journal(address))
    ratios = sorted(three["decide_p99_ms"] / one["decide_p99_ms"] for one, three in rows)
    answered, learned = (statistics.median(each) for each in zip(*recoveries, strict=True))
    return {
        "overload_p99_ratio": round(statistics.median(ratios), 2),
        "overload_p99_ratios": [round(ratio, 2) for ratio in ratios],
        "recovery_over_learner_batch": round(learned / LEARNER_BATCH_S, 2),
        "answered_again_after_s": round(answered, 3),
        "outcomes_acknowledged_under_load": len(acknowledged),
        "outcomes_lost_under_load": lost,
        "deadline_ms": DEADLINE_MS,
        "capacity_per_second": round(capacity),
        "rounds": [{"one": one, "three": three} for one, three in rows],
    }


def sustainable(address: str, probes: list[Probe], capacity: float) -> float:
    """Calls a second at which no probe is refused or late."""
    for share in STEPS:
        if not stretch(address, probes, per_second=share * capacity, seconds=STEP_S).refusals:
            return share * capacity
    sys.exit("no load is sustainable: is the machine busy?")


def row(told: Told, offered: float, records_per_second: float) -> dict[str, Any]:
    """One stretch in figures."""
    return {
        "offered_per_second": round(offered),
        "journaled_per_second": round(records_per_second),
        "accepted_probes": len(told.decide_ms),
        "refused_probes": dict(told.refusals),
        "decide_p50_ms": round(statistics.median(told.decide_ms), 2),
        "decide_p99_ms": round(statistics.quantiles(told.decide_ms, n=100)[98], 2),
        "outcome_p50_ms": round(statistics.median(told.outcome_ms), 2),
        "outcome_p99_ms": round(statistics.quantiles(told.outcome_ms, n=100)[98], 2),
    }


if __name__ == "__main__":
    main()
