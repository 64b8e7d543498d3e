"""Hosts over one PostgreSQL, as the tests run them: in this process, with everything of their own."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

from pydantic import SecretStr

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, LearnerConfig, PolicyConfig, ServerConfig
from sojourn_server.hosts.database import Database
from sojourn_server.hosts.leadership import Leadership
from sojourn_server.hosts.postgres import PostgresJournal
from sojourn_server.router import Call
from sojourn_server.telemetry import Telemetry
from tests.policy.play import QUICK_LESSON

WAIT_S = 30.0


@contextmanager
def leading(dsn: str) -> Iterator[PostgresJournal]:
    """A journal with a candidate beside it, so that its records get their places."""
    with closing(PostgresJournal.open(dsn)) as journal, closing(Leadership(journal.database, "test")) as leadership:
        leadership.start()
        yield journal


def configured(dsn: str, **changes: Any) -> Config:
    """A quick lesson, published often; no draw secret, so that it comes from the database."""
    return Config(
        server=ServerConfig(address="127.0.0.1:0"),
        journal=JournalConfig(kind="postgres", dsn=SecretStr(dsn)),
        learner=LearnerConfig(publish_outcomes=1, publish_interval_ms=50),
        **{"policies": {"default": PolicyConfig(lesson=QUICK_LESSON)}, **changes},
    )


@contextmanager
def host(dsn: str, **changes: Any) -> Iterator[App]:
    """A running host; the first one leads."""
    with App.open(configured(dsn, **changes), Telemetry.disabled()) as app:
        yield app


def decide(app: App, episode_id: str, turn_index: int = 0, **fields: Any) -> router_pb2.DecideResponse:
    """Decides a turn; fields of the context go by their own names."""
    context = {n: fields.pop(n) for n in list(fields) if n in pb.Context.DESCRIPTOR.fields_by_name}
    request = router_pb2.DecideRequest(
        episode_id=episode_id, turn_index=turn_index, context=pb.Context(**{"tool_type": "code", **context}), **fields
    )
    return app.router.decide(request, Call(now_ms()))


def report(app: App, episode_id: str, turn_index: int, served_model: str) -> router_pb2.ReportTurnResponse:
    """Reports who served a turn."""
    facts = pb.TurnFacts(served_model=served_model)
    request = router_pb2.ReportTurnRequest(episode_id=episode_id, turn_index=turn_index, facts=facts)
    return app.router.report_turn(request, Call(now_ms()))


def end(app: App, episode_id: str, score: float = 1.0) -> router_pb2.ReportOutcomeResponse:
    """Ends an episode."""
    request = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score)
    return app.router.report_outcome(request, Call(now_ms()))


def learned(app: App) -> int:
    """Episodes that the version has learned by which this host decides."""
    return app.router.knowledge("default").statistics.episodes


def now_ms() -> int:
    return time.time_ns() // 1_000_000


def wait_until(done: Callable[[], bool], *, at_most_s: float = WAIT_S) -> None:
    """Returns once something is so; fails if it takes too long."""
    give_up_at = time.monotonic() + at_most_s
    while not done():
        assert time.monotonic() < give_up_at, f"not so after {at_most_s} s"
        time.sleep(0.02)


def ask(dsn: str, sql: str, *values: Any) -> list[Any]:
    """Rows of a statement over a connection of its own."""
    with closing(Database.open(dsn)) as database:
        return database.run(database.lane().fetch(sql, *values))


def term(dsn: str) -> int:
    """The term of the newest leader."""
    return int(ask(dsn, "SELECT term FROM head")[0]["term"])


def cut_off_the_leader(dsn: str) -> None:
    """Ends the session that holds the lock, as the server does with one that stands still."""
    ask(dsn, "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
