"""What administrators have set, as a fold over the journal's administrative records: registry, settings, modes.

A `World` is a value: a decider that holds one never sees half a change. The learner folds the same records, so it
needs no configuration file. The configuration seeds an empty journal; from then on the registry belongs to
AdminService, and a model that differs from the file keeps its terms, with a warning. Settings belong to the file: new
ones are journaled at the start, and act from there on.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from hashlib import sha256
from types import MappingProxyType
from typing import NamedTuple

import structlog
from pydantic import ValidationError

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.config import Config, ModelConfig, PolicyConfig, PolicySettings
from sojourn_server.errors import StartRefused
from sojourn_server.journal.journal import Journal
from sojourn_server.policy.registry import Registry

ADMINISTRATIVE_BODIES = frozenset({"settings", "mode", "model_put", "model_removed", "exclusion", "base"})
log = structlog.get_logger(__name__)
LESSON_FORMAT = 4
"""Raised when the code of the lesson changes what a journal folds to: old snapshots are then rebuilt."""


class Excluded(NamedTuple):
    """Records in (after, through] that the fold leaves out, by the record at `position`.

    With a `reporter` only the outcomes that it sent.
    """

    after: int
    through: int
    position: int
    reporter: str = ""

    def covers(self, record: journal_pb2.JournalRecord) -> bool:
        """True if the fold leaves this record out."""
        if not self.after < record.position <= self.through:
            return False
        return not self.reporter or (record.reporter == self.reporter and record.HasField("outcome"))


class Base(NamedTuple):
    """A state that the fold goes on from: it stands for the journal up to `position`, and lies in another record."""

    position: int
    recorded_at: int
    origin: journal_pb2.BaseOrigin.ValueType
    lesson_digest: str
    world_position: int


@dataclass(frozen=True, slots=True)
class PolicyState:
    """One policy as administrators have set it. `prior_registry` is the registry as of its settings record.

    `lesson_version` is the position of the settings record that last changed the lesson; 0 = it never changed.
    """

    settings: PolicySettings
    settings_version: int
    lesson_version: int
    prior_registry: Registry
    lesson_digest: str
    mode: types_pb2.Mode.ValueType = types_pb2.MODE_HEURISTIC
    live_share: float = 1.0
    excluded: tuple[Excluded, ...] = ()
    bases: tuple[Base, ...] = ()

    @property
    def erased_through(self) -> int:
        """Up to here no lesson can be folded again: features are erased."""
        erased = (b.position for b in self.bases if b.origin == journal_pb2.BASE_ORIGIN_RETENTION and self.stands(b))
        return max(erased, default=0)

    def base(self, until: int) -> Base | None:
        """Where a fold up to `until` begins, unless with the prior: the newest base that stands."""
        return max((b for b in self.bases if b.position <= until and self.stands(b)), default=None)

    def begins_at(self, until: int) -> int:
        """Position of that base; 0 with the prior. Nothing that was made before it is of use."""
        return base.position if (base := self.base(until)) else 0

    def stands(self, base: Base) -> bool:
        """False if the base was taken back: it knows what a later exclusion leaves out.

        What retention has erased cannot be folded again: there only an exclusion counts that it missed when it was
        made. An imported base goes only if its own record is left out; nothing that a reporter sent here is in it.
        """
        reaching = [e for e in self.excluded if e.after < base.position]
        match base.origin:
            case journal_pb2.BASE_ORIGIN_RETENTION:
                return not any(base.world_position < e.position < base.recorded_at for e in reaching)
            case journal_pb2.BASE_ORIGIN_IMPORT:
                return not any(base.position <= e.through and not e.reporter for e in reaching)
        return base.lesson_digest == self.lesson_digest and not any(base.position < e.position for e in reaching)

    def version_floor(self, until: int) -> int:
        """Least version of a fold up to `until`: past every change after which a position means another state."""
        return max(self.lesson_version, *(e.position for e in self.excluded if e.position <= until), 0)

    def excludes(self, record: journal_pb2.JournalRecord) -> bool:
        """True if the fold leaves out this record."""
        return any(e.covers(record) for e in self.excluded)

    def outdates(self, snapshot_position: int) -> bool:
        """True if a snapshot at this position may have learned what was excluded later, or erased."""
        behind = any(snapshot_position < base.position for base in self.bases)
        return behind or any(e.after < snapshot_position < e.position for e in self.excluded)


@dataclass(frozen=True, slots=True)
class World:
    """Everything administrators have set, as of a journal position; `registries` has every version that ever was."""

    position: int = 0
    registry: Registry = field(default_factory=Registry)
    policies: Mapping[str, PolicyState] = field(default_factory=lambda: MappingProxyType({}))
    registries: Mapping[int, Registry] = field(default_factory=lambda: MappingProxyType({0: Registry()}))

    def _with_registry(self, registry: Registry) -> World:
        registries = MappingProxyType({**self.registries, registry.version: registry})
        return replace(self, registry=registry, registries=registries)

    def with_policy(self, policy: str, state: PolicyState) -> World:
        """The world in which this policy stands otherwise."""
        return replace(self, policies=MappingProxyType({**self.policies, policy: state}))


def after(world: World, record: journal_pb2.JournalRecord) -> World:
    """The world once an administrative record is committed; other records only move its position."""
    if record.position <= world.position:
        return world
    world = replace(world, position=record.position)
    match record.WhichOneof("body"):
        case "model_put":
            return world._with_registry(world.registry.put(record.model_put.model, record.position))
        case "model_removed":
            return world._with_registry(world.registry.without(record.model_removed.name, record.position))
        case "settings":
            return world.with_policy(record.policy, _after_settings(world, record))
        case "mode":
            state = replace(world.policies[record.policy], mode=record.mode.mode, live_share=record.mode.live_share)
            return world.with_policy(record.policy, state)
        case "exclusion":
            state, exclusion = world.policies[record.policy], record.exclusion
            excluded = Excluded(
                exclusion.after_position, exclusion.through_position, record.position, exclusion.reporter
            )
            return world.with_policy(record.policy, replace(state, excluded=(*state.excluded, excluded)))
        case "base":
            state = world.policies[record.policy]
            return world.with_policy(record.policy, replace(state, bases=(*state.bases, _base(record))))
    return world


def _base(record: journal_pb2.JournalRecord) -> Base:
    """What is imported has learned elsewhere, so its own position says nothing here."""
    body, here = record.base, record.position
    position = here if body.origin == journal_pb2.BASE_ORIGIN_IMPORT else body.snapshot.position
    return Base(position, here, body.origin, body.snapshot.lesson_digest, body.world_position)


def fold(records: Iterable[journal_pb2.JournalRecord], world: World | None = None) -> World:
    """The world that these records, in journal order, add up to."""
    world = world or World()
    for record in records:
        world = after(world, record)
    return world


def _settings_of(record: journal_pb2.JournalRecord) -> PolicySettings:
    try:
        return PolicySettings.model_validate_json(record.settings.settings_json, extra="ignore")
    except ValidationError as error:
        raise StartRefused(
            f"the journal's settings of policy {record.policy!r} (position {record.position}) are not of this release "
            f"({error.errors()[0]['msg']}): start the release that wrote them, or point journal.directory elsewhere"
        ) from error


def _after_settings(world: World, record: journal_pb2.JournalRecord) -> PolicyState:
    settings = _settings_of(record)
    before = world.policies.get(record.policy)
    digest = lesson_digest(settings, world.registry)
    if before is None:
        return PolicyState(settings, record.position, 0, world.registry, digest)
    return replace(
        before,
        settings=settings,
        settings_version=record.position,
        lesson_version=before.lesson_version if digest == before.lesson_digest else record.position,
        prior_registry=world.registry,
        lesson_digest=digest,
    )


def lesson_digest(settings: PolicySettings, registry: Registry) -> str:
    """Digest of all that a fold depends on beside the journal: lesson settings and the prior's inputs."""
    choice = settings.choice
    prior_inputs = choice.model_dump_json(
        include={
            "cost_weight",
            "heuristic",
            "cacheable_share",
            "default_output_tokens",
            "default_prompt_growth_tokens",
            "default_phase_turns",
        }
    )
    parts = [str(LESSON_FORMAT), settings.lesson.model_dump_json(), prior_inputs]
    parts += [model.terms.SerializeToString(deterministic=True).hex() for model in registry.models.values()]
    return sha256("\n".join(parts).encode()).hexdigest()


