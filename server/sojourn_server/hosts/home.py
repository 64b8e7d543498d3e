"""What a process works with: journal, snapshots, episodes, the key of the draws, and the part it has in learning.

Alone, a process holds the journal's lock and learns by itself. Over PostgreSQL it is a member: all hosts share
everything, and one of them learns. One of several workers on a host shares its files with the others, and with one
more process that learns. The composition root sees no difference.
"""

from __future__ import annotations

import secrets
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Literal, NamedTuple, Protocol

from sojourn_server.config import Config, JournalConfig
from sojourn_server.episodes import Episodes
from sojourn_server.errors import StartRefused
from sojourn_server.journal.disk import SECRET, SNAPSHOTS
from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.learner.fold import Join
from sojourn_server.learner.learner import Audience, Learner, Workplace
from sojourn_server.learner.snapshot import Published, Snapshots, SnapshotStore
from sojourn_server.router import Router
from sojourn_server.telemetry import Metrics
from sojourn_server.world import World, load_world

SECRET_BYTES = 32
POSTGRES = ("postgresql://", "postgres://")


class Learning(Protocol):
    """The part that a process has in learning."""

    def start(self) -> None:
        """Returns once every policy can be decided. Raises StartRefused."""

    def wake(self) -> None:
        """An outcome was committed here."""

    def close(self) -> None:
        """Finishes what is committed, then stops."""


class Home(NamedTuple):
    """See the module's docstring. `learning` is made last, for the router and those who are told of what is learned."""

    journal: Journal
    snapshots: Snapshots
    episodes: Episodes
    world: World
    secret: bytes
    learning: Callable[[Workplace, Audience, Router], Learning]


class Counting:
    """Counts what a learner does: the audience of one that works for nobody else."""

    def __init__(self, metrics: Metrics, journal: Journal) -> None:
        """`journal` says how far the learner lags behind."""
        self._metrics = metrics
        self._journal = journal

    def published(self, policy: str, published: Published, *, created_at_ms: int) -> None:
        """See Audience.published."""
        lag = self._journal.position() - published.version
        self._metrics.learner(policy, version=published.version, created_at_ms=created_at_ms, lag_records=lag)

    def expired(self, policy: str, episode_id: str) -> None:
        """See Audience.expired; the episode's join says so too."""

    def joined(self, join: Join) -> None:
        """See Audience.joined."""
        self._metrics.join(join.policy, join.state, score=join.score, cost_usd=join.cost_usd, cohort=join.cohort)

    def survived(self, fault: Literal["snapshot_rejected", "policy_unhealthy"]) -> None:
        """See Audience.survived."""
        self._metrics.fault(fault)


def now_ms() -> int:
    """The wall clock in milliseconds since 1970 (UTC)."""
    return time.time_ns() // 1_000_000


def open_home(config: Config, now_ms: int, made: ExitStack) -> Home:
    """Opens what the configuration names; `made` closes it. Raises StartRefused."""
    if config.journal.kind == "postgres":
        try:
            from sojourn_server.hosts.shared import open_shared
        except ModuleNotFoundError as error:
            raise StartRefused(f"{error.name} is not installed: pip install 'sojourn[postgres]'") from None
        return open_shared(config, now_ms, made)
    if config.server.workers > 1:
        from sojourn_server.hosts.local import open_worker

        return open_worker(config, made)
    return _alone(config, now_ms, made)


def _alone(config: Config, now_ms: int, made: ExitStack) -> Home:
    kept, keep = config.journal.directory, config.learner.keep_snapshots
    if config.journal.kind == "sqlite":
        journal: Journal = made.enter_context(closing(SqliteJournal.open(kept)))
        secret, directory = configured_secret(config) or kept_secret(kept), kept / SNAPSHOTS
    else:
        journal = made.enter_context(closing(MemoryJournal()))
        secret = configured_secret(config) or secrets.token_bytes(SECRET_BYTES)
        directory = Path(made.enter_context(tempfile.TemporaryDirectory(prefix="sojourn-snapshots-")))
    return Home(
        journal,
        SnapshotStore(directory, keep=keep),
        Episodes(journal, capacity=config.server.cached_episodes),
        load_world(journal, config, now_ms),
        secret,
        lambda place, audience, _: Learner(place, audience),
    )


def configured_secret(config: Config) -> bytes:
    """The key of the draws as configured, at most 64 bytes; empty if it is not."""
    given = config.server.draw_secret
    return given.get_secret_value().encode()[:64] if given is not None else b""


def kept_secret(directory: Path) -> bytes:
    """The key beside the journal, made once."""
    path = directory / SECRET
    if not path.exists():
        part = path.with_suffix(".part")  # renamed when it is whole: half a key must never be read
        part.touch(mode=0o600)
        part.write_bytes(secrets.token_bytes(SECRET_BYTES))
        part.replace(path)
    return path.read_bytes()


def place_of(config: JournalConfig) -> str:
    """The directory or URL that a configuration names."""
    return config.dsn.get_secret_value() if config.dsn is not None else str(config.directory)


@contextmanager
def open_for_writing(place: str) -> Iterator[Journal]:
    """A journal to append to without serving; in PostgreSQL beside those that serve. Raises StartRefused."""
    with ExitStack() as made:
        if place.startswith(POSTGRES):
            from sojourn_server.hosts.shared import open_candidate

            yield open_candidate(place, made)[0]
        else:
            yield made.enter_context(closing(SqliteJournal.open(Path(place))))


@contextmanager
def open_for_reading(place: str) -> Iterator[tuple[Journal, Snapshots]]:
    """A journal and its snapshots, by directory or PostgreSQL URL, also beside servers. Raises StartRefused."""
    if place.startswith(POSTGRES):
        from sojourn_server.hosts.shared import open_shared_for_reading

        opened: tuple[Journal, Snapshots] = open_shared_for_reading(place)
    else:
        directory = Path(place)
        opened = SqliteJournal.open_read_only(directory), SnapshotStore(directory / SNAPSHOTS, keep=1)
    with closing(opened[0]):
        yield opened
