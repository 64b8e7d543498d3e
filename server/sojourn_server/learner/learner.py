"""The one process that folds the journal into the policies: follows in order, publishes, survives bad lessons.

A thread wakes when an outcome is committed, or after the publish interval. A snapshot is published after each batch.
If a lesson makes a prediction non-finite, the offender is excluded by a journal record, and the policy goes back to its
last good snapshot and on from there. Windows that pass without an outcome become expiry records here.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

import structlog

from sojourn.v1 import journal_pb2
from sojourn_server.config import LearnerConfig
from sojourn_server.errors import BrokenSnapshot, JournalUnavailable, StartRefused
from sojourn_server.journal.journal import LESSON_BODIES, Journal, terminal_key
from sojourn_server.learner.fold import TERMINAL_BODIES, BadLesson, Fold, Join, ends
from sojourn_server.learner.snapshot import Published, Snapshots
from sojourn_server.world import World, after, read_world

log = structlog.get_logger(__name__)


class _Interrupted(Exception):
    """The learner was told to stop while it folded a policy anew: the next start does that again."""


class Audience(Protocol):
    """Who is told what the learner does."""

    def published(self, policy: str, published: Published, *, created_at_ms: int) -> None:
        """A new version is ready for deciders."""

    def expired(self, policy: str, episode_id: str) -> None:
        """An episode's window passed."""

    def joined(self, join: Join) -> None:
        """A terminal record was folded for the first time since the start."""

    def survived(self, fault: Literal["snapshot_rejected", "policy_unhealthy"]) -> None:
        """Something was broken, and left behind."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """What the learner works with; `now_ms` is the wall clock, used for windows and for people only."""

    journal: Journal
    store: Snapshots
    config: LearnerConfig
    now_ms: Callable[[], int]


class Learner:
    """Folds all policies of a journal; one at a time per journal."""

    def __init__(self, place: Workplace, audience: Audience) -> None:
        self._place = place
        self._audience = audience
        self._world = World()  # owned by the learner, as all below
        self._folds: dict[str, Fold] = {}
        self._read = 0
        self._stale: set[str] = set()  # policies whose fold is to be restored first
        self._unpublished: dict[str, int] = {}
        self._expiry_read: dict[str, int] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="learner", daemon=True)

    def start(self) -> None:
        """Restores every policy, catches up with the journal, publishes, then follows in a thread.

        Raises StartRefused if a policy's options do not make a learner.
        """
        self._read = self._place.journal.position()
        self._world = read_world(self._place.journal)
        for policy, state in self._world.policies.items():
            try:
                self._restore(policy)
            except (RuntimeError, BadLesson) as error:  # RuntimeError is Vowpal Wabbit's only one
                options = state.settings.lesson.vw_options
                raise StartRefused(f"policies.{policy}.lesson.vw_options: {options!r}: {error}") from error
        self._thread.start()

    def wake(self) -> None:
        """Something was committed that the learner may want to read."""
        self._wake.set()

    def close(self) -> None:
        """Folds and publishes what is committed, then stops."""
        self._stopping = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        interval_s = self._place.config.publish_interval_ms / 1000
        due_s = time.monotonic() + interval_s
        while True:
            stopping, due = self._stopping, time.monotonic() >= due_s
            if due:
                due_s = time.monotonic() + interval_s
            try:
                self._follow()
                self._expire()
                if stopping or due:
                    self._publish_all()
            except JournalUnavailable as error:
                log.warning("learner_waits_for_journal", error=str(error))
            except _Interrupted:
                return
            except Exception:  # a learner that dies quietly looks like one that has converged: say it, go on
                log.exception("learner_failed")
            if stopping:
                return
            self._wake.wait(max(due_s - time.monotonic(), 0.0))
            self._wake.clear()

    def _follow(self) -> None:
        self._restore_stale()
        while records := self._place.journal.read(self._read, bodies=LESSON_BODIES, limit=256):
            for record in records:
                self._take(record)
                self._read = record.position
            self._restore_stale()

    def _take(self, record: journal_pb2.JournalRecord) -> None:
        if record.WhichOneof("body") in TERMINAL_BODIES:
            self._restore_stale()  # after all that administrators said before
            self._learn(record)
        else:
            self._heed(after(self._world, record))

    def _heed(self, world: World) -> None:
        """Goes on under another world; policies that fold otherwise under it are stale."""
        for policy, state in world.policies.items():
            before = self._world.policies.get(policy)
            if before is None or (state.lesson_digest, state.excluded) != (before.lesson_digest, before.excluded):
                self._stale.add(policy)
            elif policy in self._folds and self._folds[policy].position < state.begins_at(world.position):
                self._stale.add(policy)  # a snapshot was imported
        self._world = world
        for policy_fold in self._folds.values():
            policy_fold.world = world

    def _restore_stale(self) -> None:
        for policy in sorted(self._stale):
            self._restore(policy)

    def _learn(self, record: journal_pb2.JournalRecord) -> None:
        policy_fold = self._folds.get(record.policy)
        if policy_fold is None or record.position <= policy_fold.position:
            return
        try:
            self._audience.joined(policy_fold.take(record, self._place.journal))
        except BadLesson as error:
            self._exclude(record.policy, error)
            self._restore_stale()
            return
        self._count_unpublished(record.policy)

    def _count_unpublished(self, policy: str) -> None:
        self._unpublished[policy] = self._unpublished.get(policy, 0) + 1
        if self._unpublished[policy] >= self._place.config.publish_outcomes:
            self._publish(policy)

    def _exclude(self, policy: str, bad: BadLesson) -> None:
        """Leaves an offender out for good, by a record; the policy is then to be restored without it."""
        self._stale.add(policy)
        self._audience.survived("policy_unhealthy")
        log.error("lesson_excluded", policy=policy, position=bad.position, exc_info=bad)
        record = journal_pb2.JournalRecord(received_at_ms=self._place.now_ms(), policy=policy)
        record.exclusion.after_position = bad.position - 1
        record.exclusion.through_position = bad.position
        record.exclusion.because = bad.why
        self._place.journal.append(record, placed=True)
        self._heed(read_world(self._place.journal, self._world))

    def _restore(self, policy: str) -> None:
        """Folds and publishes a policy anew, up to where the learner stands."""
        self._stale.add(policy)
        restored = None
        while restored is None:
            restored = self._caught_up(policy)
        self._folds[policy] = restored
        self._publish(policy)
        self._stale.discard(policy)

    def _caught_up(self, policy: str) -> Fold | None:
        """The newest sound snapshot, else base or prior, and all records since; None if an offender was left out."""
        until = max(self._read, self._world.position)
        journal = self._place.journal
        restored = self._newest_sound(policy, until) or Fold.begin(policy, self._world, journal, until=until)
        try:
            for record in ends(journal, policy, after=restored.position, until=until):
                if self._stopping:
                    raise _Interrupted
                restored.take(record, journal)
        except BadLesson as error:
            self._exclude(policy, error)
            return None
        restored.position = max(restored.position, self._world.policies[policy].version_floor(until))
        return restored

    def _newest_sound(self, policy: str, until: int) -> Fold | None:
        state, store = self._world.policies[policy], self._place.store
        for version in store.versions(policy):
            if version > until or state.outdates(version):
                continue
            try:
                snapshot = store.load(policy, version)
                if snapshot.lesson_digest == state.lesson_digest:
                    return Fold.restore(self._world, snapshot)
                log.info("snapshot_of_another_lesson", policy=policy, version=version)
            except BrokenSnapshot as error:
                self._audience.survived("snapshot_rejected")
                log.error("snapshot_rejected", policy=policy, version=version, error=str(error))
        log.info("policy_starts_from_base" if state.base(until) else "policy_starts_from_prior", policy=policy)
        return None

    def _publish_all(self) -> None:
        for policy, count in list(self._unpublished.items()):
            if count:
                self._publish(policy)

    def _publish(self, policy: str) -> None:
        """Stores a snapshot and hands a copy to the deciders; a full disk costs the stored copy, not the lesson."""
        policy_fold = self._folds[policy]
        snapshot = policy_fold.snapshot(created_at_ms=self._place.now_ms())
        try:
            self._place.store.save(snapshot)
        except OSError as error:
            log.error("snapshot_not_stored", policy=policy, version=snapshot.position, error=str(error))
        published = Published.of(snapshot, policy_fold.state.settings.lesson)
        self._audience.published(policy, published, created_at_ms=snapshot.created_at_ms)
        self._unpublished[policy] = 0

    def _expire(self) -> None:
        now_ms = self._place.now_ms()
        for policy, state in self._world.policies.items():
            lesson = state.settings.lesson
            for opening in self._place.journal.openings(policy, after=self._expiry_read.get(policy, 0), limit=32):
                if opening.received_at_ms + lesson.outcome_window_ms > now_ms:
                    break
                self._expire_one(policy, opening.episode_id, lesson.expired_score)
                self._expiry_read[policy] = opening.position

    def _expire_one(self, policy: str, episode_id: str, default_score: float | None) -> None:
        if self._place.journal.get(terminal_key(policy, episode_id)) is not None:
            return
        record = journal_pb2.JournalRecord(received_at_ms=self._place.now_ms(), policy=policy, episode_id=episode_id)
        record.episode_expired.SetInParent()
        if default_score is not None:
            record.episode_expired.default_score = default_score
        if self._place.journal.append(record, durable=True).first is None:
            self._audience.expired(policy, episode_id)