# --- The configuration's way into the journal ---


def model_terms(model: ModelConfig) -> types_pb2.Model:
    """A configured model as the public message."""
    terms = types_pb2.Model(
        **model.model_dump(exclude={"cache", "context_length_tokens"}),
        context_length_tokens=model.context_length_tokens,
    )
    if model.cache is not None:
        terms.cache.MergeFrom(types_pb2.PromptCache(**model.cache.model_dump()))
    return terms


def read_world(journal: Journal, world: World | None = None) -> World:
    """The world as the journal has it; `world` is what was read of it so far."""
    world = world or World()
    while records := journal.read(world.position, bodies=ADMINISTRATIVE_BODIES):
        world = fold(records, world)
    return world


def load_world(journal: Journal, config: Config, now_ms: int) -> World:
    """The journal's world, brought in line with the configuration by new records where need be."""
    world = read_world(journal)
    for record in _missing(world, config):
        record.received_at_ms = now_ms
        record.position = journal.append(record, durable=True, placed=True).position
        world = after(world, record)
    return world


def _missing(world: World, config: Config) -> list[journal_pb2.JournalRecord]:
    records = []
    if world.position == 0:
        for model in config.models:
            put = journal_pb2.ModelPutRecord(model=model_terms(model))
            records.append(journal_pb2.JournalRecord(model_put=put))
    else:
        _warn_of_differences(world, config)
    for name, policy in config.policies.items():
        records += _missing_policy(world, name, policy)
    return records


def _missing_policy(world: World, name: str, policy: PolicyConfig) -> list[journal_pb2.JournalRecord]:
    state, settings = world.policies.get(name), policy.settings()
    records = []
    if state is None or state.settings != settings:
        body = journal_pb2.SettingsRecord(settings_json=settings.model_dump_json())
        records.append(journal_pb2.JournalRecord(policy=name, settings=body))
    if state is None:
        mode = types_pb2.Mode.Value(f"MODE_{policy.mode}")
        body_of_mode = journal_pb2.ModeRecord(mode=mode, live_share=policy.live_share)
        records.append(journal_pb2.JournalRecord(policy=name, mode=body_of_mode))
    return records


def _warn_of_differences(world: World, config: Config) -> None:
    configured = {model.name: model_terms(model) for model in config.models}
    for name in sorted(set(configured) | set(world.registry.models)):
        known = world.registry.models.get(name)
        terms = known.terms if known else None
        if terms != configured.get(name):
            log.warning(
                "registry_differs_from_configuration",
                model=name,
                next_step="the journal's terms are used; change them with AdminService.PutModel or RemoveModel",
            )
