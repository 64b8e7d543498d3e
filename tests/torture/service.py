"""The real server as a process that is killed and started again, and real callers who repeat what was not answered.

What callers were told is kept in their ledgers, with the time: that much must be in the journal afterwards.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf
from pathlib import Path
from random import Random
from typing import Any

import grpc

from benchmarks.memory import resident_mib
from sojourn.v1 import router_pb2, router_pb2_grpc, types_pb2
from tests.torture.disk import Disk

TOOL_TYPES = ("search", "code", "reasoning")
SOJOURN = Path(sys.executable).with_name("sojourn")
GIVE_UP_S = 60.0
RECONNECTS_SOON = (("grpc.max_reconnect_backoff_ms", 200),)
"""A killed server may live for less than a second: a channel that backs off for longer never meets it."""
_NOT_ANSWERED = {grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.CANCELLED}
"""CANCELLED: gRPC's answer to a call that reached a connection just as the server began to drain."""
_CONFIG = """
[server]
address = "{address}"
draw_secret = "drawn once"
[journal]
directory = "{data}"
[learner]
publish_outcomes = 3
publish_interval_ms = 50
"""


class DidNotServe(Exception):
    """The server ended, or did not answer in time; says what it wrote last."""


class Server:
    """`sojourn serve` on a fixed port, started as often as it is killed."""

    def __init__(self, directory: Path, port: int, *, disk: Disk | None = None, workers: int = 1) -> None:
        """`directory` holds its configuration, its log and, in `data`, its journal; `disk` stands before its files."""
        self._workers = workers
        self.data = directory / "data"
        self.address = f"127.0.0.1:{port}"
        self.log_path = directory / "server.log"
        self._config = directory / "sojourn.toml"
        self.point_to(self.data)
        self._environment = os.environ | dict(disk.environment()) if disk else None
        self._process: subprocess.Popen[bytes] | None = None

    def point_to(self, data: Path) -> None:
        """Keeps its journal in another directory from the next start on."""
        self.data = data
        self._config.write_text(_CONFIG.format(address=self.address, data=data))

    def start(self) -> None:
        """Starts it and returns once it answers. Raises DidNotServe."""
        with self.log_path.open("ab") as log:
            self._process = subprocess.Popen(
                [SOJOURN, "serve", "--config", self._config, "--workers", str(self._workers)],
                stdout=log,
                stderr=log,
                env=self._environment,
            )
        deadline = time.monotonic() + GIVE_UP_S
        while self.is_running and time.monotonic() < deadline:
            with grpc.insecure_channel(self.address, RECONNECTS_SOON) as channel:  # a channel may be slow to look again
                ready = grpc.channel_ready_future(channel)
                for _ in range(60):
                    try:
                        ready.result(timeout=0.1)
                        return
                    except grpc.FutureTimeoutError:
                        if not self.is_running:
                            break
        raise DidNotServe(f"exit code {self._process.poll()}: {self.said()}")

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process is not None and self._process.poll() is None

    def resident_mib(self) -> float:
        """Memory that it holds; 0 where the system has no /proc."""
        assert self._process is not None
        return resident_mib(self._process.pid) if Path("/proc").exists() else 0.0

    def said(self) -> str:
        """The end of its log."""
        return self.log_path.read_text(encoding="utf-8")[-4_000:]

    def kill(self) -> None:
        """SIGKILL: no handler runs, no buffer is flushed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def wait(self, timeout_s: float) -> bool:
        """Whether it ended by itself within a time."""
        assert self._process is not None
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return False
        return True

    def stop(self) -> int:
        """SIGTERM, for good; the exit code."""
        assert self._process is not None
        self._process.terminate()
        return self._process.wait(timeout=GIVE_UP_S)


@dataclass
class Ledger:
    """What was acknowledged: (score, monotonic ns) by episode, and the model by (episode, turn)."""

    outcomes: dict[str, tuple[float, int]] = field(default_factory=dict)
    decisions: dict[tuple[str, int], str] = field(default_factory=dict)

    def scores(self, before_ns: float = inf) -> dict[str, float]:
        """Scores by episode, of outcomes that were acknowledged before a moment."""
        return {episode: score for episode, (score, at_ns) in self.outcomes.items() if at_ns < before_ns}

    def add(self, other: Ledger) -> None:
        """Takes another's entries in."""
        self.outcomes.update(other.outcomes)
        self.decisions.update(other.decisions)


class Caller(threading.Thread):
    """Plays episodes until told to stop, and repeats every call until it is answered."""

    def __init__(self, address: str, name: str, *, pause_s: float = 0.0) -> None:
        """`name` makes its episodes' ids and its luck; it rests `pause_s` after every turn."""
        super().__init__(name=name, daemon=True)
        self._address = address
        self._pause_s = pause_s
        self.ledger = Ledger()
        self.done = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
        """Plays."""
        try:
            with grpc.insecure_channel(self._address, RECONNECTS_SOON) as channel:
                self._play(router_pb2_grpc.RouterServiceStub(channel))
        except BaseException as error:
            self.failure = error
            raise

    def _play(self, stub: router_pb2_grpc.RouterServiceStub) -> None:
        random, number = Random(self.name), 0
        while not self.done.is_set():
            episode_id = f"{self.name}-{number}"
            number += 1
            for turn in range(random.randint(1, 6)):
                context = types_pb2.Context(tool_type=random.choice(TOOL_TYPES), prompt_tokens=2_000 + 700 * turn)
                request = router_pb2.DecideRequest(episode_id=episode_id, turn_index=turn, context=context)
                if turn:
                    request.previous_turn.error = random.choice((types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_MEDIUM))
                answer = self._until_answered(stub.Decide, request)
                if answer.reason != types_pb2.REASON_JOURNAL_UNAVAILABLE:
                    self.ledger.decisions[episode_id, turn] = answer.model
                time.sleep(self._pause_s)
            score = round(random.random(), 3)
            outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score)
            self._until_answered(stub.ReportOutcome, outcome)
            self.ledger.outcomes[episode_id] = score, time.monotonic_ns()

    def _until_answered(self, call: Any, request: Any) -> Any:
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            try:
                return call(request, timeout=2.0, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() not in _NOT_ANSWERED:
                    raise
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.01)


class Callers:
    """Several callers at once: a context in which they play, and their common ledger afterwards."""

    def __init__(self, address: str, *, names: Sequence[str], pause_s: float = 0.0) -> None:
        """One caller for each name."""
        self._callers = [Caller(address, name, pause_s=pause_s) for name in names]
        self.ledger = Ledger()

    def __enter__(self) -> Callers:
        for caller in self._callers:
            caller.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Ends their episodes, needs a server that answers; raises what any of them met."""
        for caller in self._callers:
            caller.done.set()
        for caller in self._callers:
            caller.join(2 * GIVE_UP_S)
            self.ledger.add(caller.ledger)
        for caller in self._callers:
            if caller.failure is not None:
                raise caller.failure
