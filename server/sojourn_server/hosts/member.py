"""One host's part: it follows what administrators set and what the learner publishes, and learns while it leads.

One thread looks around when there is news, and every POLL_S without any. On the host that leads it runs a `Learner`,
a new one for each term, so a learner never goes on from what it knew before another one led. On the others it takes
over the snapshots that the learner has stored.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Protocol

import structlog

from sojourn.v1 import snapshot_pb2
from sojourn_server.errors import BrokenSnapshot, JournalUnavailable, StartRefused
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.learner import Audience, Learner, Workplace
from sojourn_server.learner.snapshot import Published, Snapshots
from sojourn_server.router import Router
from sojourn_server.world import World, read_world

log = structlog.get_logger(__name__)
POLL_S = 0.5
START_S = 60.0
"""How long a starting host waits until it knows every policy."""
ALONE_S = 5.0
"""After so much of it, it folds for itself what no other host has stored in a form that it can use."""


class Candidacy(Protocol):
    """Whether this process leads: `term` is above 0 while it does. `on_news` is called when there is news."""

    term: int
    on_news: Callable[[], None]

    def wake(self) -> None:
        """An outcome was committed."""

    def place(self) -> bool:
        """The leader's: gives waiting records their places."""


class SharedSnapshots(Snapshots, Protocol):
    """Snapshots that one process stores and all read."""

    def newest(self, policies: Iterable[str]) -> Mapping[str, int]:
        """The newest stored version of each policy that has one. Raises JournalUnavailable."""

    def of_term(self, term: int) -> Snapshots:
        """The same, as the leader of a term may store them."""


class Member:
    """Keeps this host's deciders up to date, and learns while it leads."""

    def __init__(
        self, candidacy: Candidacy, snapshots: SharedSnapshots, place: Workplace, duty: tuple[Router, Audience]
    ) -> None:
        """Works for this host's deciders, and for those who are told of what is learned."""
        self._candidacy = candidacy
        self._snapshots = snapshots
        self._place = place
        self._router, self._audience = duty
        self._world = World()  # owned by the thread below once it runs, as all after it
        self._versions: dict[str, int] = {}
        self._rejected: dict[str, int] = {}
        self._learner: Learner | None = None
        self._term = 0
        self._news = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="member", daemon=True)

    def start(self) -> None:
        """Returns once every policy can be decided. Raises StartRefused if that takes too long."""
        self._candidacy.on_news = self._news.set
        started_at = time.monotonic()
        while not self._can_decide():
            if time.monotonic() > started_at + START_S:
                raise StartRefused("no usable snapshot has come from the host that leads: do its logs say why?")
            if time.monotonic() > started_at + ALONE_S:
                self._fold_alone()
            self._news.wait(POLL_S)
            self._news.clear()
        self._thread.start()

    def _can_decide(self) -> bool:
        try:
            return self._look_around()
        except JournalUnavailable as error:
            log.warning("member_waits_for_journal", error=str(error))
            return False

    def wake(self) -> None:
        """An outcome was committed on this host."""
        self._candidacy.wake()

    def close(self) -> None:
        """Folds and publishes what is committed if this host leads, then stops."""
        self._stopping = True
        self._news.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._learner is not None:
            with suppress(JournalUnavailable):
                self._candidacy.place()
            self._learner.close()

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._can_decide()
            except Exception:  # a host that stops following would decide by old prices for ever: say it, go on
                log.exception("member_failed")
            self._news.wait(POLL_S)
            self._news.clear()

    def _look_around(self) -> bool:
        """True if every policy has a version here."""
        if self._candidacy.term != self._term:
            self._change(self._candidacy.term)
        self._world = read_world(self._place.journal, self._world)
        if self._learner is not None:
            self._learner.wake()
        else:
            self._take_over()
        self._router.follow(self._world)
        return self._learner is not None or self._versions.keys() >= self._world.policies.keys()

    def _change(self, term: int) -> None:
        """Stops the learner of another term; starts one if this host leads now."""
        learner, self._learner, self._term = self._learner, None, 0
        if learner is not None:
            learner.close()
        if term:
            place = replace(self._place, store=self._snapshots.of_term(term))
            learner = Learner(place, self._audience)
            learner.start()
            self._learner, self._term = learner, term

    def _take_over(self) -> None:
        """Decides by the newest stored snapshots from now on. One that cannot be used is reported once."""
        for policy, version in self._snapshots.newest(self._world.policies).items():
            if version <= self._versions.get(policy, -1):
                continue
            try:
                snapshot = self._snapshots.load(policy, version)
                if snapshot.lesson_digest != self._world.policies[policy].lesson_digest:
                    raise BrokenSnapshot("made under another lesson, or by a release with another one")
                self._use(snapshot)
            except BrokenSnapshot as error:
                self._reject(policy, version, error)

    def _use(self, snapshot: snapshot_pb2.Snapshot) -> None:
        """Decides by it from now on. Raises BrokenSnapshot."""
        policy = snapshot.policy
        published = Published.of(snapshot, self._world.policies[policy].settings.lesson)
        self._audience.published(policy, published, created_at_ms=snapshot.created_at_ms)
        self._versions[policy] = snapshot.position

    def _fold_alone(self) -> None:
        """For policies that are not known yet: amid an upgrade the host that leads may be of another release.

        Nobody else sees such a version; it stays until the host that leads stores one that can be used.
        """
        journal = self._place.journal
        for policy in self._world.policies.keys() - self._versions.keys():
            log.warning("folded_alone", policy=policy)
            fold = Fold.of(policy, self._world, journal, until=journal.position())
            self._use(fold.snapshot(created_at_ms=self._place.now_ms()))

    def _reject(self, policy: str, version: int, error: BrokenSnapshot) -> None:
        if self._rejected.get(policy) != version:
            self._rejected[policy] = version
            log.error("snapshot_rejected", policy=policy, version=version, error=str(error))
            self._audience.survived("snapshot_rejected")
