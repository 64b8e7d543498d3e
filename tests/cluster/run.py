"""Faults, one after the other, under callers; and then whether every promise to them was kept."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from random import Random

import grpc

from sojourn.v1 import journal_pb2, router_pb2, router_pb2_grpc, types_pb2
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.hosts.shared import open_shared_for_reading
from sojourn_server.journal.journal import Journal
from sojourn_server.upkeep.comparison import compare
from tests.cluster.cluster import BETWEEN_S, HOSTS, WAIT_S, Cluster
from tests.hosts.hosts import ask, wait_until
from tests.torture.service import Callers, Ledger

POLICY = "default"
LOST_IN_A_CRASH_S = 2.0
"""Decisions are not synced: those of the last moments before a crash of PostgreSQL may be gone, by the contract."""
UNPLACED = "SELECT FROM keys WHERE position IS NULL LIMIT 1"
OWN = (("grpc.use_local_subchannel_pool", 1), ("grpc.max_reconnect_backoff_ms", 200))


@dataclass
class Report:
    """What was done and seen; `violations` should be empty."""

    faults: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)
    outcomes: int = 0
    decisions: int = 0
    asked_of_all: int = 0
    without_journal: int = 0
    terms: int = 0


class Doubter(threading.Thread):
    """Asks all hosts for the same turn at the same moment: whoever answers must answer alike."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(name="doubter", daemon=True)
        self._addresses = [cluster.address(name) for name in HOSTS]
        self.done = threading.Event()
        self.asked = self.without_journal = 0
        self.different: list[tuple[float, str]] = []

    def run(self) -> None:
        """Asks until told to stop."""
        with ExitStack() as opened:
            channels = [opened.enter_context(grpc.insecure_channel(address, OWN)) for address in self._addresses]
            stubs = [router_pb2_grpc.RouterServiceStub(channel) for channel in channels]
            pool = opened.enter_context(ThreadPoolExecutor(len(stubs)))
            number = 0
            while not self.done.is_set():
                for turn in range(4):
                    request = router_pb2.DecideRequest(
                        episode_id=f"doubted-{number}", turn_index=turn, context=types_pb2.Context(tool_type="code")
                    )
                    self._compare(request, list(pool.map(lambda stub, r=request: _asked(stub, r), stubs)))
                    time.sleep(0.02)
                number += 1

    def _compare(self, request: router_pb2.DecideRequest, answers: list[router_pb2.DecideResponse | None]) -> None:
        found = [answer for answer in answers if answer is not None]
        self.asked += len(found)
        alone = [a for a in found if a.reason == types_pb2.REASON_JOURNAL_UNAVAILABLE]
        self.without_journal += len(alone)
        kept = {(a.decision_id, a.model, a.propensity) for a in found if a not in alone}
        if len(kept) > 1 or len({a.model for a in alone}) > 1:
            self.different.append((time.monotonic(), f"{request.episode_id}, turn {request.turn_index}: {kept}"))


def _asked(
    stub: router_pb2_grpc.RouterServiceStub, request: router_pb2.DecideRequest
) -> router_pb2.DecideResponse | None:
    try:
        answer: router_pb2.DecideResponse = stub.Decide(request, timeout=4.0)
    except grpc.RpcError:  # gone, slow, or it saw a later turn first
        return None
    return answer


class Publications(threading.Thread):
    """Watches the stored snapshots: once a term has published, no earlier one may."""

    def __init__(self, dsn: str) -> None:
        super().__init__(name="publications", daemon=True)
        self._dsn = dsn
        self.done = threading.Event()
        self.late: list[str] = []
        self.terms: set[int] = set()

    def run(self) -> None:
        """Looks until told to stop."""
        known: set[tuple[int, int]] = set()
        while not self.done.is_set():
            try:
                rows = ask(self._dsn, "SELECT position, term FROM snapshots")
            except (JournalUnavailable, StartRefused):
                rows = []
            found = {(row["position"], row["term"]) for row in rows}
            newest = max(self.terms, default=0)
            self.late += [f"term {term} published {at} after {newest}" for at, term in found - known if term < newest]
            known |= found
            self.terms |= {term for _, term in found}
            self.done.wait(0.2)


