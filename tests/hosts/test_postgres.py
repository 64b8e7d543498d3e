"""What PostgreSQL's journal promises beyond the rules: it survives, it comes back, it refuses what it cannot keep."""

from __future__ import annotations

import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from signal import Signals

import grpc
import pytest

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.app import App
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.hosts import schema
from sojourn_server.hosts.database import CONNECT_S, Database
from sojourn_server.hosts.postgres import PostgresJournal
from sojourn_server.journal.journal import terminal_key
from tests.conformance.journal import decision, outcome, positions, put
from tests.hosts.hosts import ask, decide, end, host, leading, learned, wait_until
from tests.hosts.server import FAST, IMMEDIATE, PostgresServer
from tests.learner.workshop import replayed, same
from tests.rpc.wire import Refusal, connected, refusal

AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE", (), 200.0)


def joined(app: App) -> int:
    """Outcomes that this host's version has folded, learned or not."""
    joins = app.router.knowledge("default").statistics.joins
    return sum(count for state, count in joins.items() if state != "turns_unreported")


@pytest.mark.parametrize("how", [FAST, IMMEDIATE], ids=["fast", "immediate"])
def test_acknowledged_outcomes_outlive_a_shutdown_and_are_learned_once(
    postgres: PostgresServer, dsn: str, how: Signals
):
    """Episodes are played without pause while PostgreSQL goes and comes back."""
    acknowledged: set[str] = set()
    refused = 0
    stop = threading.Event()

    def play() -> None:
        nonlocal refused
        number = 0
        while not stop.is_set():
            number += 1
            decide(app, f"e{number}")
            try:
                end(app, f"e{number}", score=(number % 5) / 4)
                acknowledged.add(f"e{number}")
            except JournalUnavailable:
                refused += 1
                stop.wait(0.01)

    with host(dsn) as app:
        player = threading.Thread(target=play)
        player.start()
        wait_until(lambda: len(acknowledged) > 10)
        postgres.stop(how)
        wait_until(lambda: refused > 0)
        postgres.start()
        back = len(acknowledged)
        wait_until(lambda: len(acknowledged) > back + 10)
        stop.set()
        player.join()
        for episode_id in acknowledged:
            assert app.journal.get(terminal_key("default", episode_id)) is not None
        ended = len(ask(dsn, "SELECT FROM keys WHERE body = 3"))
        wait_until(lambda: joined(app) >= ended)
        knowledge = app.router.knowledge("default")
        assert joined(app) == ended
        assert same(knowledge, replayed(app.journal, knowledge.version))


def test_while_postgres_is_away_turns_are_decided_by_the_request_alone_and_outcomes_refused(
    postgres: PostgresServer, dsn: str
):
    """Over the wire, and without waiting; afterwards the host goes on by itself."""
    with host(dsn) as app, connected(app.address) as stubs:
        stubs.decide("going", 0, tool_type="search")
        postgres.stop(FAST)
        try:
            fresh = stubs.decide("new", 0, tool_type="reasoning")
            kept = stubs.decide("going", 1, tool_type="code", previous_turn=pb.TurnFacts(served_model="kimi-k2"))
            assert refusal(lambda: stubs.end("going")) == AWAY
        finally:
            postgres.start()
        for answer, model in ((fresh, "gpt-5"), (kept, "kimi-k2")):
            assert (answer.model, answer.reason) == (model, pb.REASON_JOURNAL_UNAVAILABLE)
            assert (answer.propensity, answer.decision_id) == (1.0, "")
        wait_until(lambda: stubs.decide("later", 0, tool_type="code").reason == pb.REASON_FIRST_TURN)
        assert stubs.end("going").state == router_pb2.REPORT_STATE_RECORDED
        wait_until(lambda: learned(app) == 1)


def test_a_server_that_takes_connections_and_says_nothing_delays_nobody_twice(unused_port: int):
    """Who queues behind an attempt that fails is refused with it."""
    with socket.create_server(("127.0.0.1", unused_port)):
        database = Database(f"postgresql://u@127.0.0.1:{unused_port}/db")
        database._thread.start()
        journal = PostgresJournal(database, read_only=False)
        started = time.monotonic()

        def refused(number: int) -> bool:
            with pytest.raises(JournalUnavailable):
                journal.append(decision(f"e{number}"))
            return True

        with ThreadPoolExecutor(8) as threads:
            assert all(threads.map(refused, range(8)))
        assert time.monotonic() - started < 2 * CONNECT_S
        journal.close()


