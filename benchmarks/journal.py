"""The three journals side by side: what does an append cost, and a look at an episode?

Each round does the same work with every journal in turn, so that a drifting machine moves all alike. Records are real
ones: a decision among six candidates with 30 features, an outcome. Appends run once alone and once with 16 threads,
which then share commits. SQLite and PostgreSQL (a server of its own, on a Unix socket, settings as installed) write to
the same disk; PostgreSQL has a leader beside it that gives the records their places meanwhile, as in service.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from functools import cache
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from benchmarks.latency import TURNS_PER_EPISODE, request, where
from sojourn.v1 import journal_pb2, router_pb2
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.hosts.home import open_for_writing
from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.router import Call
from sojourn_server.telemetry import Telemetry
from tests.hosts.server import PostgresServer, find_binaries

RESULT = Path(__file__).parent / "results" / "journal.json"
BASE = "sqlite"
THREADS = 16
Record = journal_pb2.JournalRecord
Operation = Callable[[Journal, str, int], object]


class Sample(NamedTuple):
    """One round of one operation on one journal: a second's worth, and times of one in microseconds."""

    rate: float
    p50_us: float
    p99_us: float


@cache
def real_decision() -> Record:
    """The record of a Decide, as the router writes it. For copying."""
    config = Config(server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(kind="memory"))
    with App.open(config, Telemetry.disabled()) as app:
        app.router.decide(request(held=False), Call(1_000))
        return app.journal.episode("default", "open")[0]


def append_decision(journal: Journal, name: str, number: int) -> None:
    """A fresh key, committed so that it survives a killed process."""
    record = Record()
    record.CopyFrom(real_decision())
    episode, turn = divmod(number, TURNS_PER_EPISODE)
    record.episode_id, record.decision.request.turn_index = f"decided-{name}-{episode}", turn
    journal.append(record)


def append_outcome(journal: Journal, name: str, number: int) -> None:
    """Another episode's end, synced."""
    episode_id = f"ended-{name}-{number}"
    body = journal_pb2.OutcomeRecord(request=router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=0.5))
    journal.append(Record(policy="default", episode_id=episode_id, outcome=body), durable=True)


def read_episode(journal: Journal, name: str, number: int) -> None:
    """All 25 decisions of an episode that was appended above, with 16 threads."""
    found = journal.episode("default", f"decided-{name}-0")
    if len(found) != TURNS_PER_EPISODE:
        raise RuntimeError(f"decided-{name}-0 has {len(found)} records")


class Row(NamedTuple):
    """One line of the table; `share` is its part of the given number of operations."""

    name: str
    operation: Operation
    threads: int
    share: float


ROWS = (
    Row("append a decision, alone", append_decision, 1, 0.25),
    Row(f"append a decision, {THREADS} threads", append_decision, THREADS, 1.0),
    Row("append a durable outcome, alone", append_outcome, 1, 0.1),
    Row(f"append a durable outcome, {THREADS} threads", append_outcome, THREADS, 0.5),
    Row("read an episode of 25 turns, alone", read_episode, 1, 0.1),
)


def measure(journal: Journal, row: Row, *, name: str, count: int) -> Sample:
    """Runs an operation `count` times, split among the threads; each thread has episodes of its own."""
    each = max(int(count * row.share) // row.threads, TURNS_PER_EPISODE)

    def work(thread: int) -> list[float]:
        times = []
        for number in range(each):
            started = time.perf_counter()
            row.operation(journal, f"{name}-{thread}", number)
            times.append(time.perf_counter() - started)
        return times

    started = time.perf_counter()
    with ThreadPoolExecutor(row.threads) as pool:
        times = sorted(t for part in pool.map(work, range(row.threads)) for t in part)
    wall_s = time.perf_counter() - started
    return Sample(len(times) / wall_s, times[len(times) // 2] * 1e6, times[int(len(times) * 0.99)] * 1e6)


@contextmanager
def journals() -> Iterator[dict[str, Journal]]:
    """All three, empty."""
    with ExitStack() as made:
        directory = Path(made.enter_context(tempfile.TemporaryDirectory()))
        server = made.enter_context(closing(PostgresServer(find_binaries())))
        yield {
            "memory": made.enter_context(closing(MemoryJournal())),
            "sqlite": made.enter_context(closing(SqliteJournal.open(directory))),
            "postgres": made.enter_context(open_for_writing(server.dsn("sojourn"))),
        }


def compare(rounds: int, count: int) -> dict[str, dict[str, list[Sample]]]:
    """Samples by row and journal; the first round warms up and is not counted."""
    samples: dict[str, dict[str, list[Sample]]] = {row.name: {} for row in ROWS}
    with journals() as opened:
        for round_ in range(-1, rounds):
            for row in ROWS:
                for kind, journal in opened.items():
                    # What is read was appended in the same round, by as many threads as there are.
                    name = f"{round_}-{THREADS if row.operation is read_episode else row.threads}"
                    sample = measure(journal, row, name=name, count=count)
                    if round_ >= 0:
                        samples[row.name].setdefault(kind, []).append(sample)
    return samples


def report(samples: dict[str, dict[str, list[Sample]]], command: str) -> dict[str, Any]:
    """Medians over rounds; ratios to SQLite are taken round by round, with their spread."""
    table: dict[str, Any] = {}
    for row, by_kind in samples.items():
        table[row] = {
            kind: {
                "rate": round(median(s.rate for s in found)),
                "p50_us": round(median(s.p50_us for s in found)),
                "p99_us": round(median(s.p99_us for s in found)),
                f"p50_over_{BASE}": [
                    round(r, 2) for r in sorted(a.p50_us / b.p50_us for a, b in zip(found, by_kind[BASE], strict=True))
                ],
            }
            for kind, found in by_kind.items()
        }
    return {"record_bytes": real_decision().ByteSize(), "rows": table, **where(command)}


def main() -> None:
    """Measures, prints the table, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--count", type=int, default=4_000, help="decisions of the longest row, a round")
    given = parser.parse_args()
    configure_logs("error", "json")
    result = report(
        compare(given.rounds, given.count),
        f"python -m benchmarks.journal --rounds {given.rounds} --count {given.count}",
    )
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