def run(cluster: Cluster, *, rounds: int, seed: int, told: Callable[[str], None] = lambda _: None) -> Report:
    """Every fault once a round, in an order of chance."""
    random, report = Random(seed), Report()
    doubter, publications = Doubter(cluster), Publications(cluster.dsn)
    names = [f"caller-{n}" for n in range(4)]
    with _working(doubter, publications), Callers(cluster.front, names=names, pause_s=0.01) as callers:
        time.sleep(BETWEEN_S)
        for _ in range(rounds):
            faults = list(cluster.faults(random).items())
            random.shuffle(faults)
            for name, happen in faults:
                told(name)
                happen()
                report.faults[name] += 1
                time.sleep(BETWEEN_S)
        for name in HOSTS:
            cluster.wait_for(name)
    report.outcomes, report.decisions = len(callers.ledger.outcomes), len(callers.ledger.decisions)
    report.asked_of_all, report.without_journal = doubter.asked, doubter.without_journal
    report.terms = len(publications.terms)
    crashes = cluster.crashed_at_s
    report.violations += [said for at, said in doubter.different if not _in_a_crash(at, crashes)]
    report.violations += publications.late
    report.violations += _broken(cluster, callers.ledger)
    return report


@contextmanager
def _working(*threads: Doubter | Publications) -> Iterator[None]:
    for thread in threads:
        thread.start()
    yield
    for thread in threads:
        thread.done.set()
    for thread in threads:
        thread.join(WAIT_S)


def _in_a_crash(at_s: float, crashes: list[float]) -> bool:
    """Whether a moment lies around a crash, when an answer may be lost and given anew."""
    return any(crash - LOST_IN_A_CRASH_S < at_s < crash + LOST_IN_A_CRASH_S for crash in crashes)


def _broken(cluster: Cluster, ledger: Ledger) -> Iterator[str]:
    """What the journal does not have as it was acknowledged, and whether the policy is its fold."""
    journal, snapshots = open_shared_for_reading(cluster.dsn)
    with closing(journal):
        wait_until(lambda: not ask(cluster.dsn, UNPLACED), at_most_s=WAIT_S)  # committed, and soon in the fold order
        records = list(_records(journal))
        outcomes = Counter(r.episode_id for r in records if r.HasField("outcome"))
        scores = {r.episode_id: r.outcome.request.score for r in records if r.HasField("outcome")}
        yield from (f"{name} ended {count} times" for name, count in outcomes.items() if count > 1)
        for episode_id, score in ledger.scores().items():
            if scores.get(episode_id) != score:
                yield f"the outcome of {episode_id} is lost"
        yield from _changed_answers(records, ledger)
        positions = [r.position for r in records]
        if positions != list(range(1, len(positions) + 1)):
            yield "the fold order has gaps"
        end = max(r.position for r in records if r.HasField("outcome"))
        wait_until(lambda: snapshots.versions(POLICY)[0] >= end, at_most_s=WAIT_S)
        newest = snapshots.load(POLICY, snapshots.versions(POLICY)[0])
        if not compare(journal, newest, POLICY).same:
            yield "replay differs from the policy that was learned"


def _records(journal: Journal) -> Iterator[journal_pb2.JournalRecord]:
    position = 0
    while records := journal.read(position):
        yield from records
        position = records[-1].position


def _changed_answers(records: list[journal_pb2.JournalRecord], ledger: Ledger) -> Iterator[str]:
    """Turns for which the caller was told another model than the journal has; in a crash some may have gone."""
    kept: Mapping[tuple[str, int], str] = {
        (r.episode_id, r.decision.request.turn_index): r.decision.answer.model
        for r in records
        if r.HasField("decision")
    }
    for turn, model in ledger.decisions.items():
        if turn in kept and kept[turn] != model:
            yield f"turn {turn} was answered with {model}, and the journal has {kept[turn]}"
