"""What is taken out of a journal, and the base that goes in before, so that replay stays exact.

Retention takes the features out of the decisions of episodes that ended long ago; what was chosen, why, at what
probability and cost stays, and so do outcomes, so savings read the same afterwards. An episode that is erased on
request leaves its places in the journal, empty. What either has taught stays in the weights: a base, the policy folded
up to there, is a record before anything is erased. A pass that was cut off is finished by the next one.
"""

from __future__ import annotations

from sojourn.v1 import journal_pb2, router_pb2, snapshot_pb2, types_pb2
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.fold import Fold, ends
from sojourn_server.world import PolicyState, World, read_world

Record = journal_pb2.JournalRecord
RETENTION = journal_pb2.BASE_ORIGIN_RETENTION
GROUP = 200
"""Records that are rewritten at once, while nobody can append."""


def tombstone(record: Record) -> Record:
    """What is left of a record of an erased episode: its place, and when it came."""
    return Record(
        position=record.position,
        received_at_ms=record.received_at_ms,
        policy=record.policy,
        episode_erased=journal_pb2.EpisodeErasedRecord(),
    )


def without_features(record: Record) -> Record:
    """A decision's record without what the caller told of the turn; facts of the turn before stay, and prices."""
    left = Record()
    left.CopyFrom(record)
    left.features_erased = True
    request, inputs = record.decision.request, record.decision.inputs
    left.decision.request.CopyFrom(
        router_pb2.DecideRequest(
            policy=request.policy,
            episode_id=request.episode_id,
            turn_index=request.turn_index,
            attempt=request.attempt,
            context=types_pb2.Context(task_type=request.context.task_type),
            assignment_key=request.assignment_key,
            candidates=[
                types_pb2.Candidate(model=c.model, terms=c.terms) for c in request.candidates if c.HasField("terms")
            ],
        )
    )
    if request.HasField("previous_turn"):
        left.decision.request.previous_turn.CopyFrom(request.previous_turn)
    left.decision.inputs.CopyFrom(
        journal_pb2.DecisionInputs(
            incumbent=inputs.incumbent,
            draw=inputs.draw,
            surviving=inputs.surviving,
            cell=inputs.cell,
            cohort=inputs.cohort,
            cohort_probability=inputs.cohort_probability,
            mode=inputs.mode,
            cost_weight=inputs.cost_weight,
            settings_version=inputs.settings_version,
            registry_version=inputs.registry_version,
        )
    )
    return left


def erase_features(journal: Journal, policy: str, *, before_ms: int, now_ms: int) -> int:
    """Erases the features of a policy's episodes up to the last that ended before a time; how many decisions had some.

    Raises JournalUnavailable, BadLesson.
    """
    world = read_world(journal)
    state = world.policies[policy]
    bases = [b for b in state.bases if b.origin == RETENTION and state.stands(b)]
    *_, before_last, last = 0, 0, *(b.position for b in bases)
    erased = _erase(journal, policy, after=before_last, through=last)
    through = _last_end(journal, policy, after=last, before_ms=before_ms)
    if through > last:
        base = Fold.of(policy, world, journal, until=through).snapshot(created_at_ms=0)
        journal.append(_retention(base, world, now_ms), durable=True, placed=True)
        if read_world(journal, world).policies[policy].erased_through >= through:  # no exclusion came between
            _thin_out(journal, policy, state, through=through)
            erased += _erase(journal, policy, after=last, through=through)
    return erased


def _last_end(journal: Journal, policy: str, *, after: int, before_ms: int) -> int:
    """Position of the last end of an episode before a time, counted from `after`."""
    for record in ends(journal, policy, after=after):
        if record.received_at_ms >= before_ms:
            break
        after = record.position
    return after


def _retention(base: snapshot_pb2.Snapshot, world: World, now_ms: int) -> Record:
    body = journal_pb2.BaseRecord(origin=RETENTION, snapshot=base, world_position=world.position)
    return Record(received_at_ms=now_ms, policy=base.policy, base=body)


def _thin_out(journal: Journal, policy: str, state: PolicyState, *, through: int) -> None:
    """Empties older bases of what a newer one stands for."""
    for base in state.bases:
        if base.position > through:
            continue
        [record] = journal.read(base.recorded_at - 1, bodies={"base"}, limit=1)
        kept = snapshot_pb2.Snapshot(
            policy=policy, position=record.base.snapshot.position, lesson_digest=base.lesson_digest
        )
        if record.base.snapshot != kept:
            record.base.snapshot.CopyFrom(kept)
            journal.rewrite([record])


def _erase(journal: Journal, policy: str, *, after: int, through: int) -> int:
    """Erases the features of episodes that ended in (after, through]; how many decisions had some."""
    erased, group = 0, list[Record]()
    for end in ends(journal, policy, after=after, until=through):
        of_episode = journal.episode(policy, end.episode_id)
        full = (r for r in of_episode if r.HasField("decision") and r.position and not r.features_erased)
        group += map(without_features, full)
        if len(group) >= GROUP:
            journal.rewrite(group)
            erased, group = erased + len(group), []
    if group:
        journal.rewrite(group)
    return erased + len(group)
