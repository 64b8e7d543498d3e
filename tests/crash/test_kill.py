"""A killed router loses nothing that it acknowledged, and learns it exactly once.

The server is the real command in a process of its own, killed with SIGKILL at random moments under load; the callers
are real clients that repeat what was not acknowledged. Whatever survives is then replayed once, in a fresh process.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from random import Random
from typing import Any

import grpc
import pytest

from sojourn.v1 import router_pb2, router_pb2_grpc, types_pb2
from sojourn_server.journal.sqlite import SqliteJournal

KILLS = 20
CALLERS = 4
TOOL_TYPES = ("search", "code", "reasoning")
SOJOURN = Path(sys.executable).with_name("sojourn")
GIVE_UP_S = 60.0
RECONNECTS_SOON = (("grpc.max_reconnect_backoff_ms", 200),)
"""A killed server may live for less than a second: a channel that backs off for longer never meets it."""


class Server:
    """`sojourn serve` on a fixed port, started as often as it is killed."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self.address = f"127.0.0.1:{port}"
        self._log = (directory / "server.log").open("ab")
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts it and returns once it answers."""
        config = self._directory / "sojourn.toml"
        config.write_text(
            f'[server]\naddress = "{self.address}"\n[journal]\ndirectory = "{self._directory / "data"}"\n'
            "[learner]\npublish_outcomes = 3\npublish_interval_ms = 50\n"
        )
        self._process = subprocess.Popen([SOJOURN, "serve", "--config", config], stdout=self._log, stderr=self._log)
        for _ in range(10):  # a channel that met the port while it was closed may be slow to look again
            with grpc.insecure_channel(self.address, RECONNECTS_SOON) as channel:
                try:
                    grpc.channel_ready_future(channel).result(timeout=GIVE_UP_S / 10)
                    return
                except grpc.FutureTimeoutError:
                    continue
        pytest.fail(f"not ready (exit code {self._process.poll()}): {self._said()}")

    def _said(self) -> str:
        return (self._directory / "server.log").read_text(encoding="utf-8")[-4_000:]

    def kill(self) -> None:
        """SIGKILL: no handler runs, no buffer is flushed."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def stop(self) -> int:
        """SIGTERM, for good; the exit code."""
        assert self._process is not None
        self._process.terminate()
        code = self._process.wait(timeout=GIVE_UP_S)
        self._log.close()
        return code


class Caller(threading.Thread):
    """Plays episodes until told to stop, repeats every call until it is answered, and keeps what was acknowledged."""

    def __init__(self, address: str, name: str) -> None:
        super().__init__(name=name)
        self._address = address
        self.acknowledged: dict[str, float] = {}
        self.decided: dict[tuple[str, int], str] = {}
        self.done = threading.Event()
        self.failure: BaseException | None = None

    def run(self) -> None:
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
                self.decided[episode_id, turn] = self._until_answered(stub.Decide, request).model
            score = round(random.random(), 3)
            self._until_answered(
                stub.ReportOutcome, router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score)
            )
            self.acknowledged[episode_id] = score

    def _until_answered(self, call: Any, request: Any) -> Any:
        deadline = time.monotonic() + GIVE_UP_S
        while True:
            try:
                return call(request, timeout=2.0, wait_for_ready=True)
            except grpc.RpcError as error:
                if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                    raise
                if time.monotonic() > deadline:
                    raise


@pytest.mark.timeout(240)
def test_killed_servers_lose_no_acknowledged_outcome_and_learn_each_once(tmp_path, unused_port):
    """After 20 kills at random moments the journal holds every acknowledged record once and replays to the live
    policy."""
    server = Server(tmp_path, unused_port)
    server.start()
    callers = [Caller(server.address, f"caller-{i}") for i in range(CALLERS)]
    for caller in callers:
        caller.start()
    random = Random(20)
    for _ in range(KILLS):
        time.sleep(random.uniform(0.05, 0.8))
        server.kill()
        server.start()
    time.sleep(0.3)
    for caller in callers:
        caller.done.set()
    for caller in callers:
        caller.join()
    assert [caller.failure for caller in callers] == [None] * CALLERS
    assert server.stop() == 0

    data = tmp_path / "data"
    outcomes, decisions = _recorded(data)
    acknowledged = {episode: score for caller in callers for episode, score in caller.acknowledged.items()}
    decided = {key: model for caller in callers for key, model in caller.decided.items()}
    assert len(acknowledged) > KILLS
    assert {episode: outcomes[episode] for episode in acknowledged} == {e: [s] for e, s in acknowledged.items()}
    assert {key: decisions[key] for key in decided} == {key: [model] for key, model in decided.items()}

    replayed = subprocess.run(
        [SOJOURN, "replay", "--journal", data, "--json"], capture_output=True, text=True, check=False
    )
    assert replayed.returncode == 0, replayed.stdout + replayed.stderr
    assert json.loads(replayed.stdout)["max_abs_difference"] == 0.0
    assert _learned(data) == len(outcomes)


def _recorded(data: Path) -> tuple[dict[str, list[float]], dict[tuple[str, int], list[str]]]:
    """Scores by episode and models by (episode, turn), each as a list: two entries would be two records."""
    outcomes: dict[str, list[float]] = {}
    decisions: dict[tuple[str, int], list[str]] = {}
    journal = SqliteJournal.open(data)
    position = 0
    while records := journal.read(position):
        for record in records:
            position = record.position
            if record.HasField("outcome"):
                outcomes.setdefault(record.episode_id, []).append(record.outcome.request.score)
            if record.HasField("decision"):
                key = (record.episode_id, record.decision.request.turn_index)
                decisions.setdefault(key, []).append(record.decision.answer.model)
    journal.close()
    return outcomes, decisions


def _learned(data: Path) -> int:
    """Episodes that the newest snapshot has counted, however they joined."""
    from sojourn_server.learner.snapshot import SnapshotStore

    store = SnapshotStore(data / "snapshots", keep=5)
    statistics = store.load("default", store.versions("default")[0]).statistics
    joins = Counter(dict(statistics.joins))
    assert joins["learned"] == statistics.episodes
    return sum(joins[state] for state in ("learned", "no_decisions", "nothing_learnable"))
