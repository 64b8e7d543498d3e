"""What administrators do: each change is a journal record, committed first, then acted on.

One lock orders the changes of this process, and the world that deciders follow is read back from the journal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

from sojourn.v1 import admin_pb2, journal_pb2, snapshot_pb2, types_pb2
from sojourn_server.errors import (
    BrokenSnapshot,
    EpisodeOpen,
    FieldViolation,
    InvalidField,
    JournalUnavailable,
    LessonsErased,
    UnknownEpisode,
    UnknownModel,
    UnknownSnapshot,
)
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.fold import TERMINAL_BODIES
from sojourn_server.learner.snapshot import Snapshots, Stored, decode, encode, open_bandit
from sojourn_server.router import DEFAULT_POLICY, Call, Router, Wakeable
from sojourn_server.upkeep.erasure import tombstone
from sojourn_server.world import PolicyState, World, read_world

ERASURE, IMPORT = journal_pb2.BASE_ORIGIN_ERASURE, journal_pb2.BASE_ORIGIN_IMPORT
_PAGE = 1000
_PATIENCE_S, _LOOK_S = 5.0, 0.05


class Administration:
    """Changes the world, and shows what the journal knows."""

    def __init__(self, journal: Journal, router: Router, store: Snapshots, learner: Wakeable) -> None:
        self._journal = journal
        self._router = router
        self._store = store
        self._learner = learner
        self._lock = threading.RLock()  # held from reading what a change builds on to its commit

    def _commit(self, call: Call, policy: str = "", **body: Any) -> int:
        record = journal_pb2.JournalRecord(
            received_at_ms=call.received_at_ms, reporter=call.reporter, policy=policy, **body
        )
        with self._lock:
            record.position = self._journal.append(record, durable=True, placed=True).position
            self._router.follow(read_world(self._journal, self._router.world))
        self._learner.wake()
        return record.position

    def _state(self, policy: str) -> PolicyState:
        self._router.knowledge(policy)
        return self._world.policies[policy]

    def _newest_state(self, policy: str) -> PolicyState:
        """As the journal has it now, whoever wrote it."""
        return read_world(self._journal, self._world).policies[policy]

    @property
    def _world(self) -> World:
        return self._router.world

    # --- Models ---

    def models(self) -> list[types_pb2.Model]:
        """The registry by name."""
        return [model.terms for model in self._world.registry.models.values()]

    def registries(self, records: Sequence[journal_pb2.JournalRecord]) -> list[admin_pb2.RegistryVersion]:
        """The registry as of each version that decisions among the records name."""
        known = read_world(self._journal, self._world).registries
        versions = sorted({r.decision.inputs.registry_version for r in records if r.HasField("decision")})
        models = {version: [model.terms for model in known[version].models.values()] for version in versions}
        return [admin_pb2.RegistryVersion(version=version, models=terms) for version, terms in models.items()]

    def put_model(self, model: types_pb2.Model, call: Call) -> types_pb2.Model:
        """Adds or replaces a model."""
        self._commit(call, model_put=journal_pb2.ModelPutRecord(model=model))
        return model

    def remove_model(self, name: str, call: Call) -> None:
        """Removes a model. Raises UnknownModel."""
        self._model(name)
        self._commit(call, model_removed=journal_pb2.ModelRemovedRecord(name=name))

    def drain_model(self, name: str, drained: bool, call: Call) -> types_pb2.Model:
        """Drains a model or takes the drain back. Raises UnknownModel."""
        model = types_pb2.Model()
        with self._lock:
            model.CopyFrom(self._model(name))
            model.drained = drained
            return self.put_model(model, call)

    def _model(self, name: str) -> types_pb2.Model:
        found = self._world.registry.models.get(name)
        if found is None:
            raise UnknownModel(f"name: no model {name!r}; there are {sorted(self._world.registry.models)}")
        return found.terms

    # --- Policies ---

    def policy(self, policy: str) -> admin_pb2.GetPolicyResponse:
        """A policy as it stands. Raises UnknownPolicy."""
        policy = policy or DEFAULT_POLICY
        state, knowledge = self._state(policy), self._router.knowledge(policy)
        return admin_pb2.GetPolicyResponse(
            policy=policy,
            mode=state.mode,
            live_share=state.live_share,
            policy_version=knowledge.version,
            journal_position=self._journal.position(),
            settings_json=state.settings.model_dump_json(),
            statistics=knowledge.statistics,
        )

    def set_mode(self, policy: str, mode: types_pb2.Mode.ValueType, call: Call) -> None:
        """Sets a policy's mode. Raises UnknownPolicy."""
        policy = policy or DEFAULT_POLICY
        with self._lock:
            share = self._state(policy).live_share
            self._commit(call, policy, mode=journal_pb2.ModeRecord(mode=mode, live_share=share))

    def set_live_share(self, policy: str, live_share: float, call: Call) -> None:
        """Sets the share of new episodes, in [0, 1], that the learned policy serves. Raises UnknownPolicy."""
        policy = policy or DEFAULT_POLICY
        with self._lock:
            mode = self._state(policy).mode
            self._commit(call, policy, mode=journal_pb2.ModeRecord(mode=mode, live_share=live_share))

    def snapshots(self, policy: str) -> Sequence[Stored]:
        """Stored snapshots, newest first. Raises UnknownPolicy."""
        policy = policy or DEFAULT_POLICY
        self._state(policy)
        return self._store.list(policy)

    def roll_back(self, policy: str, version: int, call: Call) -> int:
        """Excludes all lessons after a version; position of the exclusion. Raises UnknownPolicy, UnknownSnapshot."""
        policy = policy or DEFAULT_POLICY
        self._state(policy)
        here = self._journal.position()
        if version > here:
            raise UnknownSnapshot(f"policy_version: {version} lies ahead of the journal, which ends at {here}")
        self._check_reach("policy_version", policy, version)
        exclusion = journal_pb2.ExclusionRecord(
            after_position=version, through_position=here, because=f"rolled back to version {version}"
        )
        return self._commit(call, policy, exclusion=exclusion)

    def undo_reporter(self, request: admin_pb2.UndoReporterRequest, call: Call) -> int:
        """Excludes what a reporter's outcomes taught; position of the exclusion. Raises UnknownPolicy."""
        policy = request.policy or DEFAULT_POLICY
        self._state(policy)
        self._check_reach("after_position", policy, request.after_position)
        exclusion = journal_pb2.ExclusionRecord(
            after_position=request.after_position,
            through_position=self._journal.position(),
            because=request.because or f"outcomes of {request.reporter} undone",
            reporter=request.reporter,
        )
        return self._commit(call, policy, exclusion=exclusion)

    def _check_reach(self, field: str, policy: str, after: int) -> None:
        """Raises LessonsErased if an exclusion behind a position would have to fold what has no features any more."""
        erased = self._newest_state(policy).erased_through
        if after < erased:
            raise LessonsErased(f"{field}: must be at least {erased}: features of lessons up to there are erased")

    def snapshot_file(self, policy: str, version: int | None) -> bytes:
        """A stored snapshot as a file; None = the newest. Raises UnknownPolicy, UnknownSnapshot."""
        versions = [stored.version for stored in self.snapshots(policy)]
        if not versions or version not in {None, *versions}:
            raise UnknownSnapshot(f"policy_version: no version {version} is stored; there are {versions}")
        try:
            return encode(self._store.load(policy or DEFAULT_POLICY, versions[0] if version is None else version))
        except BrokenSnapshot as error:
            raise UnknownSnapshot(f"policy_version: the stored snapshot is broken: {error}") from error

    def import_snapshot(self, policy: str, file: bytes, call: Call) -> int:
        """Goes on from a snapshot's file; position of its record. Raises UnknownPolicy, InvalidField."""
        policy = policy or DEFAULT_POLICY
        lesson, digest = self._state(policy).settings.lesson, self._state(policy).lesson_digest
        try:
            snapshot = decode(file)
            if snapshot.lesson_digest != digest:
                raise BrokenSnapshot("made under other lesson settings or models: both routers need the same")
            open_bandit(snapshot, lesson, of_any_platform=True)
        except BrokenSnapshot as error:
            raise InvalidField([FieldViolation("chunk", f"must be a snapshot for this policy: {error}")]) from error
        snapshot.policy = policy
        return self._commit(call, policy, base=journal_pb2.BaseRecord(origin=IMPORT, snapshot=snapshot))

    # --- Episodes and journal ---

    def erase_episode(self, request: admin_pb2.EraseEpisodeRequest, call: Call) -> int:
        """Erases an ended episode; how many records. Raises UnknownEpisode, EpisodeOpen, LessonsErased."""
        policy = request.policy or DEFAULT_POLICY
        records = self.episode(policy, request.episode_id)
        end = next((r.position for r in records if r.WhichOneof("body") in TERMINAL_BODIES), None)
        if end is None:
            raise EpisodeOpen("the episode has no outcome yet: report one, if need be ABANDONED")
        if not all(record.position for record in records):
            raise JournalUnavailable("records of the episode have no place yet")
        state = self._newest_state(policy)
        if request.rebuild:
            if end <= state.erased_through:
                raise LessonsErased("rebuild: the features of its lessons are erased; it can only be erased without")
            exclusion = journal_pb2.ExclusionRecord(
                after_position=end - 1, through_position=end, because="an episode was erased"
            )
            self._commit(call, policy, exclusion=exclusion)
        elif state.begins_at(self._journal.position()) < end:
            base = journal_pb2.BaseRecord(origin=ERASURE, snapshot=self._snapshot_with(policy, end))
            self._commit(call, policy, base=base)
        self._journal.rewrite([tombstone(record) for record in records])
        return len(records)

    def _snapshot_with(self, policy: str, position: int) -> snapshot_pb2.Snapshot:
        """A stored snapshot that has learned up to a position: one comes soon. Raises JournalUnavailable."""
        give_up_at = time.monotonic() + _PATIENCE_S
        while time.monotonic() < give_up_at:
            newest = next(iter(self._store.versions(policy)), 0)
            if newest >= position:
                with suppress(BrokenSnapshot):
                    return self._store.load(policy, newest)
            time.sleep(_LOOK_S)
        raise JournalUnavailable("no snapshot is stored yet that has learned the episode")

    def episode(self, policy: str, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """An episode's records in journal order. Raises UnknownEpisode."""
        found = self._journal.episode(policy or DEFAULT_POLICY, episode_id)
        if not found:
            raise UnknownEpisode(f"episode_id: no episode {episode_id!r} under policy {policy or DEFAULT_POLICY!r}")
        if any(record.HasField("episode_erased") for record in found):
            raise UnknownEpisode("episode_id: its records are erased")
        return found

    def episodes(self, policy: str, *, before: int | None, limit: int) -> list[journal_pb2.JournalRecord]:
        """First records of episodes, newest first, below a position."""
        newest = before if before is not None else self._journal.position() + 1
        return self._journal.openings(policy or DEFAULT_POLICY, before=newest, limit=limit)

    def journal(self, after_position: int) -> Iterator[journal_pb2.JournalRecord]:
        """The journal's records after a position, up to its end as it stands now."""
        end = self._journal.position()
        while after_position < end:
            page = self._journal.read(after_position, limit=_PAGE)
            for record in page:
                if record.position > end:
                    return
                yield record
            after_position = page[-1].position if page else end
