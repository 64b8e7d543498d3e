"""An hour at a constant load over the wire: does the server's memory grow?

Callers play episodes of 25 turns, each with an outcome that is learned, at a given number of decisions a second. The
server runs in a process of its own with its journal on disk. Memory comes and goes with each snapshot, so each tenth of
the time after the warm-up is summed up by the median of its samples; growth is from the first of them to the last.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import grpc

from benchmarks.arena.progress import progress_bar
from benchmarks.latency import TURNS_PER_EPISODE, request, server, where
from benchmarks.memory import resident_mib, turn_of
from sojourn.v1 import router_pb2, router_pb2_grpc

RESULT = Path(__file__).parent / "results" / "soak.json"
CALLERS = 16
SAMPLES = 500
TENTHS = 10


class Callers:
    """Plays at a constant rate; an episode's turns follow one another, as an agent's do."""

    def __init__(self, address: str, per_second: float) -> None:
        self._address = address
        self._pause_s = CALLERS / per_second
        self._template = request(held=False).SerializeToString()
        self.latencies_ms: list[float] = []
        self.episodes = 0

    async def play(self, until: float) -> None:
        """Until a moment of the monotonic clock."""
        async with grpc.aio.insecure_channel(self._address) as channel:
            stub = router_pb2_grpc.RouterServiceStub(channel)
            await asyncio.gather(*(self._caller(stub, number, until) for number in range(CALLERS)))

    async def _caller(self, stub: Any, number: int, until: float) -> None:
        due = time.monotonic() + number / CALLERS * self._pause_s
        while due < until:
            self.episodes += 1
            episode_id = f"soak-{self.episodes}"
            for turn in range(TURNS_PER_EPISODE):
                await asyncio.sleep(due - time.monotonic())
                due += self._pause_s
                started = time.perf_counter()
                await stub.Decide(turn_of(self._template, episode_id, turn), timeout=30.0)
                self.latencies_ms.append((time.perf_counter() - started) * 1e3)
            outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=(number % 10) / 10)
            await stub.ReportOutcome(outcome, timeout=30.0)


async def watch(pid: int, seconds: float) -> list[float]:
    """Resident memory of a process in MiB, SAMPLES times."""
    samples = list[float]()
    with progress_bar("soaking") as told:
        while len(samples) < SAMPLES:
            await asyncio.sleep(seconds / SAMPLES)
            samples.append(await asyncio.to_thread(resident_mib, pid))
            told(len(samples), SAMPLES)
    return samples


async def soak(address: str, pid: int, *, per_second: float, seconds: float) -> tuple[Callers, list[float]]:
    """Loads and watches."""
    callers = Callers(address, per_second)
    _, samples = await asyncio.gather(callers.play(time.monotonic() + seconds), watch(pid, seconds))
    return callers, samples


def summary(samples: list[float]) -> list[float]:
    """Medians of tenths."""
    size = len(samples) // TENTHS
    return [round(median(samples[start : start + size]), 1) for start in range(0, size * TENTHS, size)]


def main() -> None:
    """Soaks, prints, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="after the warm-up")
    parser.add_argument("--warm-up-minutes", type=float, default=6.0)
    parser.add_argument("--per-second", type=float, default=400.0, help="decisions")
    given = parser.parse_args()
    place = where(" ".join(["python -m benchmarks.soak", *sys.argv[1:]]))
    seconds = 60.0 * (given.minutes + given.warm_up_minutes)
    with server() as (address, position, pid):
        callers, samples = asyncio.run(soak(address, pid, per_second=given.per_second, seconds=seconds))
        records = position()
    tenths = summary(samples[round(SAMPLES * 60.0 * given.warm_up_minutes / seconds) :])
    result = {
        "soak_growth_mib": round(tenths[-1] - tenths[0], 1),
        "minutes": given.minutes,
        "decisions_per_second": round(len(callers.latencies_ms) / seconds),
        "episodes": callers.episodes,
        "records": records,
        "decide_p99_ms": round(quantiles(callers.latencies_ms, n=100)[98], 2),
        "resident_mib": tenths,
        **place,
    }
    print(json.dumps(result, indent=2))
    RESULT.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
