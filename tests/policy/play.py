"""Plays episodes through the choice alone: see -> decide -> record -> fold, with draws that the test picks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server import records
from sojourn_server.config import ChoiceSettings, Config, LessonSettings, PolicyConfig, PriorSettings
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.policy import draws, heuristic
from sojourn_server.policy.bandit import shared_line
from sojourn_server.policy.decision import Choice, decide
from sojourn_server.policy.episode import Episode, after_decision, after_facts
from sojourn_server.policy.learned import Knowledge, prompt_growth_tokens
from sojourn_server.policy.registry import Registry
from sojourn_server.policy.turn import Turn, phase_of, see
from sojourn_server.world import load_world, model_terms

QUICK_LESSON = LessonSettings(weight_bits=12, prior=PriorSettings(events=200))
LEARNED = draws.Assignment(draws.LEARNED, 1.0)
SECOND_MS = 1_000


@lru_cache
def default_registry() -> Registry:
    """The six models that need no file."""
    return Registry.of(model_terms(model) for model in Config().models)


@lru_cache
def taught() -> Knowledge:
    """Version 0: the default models, taught a small prior."""
    config = Config(policies={"default": PolicyConfig(lesson=QUICK_LESSON)})
    fold = Fold.prior("default", load_world(MemoryJournal(), config, 0))
    return Published.of(fold.snapshot(created_at_ms=0), QUICK_LESSON)


def asked(turn_index: int = 0, **fields: Any) -> router_pb2.DecideRequest:
    """A request; fields of the context go by their own names, all others too."""
    context = {name: fields.pop(name) for name in list(fields) if name in types_pb2.Context.DESCRIPTOR.fields_by_name}
    if context:
        fields["context"] = types_pb2.Context(**context)
    return router_pb2.DecideRequest(episode_id="e", turn_index=turn_index, **fields)


def line_of(context: types_pb2.Context, *, turn_index: int = 0, **inputs: Any) -> str:
    """The shared line of a turn; what `inputs` do not say is usual: its tool type is in the table, no error."""
    usual: dict[str, Any] = {
        "kind": context.tool_type,
        "tabled": True,
        "phase": context.phase or context.tool_type,
        "error_count": 0,
        "last_error": types_pb2.SEVERITY_UNSPECIFIED,
        "prompt_tokens": 10_000.0,
        "cost_weight": 1.0,
    }
    return shared_line(router_pb2.DecideRequest(turn_index=turn_index, context=context), **(usual | inputs))


class Play:
    """One episode; `phase_draws` gives the draw of a phase (one for all phases where it is a number)."""

    def __init__(
        self,
        *,
        settings: ChoiceSettings | None = None,
        registry: Registry | None = None,
        knowledge: Knowledge | None = None,
        phase_draws: Mapping[str, float] | float = 0.5,
        assignment: draws.Assignment = LEARNED,
        mode: types_pb2.Mode.ValueType = types_pb2.MODE_LIVE,
    ) -> None:
        self.settings = settings or ChoiceSettings()
        self.registry = registry or default_registry()
        self.knowledge = knowledge or taught()
        self.phase_draws = phase_draws
        self.assignment = assignment
        self.mode = mode
        self.episode = Episode()
        self.now_ms = 0

    def turn(self, request: router_pb2.DecideRequest) -> Turn:
        """What the choice would see."""
        episode = self._met(request)
        settings, context = self.settings, request.context
        kind = heuristic.tool_type(settings.heuristic, given=context.tool_type, tool_name=context.tool_name)
        phase = phase_of(request, episode, kind, debounce_turns=settings.phase_debounce_turns)
        given = self.phase_draws
        return see(
            request,
            episode,
            self.registry,
            settings=settings,
            tool_type=kind,
            phase=phase,
            draw=given[phase.phase] if isinstance(given, Mapping) else given,
            assignment=self.assignment,
            mode=self.mode,
            prompt_growth_tokens=prompt_growth_tokens(self.knowledge.statistics, settings),
            now_ms=self.now_ms,
        )

    def _met(self, request: router_pb2.DecideRequest) -> Episode:
        if not request.HasField("previous_turn"):
            return self.episode
        return after_facts(
            self.episode,
            request.turn_index - 1,
            request.previous_turn,
            at_ms=self.now_ms,
            cacheable_share=self.settings.cacheable_share,
        )

    def choose(self, request: router_pb2.DecideRequest) -> Choice:
        """Decides without going on."""
        return decide(self.turn(request), self.knowledge, self.settings)

    def ask(self, turn_index: int = 0, **fields: Any) -> Choice:
        """Decides one turn and goes on; a second passes."""
        request = asked(turn_index, **fields)
        turn = self.turn(request)
        choice = decide(turn, self.knowledge, self.settings)
        answer = records.answer(turn, choice, decision_id="", policy_version=0)
        record = journal_pb2.DecisionRecord()
        records.write_decision(record, turn, choice, answer, settings_version=0)
        share = self.settings.cacheable_share
        self.episode = after_decision(self.episode, record, at_ms=self.now_ms, cacheable_share=share)
        self.now_ms += SECOND_MS
        return choice

    def report(self, turn_index: int, **facts: Any) -> None:
        """Tells the facts of a turn on their own."""
        self.episode = after_facts(
            self.episode,
            turn_index,
            types_pb2.TurnFacts(**facts),
            at_ms=self.now_ms,
            cacheable_share=self.settings.cacheable_share,
        )

    def hold_until(self, turn_index: int, **fields: Any) -> list[Choice]:
        """Plays turns 0 to `turn_index`, this one included, all alike."""
        return [self.ask(t, **fields) for t in range(turn_index + 1)]


def others(*names: str, registry: Registry | None = None) -> list[str]:
    """The registry's models but these."""
    return [name for name in (registry or default_registry()).models if name not in names]


def excluded(choice: Choice) -> dict[str, types_pb2.Exclusion.ValueType]:
    """Why each candidate was excluded; only those that were."""
    return {o.model.name: why for o, why in zip(choice.offers, choice.excluded, strict=True) if why}


def probabilities(choice: Choice) -> dict[str, float]:
    """The choice's distribution by model."""
    return {o.model.name: p for o, p in zip(choice.offers, choice.probabilities, strict=True)}


def models(*terms: types_pb2.Model) -> Registry:
    """A registry of these models."""
    return Registry.of(terms)


def model(name: str, **terms: Any) -> types_pb2.Model:
    """A model at 1 USD in and 4 USD out per million tokens, with a cache of a tenth and five minutes."""
    cache = types_pb2.PromptCache(read_multiplier=0.1, write_multiplier=1.0, ttl_ms=300_000)
    defaults: dict[str, Any] = {
        "model_class": "medium",
        "input_usd_per_mtok": 1.0,
        "output_usd_per_mtok": 4.0,
        "cache": cache,
    }
    return types_pb2.Model(name=name, **{**defaults, **terms})


def reasons(choices: Iterable[Choice]) -> list[str]:
    """Reasons in short form."""
    return [types_pb2.Reason.Name(choice.reason).removeprefix("REASON_") for choice in choices]
