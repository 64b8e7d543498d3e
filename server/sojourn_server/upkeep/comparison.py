"""What a stored policy knows, held against its journal or against another version of itself.

Against the journal: it is folded anew from the prior, under what administrators had set as of the snapshot's version,
without reading a snapshot, and both sides predict the snapshot's probes and every decision point; one differing bit
shows. Against another version: what both expect of each model at the newest decision points.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from math import inf, isnan

from sojourn.v1 import journal_pb2, snapshot_pb2
from sojourn_server.errors import BrokenSnapshot
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published, open_bandit, probe
from sojourn_server.policy.bandit import Bandit
from sojourn_server.policy.learned import expected, lines
from sojourn_server.policy.turn import Turn, from_record
from sojourn_server.world import ADMINISTRATIVE_BODIES, World, after

Told = Callable[[int], None]
NEWEST = 1_000
"""Decision points at which two versions are compared."""
_PAGE = 1000


@dataclass(frozen=True, slots=True)
class Comparison:
    """How far a rebuilt policy lies from its snapshot; predictions in score units and turns."""

    policy: str
    version: int
    episodes: int
    predictions: int
    max_abs_difference: float
    counts_equal: bool

    @property
    def same(self) -> bool:
        """True if not one bit differs."""
        return self.max_abs_difference == 0.0 and self.counts_equal


@dataclass(frozen=True, slots=True)
class Expectation:
    """What two versions expect of a model on average where it could serve: terminal score of the episode."""

    model: str
    decision_points: int
    old_score: float
    new_score: float


@dataclass(frozen=True, slots=True)
class Changes:
    """How two versions differ at the newest decision points before the newer one."""

    old: int
    new: int
    decision_points: int
    favourites_changed: int
    """Points at which another model has the highest expected score; costs and exploration aside."""
    models: tuple[Expectation, ...]


def compare(
    journal: Journal, snapshot: snapshot_pb2.Snapshot, policy: str, *, told: Told = lambda done: None
) -> Comparison:
    """Folds the journal up to the snapshot's position and compares.

    `told` hears how far it is, from 0 to twice the position. Raises BrokenSnapshot, BadLesson.
    """
    world = _world_as_of(journal, policy, snapshot.position)
    state = world.policies[policy]
    if snapshot.lesson_digest != state.lesson_digest:
        raise BrokenSnapshot("it was made under another lesson, or by a release with another one")
    kept = open_bandit(snapshot, state.settings.lesson)
    rebuilt = _rebuilt(journal, world, policy, snapshot.position, told=told)
    count, largest = 0, 0.0
    for difference in _differences(journal, rebuilt, kept, snapshot, told=told):
        count += 1
        largest = max(largest, inf if isnan(difference) else difference)
    return Comparison(
        policy=policy,
        version=snapshot.position,
        episodes=rebuilt.counts.episodes,
        predictions=count,
        max_abs_difference=largest,
        counts_equal=rebuilt.counts == snapshot.statistics,
    )


def _world_as_of(journal: Journal, policy: str, version: int) -> World:
    """What administrators had set when the journal stood at a version, or when the policy first appeared after it.

    But for the bases: what was erased since is not there any more.
    """
    world, now, read = World(), World(), 0
    while records := journal.read(read, bodies=ADMINISTRATIVE_BODIES, limit=_PAGE):
        for record in records:
            now, read = after(now, record), record.position
            if record.position <= version or policy not in world.policies:
                world = now
    if policy not in world.policies:
        raise BrokenSnapshot("its policy is not in the journal: do both belong together?")
    begins_at = now.policies[policy].begins_at(read)
    if version < begins_at:
        raise BrokenSnapshot(f"replay is exact from version {begins_at} on, where the newest base lies")
    return world.with_policy(policy, replace(world.policies[policy], bases=now.policies[policy].bases))


def _rebuilt(journal: Journal, world: World, policy: str, version: int, *, told: Told) -> Fold:
    fold = Fold.begin(policy, world, journal, until=version)
    for until in (*range(0, version, _PAGE), version):
        fold.catch_up(journal, until)
        told(until)
    return fold


def _differences(
    journal: Journal, rebuilt: Fold, kept: Bandit, snapshot: snapshot_pb2.Snapshot, *, told: Told
) -> Iterator[float]:
    """Absolute differences, one per prediction: of the probes, then of all decision points up to the version."""
    pairs = zip(probe(rebuilt.bandit, snapshot.statistics), probe(kept, snapshot.statistics), strict=True)
    yield from (abs(a - b) for a, b in pairs)
    for record in _decision_points(journal, rebuilt.policy, snapshot.position):
        turn = _turn(record, rebuilt.world)
        text = lines(turn, turn.offers, snapshot.statistics)
        (scores, turns), (kept_scores, kept_turns) = rebuilt.bandit.predict(*text), kept.predict(*text)
        yield from (abs(a - b) for a, b in zip([*scores, turns], [*kept_scores, kept_turns], strict=True))
        told(snapshot.position + record.position)


def compare_versions(
    journal: Journal, old: snapshot_pb2.Snapshot, new: snapshot_pb2.Snapshot, *, told: Told = lambda done: None
) -> Changes:
    """What changed from a version of a policy to a later one; `told` hears the position read. Raises BrokenSnapshot."""
    world = _world_as_of(journal, new.policy, new.position)
    lesson = world.policies[new.policy].settings.lesson
    versions = [Published.of(each, lesson) for each in (old, new)]
    points: deque[journal_pb2.JournalRecord] = deque(maxlen=NEWEST)
    for record in _decision_points(journal, new.policy, new.position):
        points.append(record)
        told(record.position)
    sums: dict[str, tuple[int, float, float]] = {}
    changed = 0
    for record in points:
        turn = _turn(record, world)
        before, now = (expected(turn, turn.offers, version)[0] for version in versions)
        changed += before.index(max(before)) != now.index(max(now))
        for offer, was, score in zip(turn.offers, before, now, strict=True):
            count, old_sum, new_sum = sums.get(offer.model.name, (0, 0.0, 0.0))
            sums[offer.model.name] = count + 1, old_sum + was, new_sum + score
    models = tuple(Expectation(name, n, a / n, b / n) for name, (n, a, b) in sorted(sums.items()))
    return Changes(old.position, new.position, len(points), changed, models)


def _turn(record: journal_pb2.JournalRecord, world: World) -> Turn:
    return from_record(record.decision, world.registries[record.decision.inputs.registry_version])


def _decision_points(journal: Journal, policy: str, until: int) -> Iterator[journal_pb2.JournalRecord]:
    read = 0
    while records := journal.read(read, bodies={"decision"}, limit=_PAGE):
        for record in records:
            read = record.position
            if read > until:
                return
            if record.policy == policy and record.decision.answer.decision_point and not record.features_erased:
                yield record
