"""Two workers against one, on one port and one journal: how far does a second core carry?

Both services run all the while, and h2load drives them in turn, over eight connections that the kernel spreads over the
workers; the idle one costs nothing. As in `latency.py` every Decide is a scored decision point of a fresh key that is
answered after its commit, and the journal must have grown by exactly the requests that were counted. On two cores the
workers share them with h2load and the learner's process, so the ratio is a lower bound for machines with more.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from benchmarks.latency import DECIDE, give_fresh_keys, load, request, where
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.hosts.workers import workers
from sojourn_server.journal.sqlite import SqliteJournal

RESULT = Path(__file__).parent / "results" / "workers.json"
CONNECTIONS = 8


def decider(config: Config) -> App:
    """A decider that gives each request a fresh key."""
    give_fresh_keys()
    return App.open(config)


def serve(directory: str, count: int) -> None:
    """Runs workers until standard input closes; prints their address."""
    config = Config(
        server=ServerConfig(address="127.0.0.1:0", workers=count), journal=JournalConfig(directory=Path(directory))
    )
    prepare = partial(configure_logs, "warning", "json")
    prepare("")  # standard output is for the address
    if count == 1:
        with decider(config) as app:
            print(app.address, flush=True)
            sys.stdin.read()
        return
    with workers(config, decider, prepare) as started:
        print(started.address, flush=True)
        sys.stdin.read()


@contextmanager
def serving(count: int) -> Iterator[tuple[str, Path]]:
    """Address and journal of a service of so many workers."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.workers", "--serve", directory, "--count", str(count)]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
            assert process.stdin is not None
            assert process.stdout is not None
            yield process.stdout.readline().strip(), Path(directory)
            process.stdin.close()
            process.wait(timeout=60)


def measured(address: str, directory: Path, *, requests: int, concurrency: int) -> float:
    """Decides a second; raises RuntimeError if not each of them is in the journal."""
    journal = SqliteJournal.open_read_only(directory)
    before = journal.position()
    payload = request(held=False).SerializeToString()
    qps = load(address, DECIDE, payload, requests=requests, concurrency=concurrency, connections=CONNECTIONS).qps
    added = journal.position() - before
    journal.close()
    if added != requests:
        raise RuntimeError(f"{requests} requests made {added} records")
    return qps


def main() -> None:
    """Measures, prints, writes the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.workers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=8_000)
    parser.add_argument("--concurrency", type=int, default=4, help="calls in flight by connection")
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--count", type=int, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.serve, given.count)
    place = where(" ".join(["python -m benchmarks.workers", *sys.argv[1:]]))
    counts = (1, 2)
    found: dict[int, list[float]] = {count: [] for count in counts}
    with ExitStack() as opened:
        services = {count: opened.enter_context(serving(count)) for count in counts}
        for round_ in range(-1, given.rounds):
            for count, (address, directory) in services.items():
                qps = measured(address, directory, requests=given.requests, concurrency=given.concurrency)
                if round_ >= 0:
                    found[count].append(qps)
    ratios = [two / one for one, two in zip(found[1], found[2], strict=True)]
    result = {
        "two_over_one_qps": round(statistics.median(ratios), 2),
        "ratios": [round(ratio, 2) for ratio in sorted(ratios)],
        "qps": {str(count): round(statistics.median(qps)) for count, qps in found.items()},
        "calls_in_flight": CONNECTIONS * given.concurrency,
        "cores": os.cpu_count(),
    } | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    return None


if __name__ == "__main__":
    main()
