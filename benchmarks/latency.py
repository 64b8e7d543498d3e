"""Decide against an empty echo, on the same server, in the same run.

The server runs in a process of its own; h2load (Debian's nghttp2-client), a load generator in C, drives both methods
in turn, round after round, so that a drifting machine moves both alike. h2load sends one fixed payload; the
benchmark's servicer gives each request a fresh key and another tool type before it goes the ordinary way, so every
measured Decide is a scored decision point that is answered after its commit. Errors are ruled out by the journal: it
must have grown by exactly the requests that were counted.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import which
from typing import Any, NamedTuple

import grpc

from sojourn.v1 import router_pb2, types_pb2

RESULT = Path(__file__).parent / "results" / "latency.json"
ECHO = "/benchmark.Echo/Echo"
DECIDE = "/sojourn.v1.RouterService/Decide"
TOOL_TYPES = ("search", "code", "reasoning", "file_io")
TURNS_PER_EPISODE = 25
FEATURES = 30


class Sample(NamedTuple):
    """One h2load run: requests per second, and percentiles of the time of a request in microseconds."""

    qps: float
    p50_us: float
    p99_us: float


def request(held: bool) -> router_pb2.DecideRequest:
    """30 features, the registry's six candidates; the servicer below fills in the key."""
    context = types_pb2.Context(
        tool_type="code", task_type="benchmark", prompt_tokens=12_000, expected_output_tokens=400
    )
    for i in range(FEATURES):
        context.features[f"feature_{i}"] = 0.1 * i
    key = "held" if held else "open"
    return router_pb2.DecideRequest(episode_id=key, turn_index=0, context=context)


def set_work(context: types_pb2.Context, turn: int, phases: int = TURNS_PER_EPISODE) -> None:
    """The turn's tool type and phase. An episode of as many phases as turns comes back to none: each choice is open."""
    context.tool_type, context.phase = TOOL_TYPES[turn % len(TOOL_TYPES)], f"phase-{turn % phases}"


def serve(directory: str, logs: bool) -> None:
    """Runs the real service, with the echo and the fresh keys added, until standard input closes."""
    from sojourn_server.app import App
    from sojourn_server.cli.logs import configure_logs
    from sojourn_server.config import Config, JournalConfig, LogConfig, ServerConfig

    give_fresh_keys()
    configure_logs("info", "json")
    config = Config(
        server=ServerConfig(address="127.0.0.1:0"),
        journal=JournalConfig(directory=Path(directory)),
        log=LogConfig(decisions=logs),
    )
    with App.open(config) as app:
        app.add_handler(_echo_handler())
        print(app.address, flush=True)
        for line in sys.stdin:
            if line.strip() == "position":
                print(app.journal.position(), flush=True)


def give_fresh_keys() -> None:
    """Stamps requests in this process, which only measures, before they go the ordinary way."""
    from sojourn_server.rpc.server import RouterService

    stamp = _fresh_keys()
    ordinary = RouterService.Decide

    def decide(self: RouterService, request: router_pb2.DecideRequest, context: Any) -> router_pb2.DecideResponse:
        stamp(request)
        return ordinary(self, request, context)

    RouterService.Decide = decide  # type: ignore[method-assign]  # see above


def _fresh_keys() -> Any:
    """Each server thread plays episodes of its own, turn by turn; a held turn keeps its phase."""
    local = threading.local()

    def stamp(request: router_pb2.DecideRequest) -> None:
        if request.episode_id not in ("open", "held"):  # somebody else's
            return
        turn = local.turn = getattr(local, "turn", -1) + 1
        episode, index = divmod(turn, TURNS_PER_EPISODE)
        if request.episode_id != "held":
            set_work(request.context, index)
        request.episode_id = f"{request.episode_id}-{os.getpid()}-{threading.get_ident()}-{episode}"
        request.turn_index = index

    return stamp


def _echo_handler() -> Any:
    async def echo(request: bytes, context: Any) -> bytes:
        return request

    return grpc.method_handlers_generic_handler("benchmark.Echo", {"Echo": grpc.unary_unary_rpc_method_handler(echo)})


class Serving(NamedTuple):
    """A server in a process of its own; `position()` asks its journal."""

    address: str
    position: Callable[[], int]
    pid: int


@contextmanager
def server(
    *, logs: bool = False, environment: dict[str, str] | None = None, cores: Collection[int] = ()
) -> Iterator[Serving]:
    """A process that serves, on all cores or some."""
    with tempfile.TemporaryDirectory() as directory:
        command = [sys.executable, "-m", "benchmarks.latency", "--serve", directory, *(["--logs"] if logs else [])]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env={**os.environ, **(environment or {})},
            )
            if cores:
                os.sched_setaffinity(process.pid, cores)
            assert process.stdin is not None
            assert process.stdout is not None
            ask, told = process.stdin, process.stdout

            def position() -> int:
                ask.write("position\n")
                ask.flush()
                return int(told.readline())

            yield Serving(told.readline().strip(), position, process.pid)
            ask.close()
            process.wait(timeout=30)


def load(address: str, path: str, payload: bytes, *, requests: int, concurrency: int, connections: int = 1) -> Sample:
    """One h2load run of unary gRPC calls; `concurrency` is by connection."""
    command = ["-c", str(connections), "-m", str(concurrency)]
    command += ["-H", "content-type: application/grpc", "-H", "te: trailers", f"http://{address}{path}"]
    return run_h2load(command, b"\0" + len(payload).to_bytes(4, "big") + payload, requests)