def test_a_cached_episode_whose_decisions_a_crash_took_is_read_anew(dsn: str):
    """Decisions are not synced: a crash may take the newest ones, which this host remembers."""
    with host(dsn) as app:
        decide(app, "e", 0)
        decide(app, "e", 1, constraints=pb.Constraints(allow=["gpt-5"]))
        wait_until(lambda: positions(app.journal.episode("default", "e"))[-1] > 0)
        ask(dsn, "DELETE FROM keys WHERE episode <> '' AND inside = $1", b"d\0\0\0\1\0")
        again = decide(app, "e", 1, constraints=pb.Constraints(allow=["kimi-k2"]))
        assert again.model == "kimi-k2"


def test_decisions_are_not_synced_and_outcomes_are(dsn: str):
    with leading(dsn) as journal:
        levels = {
            durable: journal.database.run(writer._lane.fetch("SELECT current_setting('synchronous_commit') AS level"))
            for durable, writer in journal._writers.items()
        }
    assert {durable: rows[0]["level"] for durable, rows in levels.items()} == {False: "off", True: "on"}


def test_records_survive_closing_and_positions_go_on(dsn: str):
    with leading(dsn) as journal:
        put(journal, decision("e", model="m"))
        put(journal, outcome("e"), durable=True)
        kept = journal.read(0)
    with leading(dsn) as journal:
        assert journal.read(0) == kept
        assert put(journal, decision("f")).position == 3
        assert journal.append(outcome("e")).first == kept[1]


def test_a_reader_sees_what_is_committed_and_appends_nothing(dsn: str):
    with pytest.raises(StartRefused, match="start a router on this journal first"):
        PostgresJournal.open_read_only(dsn)
    with leading(dsn) as journal, closing(PostgresJournal.open_read_only(dsn)) as reader:
        put(journal, decision("e"))
        assert positions(reader.read(0)) == [1]
        with pytest.raises(JournalUnavailable):
            reader.append(decision("f"))


def test_a_newer_schema_is_refused_and_left_as_it_is(dsn: str):
    PostgresJournal.open(dsn).close()
    ask(dsn, "INSERT INTO migrations (version) VALUES ($1)", schema.NEWEST + 1)
    for opening in (PostgresJournal.open, PostgresJournal.open_read_only):
        with pytest.raises(StartRefused, match=f"has version {schema.NEWEST + 1}.*start the release that made it"):
            opening(dsn)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:hunter2@127.0.0.1:{port}/db",
        "postgresql://user:hunter2@/db?host=/nowhere",
        "http://user:hunter2@localhost/db",
        "postgresql://user:hunter2@localhost/db?search_path=a,b",
        "postgresql://user:hunter2@[localhost/db",
    ],
)
def test_a_server_that_cannot_be_had_is_refused_without_telling_the_password(url: str, unused_port: int):
    with pytest.raises(StartRefused) as refused:
        PostgresJournal.open(url.format(port=unused_port))
    assert "hunter2" not in str(refused.value)


def test_a_pooler_that_lends_sessions_by_transaction_is_refused(postgres: PostgresServer, pgbouncer: Path):
    """The lock and the notifications belong to a session."""
    with postgres.pooled(pgbouncer, "transaction") as pooled, pytest.raises(StartRefused, match="pool_mode = session"):
        PostgresJournal.open(pooled("by_transaction"))


def test_a_pooler_that_lends_whole_sessions_is_served(postgres: PostgresServer, pgbouncer: Path):
    with postgres.pooled(pgbouncer, "session") as pooled, host(pooled("by_session")) as app:
        decide(app, "e")
        end(app, "e")
        wait_until(lambda: learned(app) == 1)


def test_every_unique_key_holds_what_the_table_is_distributed_by(dsn: str):
    """As a distributed PostgreSQL needs it: the episode, of all tables that grow with traffic."""
    PostgresJournal.open(dsn).close()
    rows = ask(
        dsn,
        "SELECT relname, array_agg(attname::text) AS columns FROM pg_index "
        "JOIN pg_class ON pg_class.oid = indrelid JOIN pg_attribute ON attrelid = indrelid AND attnum = ANY(indkey) "
        "WHERE indisunique AND relnamespace = current_schema()::regnamespace AND relname IN ('keys', 'journal') "
        "GROUP BY relname, indexrelid",
    )
    assert {row["relname"] for row in rows} == {"keys", "journal"}
    assert all("episode" in row["columns"] for row in rows)
