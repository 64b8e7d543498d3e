"""The home of one of several hosts: everything in one PostgreSQL."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack, closing

from sojourn_server.config import Config
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.hosts.episodes import SharedEpisodes
from sojourn_server.hosts.home import Home, configured_secret
from sojourn_server.hosts.leadership import Leadership
from sojourn_server.hosts.member import Member
from sojourn_server.hosts.postgres import PostgresJournal
from sojourn_server.hosts.snapshots import PostgresSnapshots
from sojourn_server.policy.bandit import Bandit
from sojourn_server.world import load_world


def open_shared(config: Config, now_ms: int, made: ExitStack) -> Home:
    """Connects, campaigns, and brings the journal's world in line with the configuration. Raises StartRefused."""
    if config.journal.dsn is None:
        raise StartRefused('journal.dsn: kind = "postgres" needs it')
    _check_learners(config)
    journal, leadership = open_candidate(config.journal.dsn.get_secret_value(), made)
    try:
        with journal.alone():
            world = load_world(journal, config, now_ms)
        secret = configured_secret(config) or journal.draw_secret()
    except JournalUnavailable as error:
        raise StartRefused(f"cannot start from the journal: {error}") from error
    snapshots = PostgresSnapshots.over(journal.database, keep=config.learner.keep_snapshots)
    return Home(
        journal,
        snapshots,
        SharedEpisodes(journal, capacity=config.server.cached_episodes),
        world,
        secret,
        lambda place, audience, router: Member(leadership, snapshots, place, (router, audience)),
    )


def _check_learners(config: Config) -> None:
    """Settings that make no learner must not reach the journal, where all hosts would stumble over them."""
    for name, policy in config.policies.items():
        lesson = policy.lesson
        try:
            Bandit.fresh(options=lesson.vw_options, weight_bits=lesson.weight_bits, turns_cap=lesson.turns_cap)
        except RuntimeError as error:  # Vowpal Wabbit's only one
            raise StartRefused(f"policies.{name}.lesson.vw_options: {lesson.vw_options!r}: {error}") from error


def open_candidate(dsn: str, made: ExitStack) -> tuple[PostgresJournal, Leadership]:
    """The journal, and this process as a candidate that gives records their place if it wins. Raises StartRefused."""
    journal = made.enter_context(closing(PostgresJournal.open(dsn)))
    leadership = made.enter_context(closing(Leadership(journal.database, f"{socket.gethostname()}:{os.getpid()}")))
    leadership.start()
    return journal, leadership


def open_shared_for_reading(dsn: str) -> tuple[PostgresJournal, PostgresSnapshots]:
    """Closing the journal closes both. Raises StartRefused."""
    journal = PostgresJournal.open_read_only(dsn)
    return journal, PostgresSnapshots.over(journal.database, keep=1)