def run_h2load(arguments: list[str], body: bytes, requests: int) -> Sample:
    """One run; raises RuntimeError if a request was not answered with 200."""
    with tempfile.TemporaryDirectory() as directory:
        sent, log = Path(directory, "body"), Path(directory, "log")
        sent.write_bytes(body)
        command = ["h2load", "-n", str(requests), "-t", "1", "-d", str(sent), f"--log-file={log}", *arguments]
        subprocess.run(command, check=True, capture_output=True)
        rows = [line.split() for line in log.read_text().splitlines()]
    starts, times = [int(r[0]) for r in rows], [int(r[2]) for r in rows]
    if len(rows) != requests or any(r[1] != "200" for r in rows):
        raise RuntimeError(f"h2load finished {len(rows)} of {requests} requests")
    wall_us = max(s + t for s, t in zip(starts, times, strict=True)) - min(starts)
    ordered = sorted(times)
    return Sample(requests / wall_us * 1e6, ordered[requests // 2], ordered[int(requests * 0.99)])


class Paired(NamedTuple):
    """Decide and echo, measured in turn: ratios round by round, and the plain samples."""

    decide: list[Sample]
    echo: list[Sample]

    def ratio(self, field: str) -> list[float]:
        """Decide over echo, per round."""
        return [getattr(d, field) / getattr(e, field) for d, e in zip(self.decide, self.echo, strict=True)]


def compare(
    *, rounds: int, requests: int, concurrency: int, held: bool = False, logs: bool = False, **options: Any
) -> Paired:
    """Runs both sides in turn on one server, after a warm-up that is not counted."""
    payload = request(held).SerializeToString()
    with server(logs=logs, **options) as (address, position, _):
        decided, echoed = [], []
        for round_ in range(-1, rounds):
            before = position()
            one = load(address, DECIDE, payload, requests=requests, concurrency=concurrency)
            if position() - before != requests:
                raise RuntimeError(f"{requests} requests made {position() - before} records")
            other = load(address, ECHO, payload, requests=requests, concurrency=concurrency)
            if round_ >= 0:
                decided.append(one)
                echoed.append(other)
    return Paired(decided, echoed)


def measure(rounds: int, requests: int) -> dict[str, Paired]:
    """All rows of the table."""

    from tests.telemetry.sink import Sink

    rows = {
        "open, c=1": compare(rounds=rounds, requests=requests // 4, concurrency=1),
        "open, c=16": compare(rounds=rounds, requests=requests, concurrency=16),
        "held, c=16": compare(rounds=rounds, requests=requests, concurrency=16, held=True),
    }
    for share in ("0.05", "1.0"):
        with closing(Sink()) as sink:
            environment = {
                "OTEL_EXPORTER_OTLP_ENDPOINT": sink.endpoint,
                "OTEL_TRACES_SAMPLER": "parentbased_traceidratio",
                "OTEL_TRACES_SAMPLER_ARG": share,
            }
            rows[f"open, JSON logs, {float(share):.0%} spans, c=16"] = compare(
                rounds=rounds, requests=requests, concurrency=16, logs=True, environment=environment
            )
    return rows


def where(command: str) -> dict[str, str]:
    """What a figure needs beside it: machine, commit, command, date."""
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], capture_output=True, text=True, check=False)
    return {
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, grpcio {grpc.__version__}",
        "commit": commit.stdout.strip(),
        "command": command,
        "date": datetime.now(UTC).date().isoformat(),
    }


def report(rows: dict[str, Paired], command: str) -> dict[str, Any]:
    """The results file: medians of ratios with their spread, and where they were measured."""
    median = statistics.median
    table: dict[str, dict[str, Any]] = {
        name: {
            "decide_qps": round(median(s.qps for s in pair.decide)),
            "echo_qps": round(median(s.qps for s in pair.echo)),
            "qps_ratio": [round(r, 3) for r in sorted(pair.ratio("qps"))],
            "p50_ratio": [round(r, 3) for r in sorted(pair.ratio("p50_us"))],
            "p99_ratio": [round(r, 3) for r in sorted(pair.ratio("p99_us"))],
        }
        for name, pair in rows.items()
    }
    five, all_spans = (table[n] for n in table if "spans" in n)
    return {
        "decide_over_echo_qps": median(table["open, c=16"]["qps_ratio"]),
        "decide_over_echo_p50_c1": median(table["open, c=1"]["p50_ratio"]),
        "decide_logs_spans5_over_echo_qps": median(five["qps_ratio"]),
        "decide_spans100_over_echo_qps": median(all_spans["qps_ratio"]),
        "decide_held_over_echo_qps": median(table["held, c=16"]["qps_ratio"]),
        "rows": table,
        **where(command),
    }


def main() -> None:
    """Measures, prints the table, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=5_000)
    parser.add_argument("--quick", action="store_true", help="one row only, no results file")
    parser.add_argument("--serve", metavar="DIR", help=argparse.SUPPRESS)
    parser.add_argument("--logs", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        serve(given.serve, given.logs)
        return
    if which("h2load") is None:
        sys.exit("h2load is needed: apt-get install nghttp2-client")
    if given.quick:
        pair = compare(rounds=given.rounds, requests=given.requests, concurrency=16)
        print(json.dumps({"qps": sorted(pair.ratio("qps")), "decide": pair.decide, "echo": pair.echo}))
        one = compare(rounds=given.rounds, requests=given.requests // 4, concurrency=1)
        print(json.dumps({"p50_c1": sorted(one.ratio("p50_us")), "decide": one.decide, "echo": one.echo}))
        return
    results = report(measure(given.rounds, given.requests), "make bench")
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(results, indent=2) + "\n")
    print(json.dumps(results, indent=2))


if __name__ == "__main__":
    main()
