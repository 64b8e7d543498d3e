"""`sojourn replay`: folds the journal anew, from the prior, and compares with a stored snapshot.

The fold runs under what administrators had set as of the snapshot's version, and never reads a snapshot itself. Both
sides then predict the snapshot's probes and every decision point of the journal; one differing bit shows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from math import inf, isnan
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.v1 import journal_pb2, snapshot_pb2
from sojourn_server.cli.output import console, facts, fail, print_json, progress
from sojourn_server.cli.source import Json, Place, Policy, open_stored

if TYPE_CHECKING:  # these bring Vowpal Wabbit, which `sojourn health` must not wait for
    from sojourn_server.journal.journal import Journal
    from sojourn_server.learner.fold import Fold
    from sojourn_server.learner.snapshot import Snapshots
    from sojourn_server.policy.bandit import Bandit
    from sojourn_server.world import World

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


def replay(
    journal: Place = "sojourn-data",
    policy: Policy = "default",
    version: Annotated[
        int | None, typer.Option(min=0, help="Snapshot to compare with; the newest unless given.")
    ] = None,
    json: Json = False,
) -> None:
    """Rebuild a policy from its journal alone and compare it with a stored snapshot, prediction by prediction.

    \b
    Examples:
      sojourn replay --journal sojourn-data
      sojourn replay --journal sojourn-data --policy research --version 1204 --json

    Reads only, so it can run beside the router. Exit code 0 if every prediction is equal to the last bit, 1 if one
    differs, 2 if there is nothing to compare.
    """
    from sojourn_server.errors import BrokenSnapshot
    from sojourn_server.learner.fold import BadLesson

    try:
        with open_stored(journal) as (opened, snapshots):
            result = compare(opened, _snapshot(snapshots, policy, version), policy)
    except BrokenSnapshot as error:
        raise fail(f"the snapshot cannot be compared: {error}") from None
    except BadLesson as error:
        raise fail(str(error)) from None
    _print(result, json)
    if not result.same:
        raise typer.Exit(1)


def _snapshot(store: Snapshots, policy: str, version: int | None) -> snapshot_pb2.Snapshot:
    """The stored snapshot. Exits if there is none; raises BrokenSnapshot."""
    stored = store.versions(policy)
    if not stored or version not in {None, *stored}:
        what = f"policy {policy!r} has no snapshot" + ("" if version is None else f" of version {version}")
        next_step = f"stored versions: {stored}" if stored else "start the router on this journal once"
        raise fail(what, next_step=next_step)
    return store.load(policy, stored[0] if version is None else version)


def compare(journal: Journal, snapshot: snapshot_pb2.Snapshot, policy: str) -> Comparison:
    """Folds the journal up to the snapshot's position and compares. Raises BrokenSnapshot, BadLesson."""
    from sojourn_server.errors import BrokenSnapshot
    from sojourn_server.learner.snapshot import open_bandit

    world = _world_as_of(journal, policy, snapshot.position)
    state = world.policies[policy]
    if snapshot.lesson_digest != state.lesson_digest:
        raise BrokenSnapshot("it was made under another lesson, or by a release with another one")
    kept = open_bandit(snapshot, state.settings.lesson)
    rebuilt = _rebuilt(journal, world, policy, snapshot.position)
    count, largest = 0, 0.0
    for difference in _differences(journal, rebuilt, kept, snapshot):
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
    """What administrators had set when the journal stood at a version, or when the policy first appeared after it."""
    from sojourn_server.errors import BrokenSnapshot
    from sojourn_server.world import ADMINISTRATIVE_BODIES, World, after

    world, read = World(), 0
    while records := journal.read(read, bodies=ADMINISTRATIVE_BODIES, limit=_PAGE):
        for record in records:
            if record.position > version and policy in world.policies:
                return world
            world, read = after(world, record), record.position
    if policy not in world.policies:
        raise BrokenSnapshot("its policy is not in the journal: do both belong together?")
    return world


def _rebuilt(journal: Journal, world: World, policy: str, version: int) -> Fold:
    from sojourn_server.learner.fold import Fold

    fold = Fold.prior(policy, world)
    with progress("replaying", version) as moved_to:
        for until in (*range(0, version, _PAGE), version):
            fold.catch_up(journal, until)
            moved_to(until)
    return fold


def _differences(journal: Journal, rebuilt: Fold, kept: Bandit, snapshot: snapshot_pb2.Snapshot) -> Iterator[float]:
    """Absolute differences, one per prediction: of the probes, then of all decision points up to the version."""
    from sojourn_server.learner.snapshot import probe
    from sojourn_server.policy.learned import lines
    from sojourn_server.policy.turn import from_record

    pairs = zip(probe(rebuilt.bandit, snapshot.statistics), probe(kept, snapshot.statistics), strict=True)
    yield from (abs(a - b) for a, b in pairs)
    with progress("comparing", snapshot.position) as moved_to:
        for record in _decision_points(journal, rebuilt.policy, snapshot.position):
            turn = from_record(record.decision, rebuilt.world.registries[record.decision.inputs.registry_version])
            text = lines(turn, turn.offers, snapshot.statistics)
            (scores, turns), (kept_scores, kept_turns) = rebuilt.bandit.predict(*text), kept.predict(*text)
            yield from (abs(a - b) for a, b in zip([*scores, turns], [*kept_scores, kept_turns], strict=True))
            moved_to(record.position)


def _decision_points(journal: Journal, policy: str, until: int) -> Iterator[journal_pb2.JournalRecord]:
    read = 0
    while records := journal.read(read, bodies={"decision"}, limit=_PAGE):
        for record in records:
            read = record.position
            if read > until:
                return
            if record.policy == policy and record.decision.answer.decision_point:
                yield record


def _print(result: Comparison, json: bool) -> None:
    if json:
        print_json(asdict(result) | {"same": result.same})
        return
    what = "predictions" if result.max_abs_difference else "counts"
    pairs = {
        "policy": f"{result.policy}, version {result.version}",
        "replayed": f"{result.episodes} learned episodes",
        "compared": f"{result.predictions} predictions",
        "largest difference": f"{result.max_abs_difference:g}",
        "verdict": "the same, bit for bit" if result.same else f"DIFFERENT {what}",
    }
    console().print(facts(pairs.items()))
