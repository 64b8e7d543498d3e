"""Several workers on one port: any of them may go, and callers notice nothing but time."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import grpc
import pytest

from sojourn.v1 import admin_pb2, admin_pb2_grpc, router_pb2, router_pb2_grpc, types_pb2
from tests.hosts.hosts import WAIT_S, wait_until
from tests.torture.audit import audit
from tests.torture.service import Callers, DidNotServe, Server

OWN_CONNECTION = (("grpc.use_local_subchannel_pool", 1),)
WORKERS = ("learner", "decider-0", "decider-1")


@pytest.fixture
def server(tmp_path: Path, unused_port: int) -> Iterator[Server]:
    """Two deciders and a learner, which serve."""
    started = Server(tmp_path, unused_port, workers=2)
    started.start()
    wait_until(lambda: "workers_serving" in started.said())
    yield started
    if started.is_running:
        started.kill()


def pids(server: Server) -> dict[str, int]:
    """Of each worker as it was started last."""
    lines = [json.loads(line) for line in server.said().splitlines() if line.startswith("{")]
    return {line["worker"]: line["pid"] for line in lines if line["event"] == "worker_started"}


def is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@contextmanager
def stubs(server: Server) -> Iterator[tuple[router_pb2_grpc.RouterServiceStub, admin_pb2_grpc.AdminServiceStub]]:
    """Over a connection of their own, which the kernel gives to any worker."""
    with grpc.insecure_channel(server.address, OWN_CONNECTION) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel), admin_pb2_grpc.AdminServiceStub(channel)


def decide(server: Server, episode_id: str, turn_index: int) -> router_pb2.DecideResponse:
    """One turn over a new connection."""
    context = types_pb2.Context(tool_type="code", prompt_tokens=3_000)
    request = router_pb2.DecideRequest(episode_id=episode_id, turn_index=turn_index, context=context)
    with stubs(server) as (router, _):
        answer: router_pb2.DecideResponse = router.Decide(request, timeout=WAIT_S, wait_for_ready=True)
        return answer


def episodes_learned(server: Server) -> int:
    with stubs(server) as (_, admin):
        found = admin.GetPolicy(admin_pb2.GetPolicyRequest(), timeout=WAIT_S, wait_for_ready=True)
        return int(found.statistics.episodes)


def test_turns_of_an_episode_go_to_any_worker_and_repeats_get_the_first_answer(server: Server):
    for number in range(6):
        answers = [decide(server, f"e{number}", turn) for turn in range(5)]
        assert [decide(server, f"e{number}", turn) for turn in range(5)] == answers
        assert [answer.incumbent for answer in answers[1:]] == [answer.model for answer in answers[:-1]]
        with stubs(server) as (router, _):
            router.ReportOutcome(router_pb2.ReportOutcomeRequest(episode_id=f"e{number}", score=0.5), timeout=WAIT_S)
    wait_until(lambda: episodes_learned(server) == 6)
    assert server.stop() == 0
    assert audit(server.data, {f"e{number}": 0.5 for number in range(6)}).sound


def test_what_an_administrator_says_reaches_all_workers_within_a_second(server: Server):
    with stubs(server) as (_, admin):
        admin.DrainModel(admin_pb2.DrainModelRequest(name="kimi-k2"), timeout=WAIT_S)
    time.sleep(1.0)
    for number in range(8):
        ranked = {c.model: c.excluded_because for c in decide(server, f"drained-{number}", 0).ranked}
        assert ranked["kimi-k2"] == types_pb2.EXCLUSION_DRAINED


@pytest.mark.parametrize("victim", WORKERS)
def test_a_killed_worker_is_started_again_and_nothing_is_lost(server: Server, victim: str):
    with Callers(server.address, names=["a", "b", "c", "d"], pause_s=0.002) as callers:
        for _ in range(2):
            time.sleep(0.5)
            before = pids(server)[victim]
            os.kill(before, signal.SIGKILL)
            wait_until(lambda before=before: pids(server)[victim] != before)  # type: ignore[misc]  # bound now
        wait_until(lambda: is_there(pids(server)[victim]))
        time.sleep(1.0)
    learned = len(callers.ledger.outcomes)
    assert learned > 10
    wait_until(lambda: episodes_learned(server) >= learned)
    assert server.stop() == 0
    assert audit(server.data, callers.ledger.scores(), callers.ledger.decisions).sound


def test_workers_end_with_their_watcher_and_the_next_server_starts(server: Server):
    decide(server, "before", 0)
    workers = pids(server)
    server.kill()
    server.start()
    assert not any(is_there(pid) for pid in workers.values())
    assert decide(server, "before", 1).incumbent
    assert server.stop() == 0


def test_another_server_on_the_journal_is_refused(server: Server, tmp_path: Path):
    other = Server(tmp_path, int(server.address.rpartition(":")[2]), workers=2)
    other.start()  # the first one answers
    wait_until(lambda: not other.is_running)
    assert "another server holds the journal" in other.said()
    assert decide(server, "still there", 0).model


def test_a_start_that_is_refused_says_why_and_leaves_nobody_behind(tmp_path: Path, unused_port: int):
    server = Server(tmp_path, unused_port, workers=2)
    config = tmp_path / "sojourn.toml"
    config.write_text(config.read_text() + "[policies.default.lesson]\nvw_options = '--no_such_option'\n")
    with pytest.raises(DidNotServe, match=r"learner: policies\.default\.lesson\.vw_options"):
        server.start()
    assert not any(is_there(pid) for pid in pids(server).values())
