"""The parts of several workers on one host: each decides, and one more process learns.

All share the journal's file and the stored snapshots. Whoever started them holds the journal's lock, and sees to it
that the learner has made both before anybody decides.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from importlib.metadata import version

from sojourn_server.config import Config
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.hosts.episodes import SharedEpisodes
from sojourn_server.hosts.home import Counting, Home, configured_secret, kept_secret, now_ms
from sojourn_server.hosts.member import Member
from sojourn_server.journal.disk import SNAPSHOTS
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.learner.learner import Learner, Workplace
from sojourn_server.learner.snapshot import SnapshotStore
from sojourn_server.telemetry import Telemetry
from sojourn_server.upkeep.retention import Retention
from sojourn_server.world import load_world, read_world


class Follower:
    """Never leads."""

    term = 0

    def __init__(self) -> None:
        """Has no news: a member looks around by itself every half second."""
        self.on_news: Callable[[], None] = lambda: None

    def wake(self) -> None:
        """The learner looks for outcomes by itself."""

    def place(self) -> bool:
        """SQLite has given all records their places."""
        return False


class StoredSnapshots(SnapshotStore):
    """Snapshots below one directory, which the learner's process stores."""

    def newest(self, policies: Iterable[str]) -> Mapping[str, int]:
        """See SharedSnapshots.newest."""
        stored = {policy: self.versions(policy) for policy in policies}
        return {policy: versions[0] for policy, versions in stored.items() if versions}

    def of_term(self, term: int) -> SnapshotStore:
        """Nobody leads here."""
        raise AssertionError("a follower has no term")


def open_worker(config: Config, made: ExitStack) -> Home:
    """Opens what the learner's process has made; `made` closes it. Raises StartRefused."""
    kept = config.journal.directory
    journal = made.enter_context(closing(SqliteJournal.open(kept, lock_is_held=True)))
    snapshots = StoredSnapshots(kept / SNAPSHOTS, keep=config.learner.keep_snapshots)
    try:
        world = read_world(journal)
    except JournalUnavailable as error:
        raise StartRefused(f"cannot start from the journal: {error}") from error
    return Home(
        journal,
        snapshots,
        SharedEpisodes(journal, capacity=config.server.cached_episodes),
        world,
        configured_secret(config) or kept_secret(kept),
        lambda place, audience, router: Member(Follower(), snapshots, place, (router, audience)),
    )


@contextmanager
def learning(config: Config) -> Iterator[None]:
    """The process that learns: brings the journal in line with the configuration, then follows it."""
    kept = config.journal.directory
    with ExitStack() as made:
        telemetry = Telemetry.from_environment(version("sojourn"))
        made.callback(telemetry.close, 5.0)
        journal = made.enter_context(closing(SqliteJournal.open(kept, lock_is_held=True)))
        kept_secret(kept)
        load_world(journal, config, now_ms())
        store = SnapshotStore(kept / SNAPSHOTS, keep=config.learner.keep_snapshots)
        learner = Learner(Workplace(journal, store, config.learner, now_ms), Counting(telemetry.metrics, journal))
        learner.start()
        made.callback(learner.close)
        days, fault = config.journal.retention_days, telemetry.metrics.fault
        made.enter_context(closing(Retention(journal, days=days, now_ms=now_ms, fault=fault))).start()
        yield
