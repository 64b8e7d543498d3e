"""What an episode's records add up to: incumbent, sojourn, warm caches, errors, what is known of its draws.

`Episode` is a value; `after_*` fold one record into it. The live path and a reload from the journal run the same
folds, so both see the same episode. First facts of a turn win; later ones that differ change nothing here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import NamedTuple

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.policy.distribution import UNIT, Interval
from sojourn_server.policy.draws import Assignment

_NOTHING: Mapping[str, Interval] = MappingProxyType({})
_NO_MODELS: Mapping[str, str] = MappingProxyType({})
_NO_WARMTH: Mapping[str, Warmth] = MappingProxyType({})
_NO_FACTS: Mapping[int, types_pb2.TurnFacts] = MappingProxyType({})


class Warmth(NamedTuple):
    """Prompt tokens last left in a model's cache (None = the whole prompt of that turn), and when."""

    tokens: float
    used_at_ms: int


class Standing(NamedTuple):
    """How an episode stands before a turn: who serves, in which phase (None = none yet), what is warm."""

    incumbent: str = ""
    phase: str | None = None
    wanted_phase: str = ""
    wanted_phase_turns: int = 0
    warmth: Mapping[str, Warmth] = _NO_WARMTH

    def served_by(self, model: str, warmth: Warmth) -> Standing:
        """The standing once a model served a turn and left this much in its cache."""
        return self._replace(incumbent=model, warmth={**self.warmth, model: warmth})


class Served(NamedTuple):
    """The newest decided turn: number, attempt, chosen model, prompt length, time."""

    turn_index: int
    attempt: int
    model: str
    prompt_tokens: float
    at_ms: int


class Episode(NamedTuple):
    """State of one episode before its next turn; empty for one that was never seen.

    `surviving` and `phase_models` are by phase: where its draw is known to lie, and which model a decision there chose
    last (what served, if the caller says that another did).
    """

    newest: Served | None = None
    now: Standing = Standing()
    before: Standing = Standing()
    surviving: Mapping[str, Interval] = _NOTHING
    phase_models: Mapping[str, str] = _NO_MODELS
    facts: Mapping[int, types_pb2.TurnFacts] = _NO_FACTS
    error_count: int = 0
    tried: tuple[str, ...] = ()
    assignment: Assignment | None = None
    decisions: int = 0
    ended: bool = False
    expired: bool = False

    def standing(self, turn_index: int) -> Standing:
        """How the episode stands as a decision at this turn meets it.

        A new attempt at the newest turn meets what its first attempt met: the failed model never served.
        """
        same_turn = self.newest is not None and self.newest.turn_index == turn_index
        return self.before if same_turn else self.now

    def interval(self, phase: str) -> Interval:
        """Where the draw of this phase is known to lie."""
        return self.surviving.get(phase, UNIT)


def after_facts(
    episode: Episode, turn_index: int, facts: types_pb2.TurnFacts, *, at_ms: int, cacheable_share: float
) -> Episode:
    """The episode once the facts of a turn are known; unchanged if that turn's facts are known already."""
    if turn_index < 0 or turn_index in episode.facts:
        return episode
    newest, now, before, phase_models = episode.newest, episode.now, episode.before, episode.phase_models
    if newest is not None and turn_index == newest.turn_index:
        # What served takes the place of what was chosen, whose cache stays as it was.
        warmth = Warmth(_warm_tokens(facts, newest.prompt_tokens, cacheable_share), newest.at_ms)
        served = before.served_by(facts.served_model or newest.model, warmth)
        now = now._replace(incumbent=served.incumbent, warmth=served.warmth)
        phase_models = {p: served.incumbent if p == now.phase else model for p, model in phase_models.items()}
    elif newest is None or turn_index > newest.turn_index:
        model = facts.served_model or now.incumbent
        if model:
            warmth = Warmth(_warm_tokens(facts, newest.prompt_tokens if newest else 0.0, cacheable_share), at_ms)
            now = now.served_by(model, warmth)
    elif turn_index == newest.turn_index - 1 and facts.served_model:
        before = before._replace(incumbent=facts.served_model)
    return episode._replace(
        facts={**episode.facts, turn_index: _detached(facts)},
        error_count=episode.error_count + (facts.error >= types_pb2.SEVERITY_LOW),
        now=now,
        before=before,
        phase_models=phase_models,
    )


def _detached(facts: types_pb2.TurnFacts) -> types_pb2.TurnFacts:
    """A copy: facts that ride on a request keep all its memory, features included, while the episode is cached."""
    copy = types_pb2.TurnFacts()
    copy.CopyFrom(facts)
    return copy


def _warm_tokens(facts: types_pb2.TurnFacts, prompt_tokens: float, cacheable_share: float) -> float:
    """What the turn left in the cache: what was measured, else the cacheable share of its prompt."""
    usage = facts.usage
    if usage.HasField("cache_write_tokens"):
        return float(usage.cached_read_tokens + usage.cache_write_tokens)
    measured = usage.input_tokens + usage.cached_read_tokens
    return cacheable_share * (measured or prompt_tokens)


def after_decision(
    episode: Episode, record: journal_pb2.DecisionRecord, *, at_ms: int, cacheable_share: float
) -> Episode:
    """The episode once this decision is committed; its previous turn's facts count first."""
    request, answer, inputs = record.request, record.answer, record.inputs
    if request.HasField("previous_turn"):
        episode = after_facts(
            episode, request.turn_index - 1, request.previous_turn, at_ms=at_ms, cacheable_share=cacheable_share
        )
    turn_index, model, phase, prompt_tokens = request.turn_index, answer.model, answer.phase, inputs.prompt_tokens
    same_turn = episode.newest is not None and episode.newest.turn_index == turn_index
    before = episode.standing(turn_index)
    surviving, cell = inputs.surviving, inputs.cell
    left = Interval(max(surviving.low, cell.low), min(surviving.high, cell.high))
    # Built in one piece: each _replace would cost as much as all of this.
    return Episode(
        newest=Served(turn_index, request.attempt, model, prompt_tokens, at_ms),
        now=Standing(
            incumbent=model,
            phase=phase,
            wanted_phase=wanted_phase(request.context, inputs.tool_type),
            wanted_phase_turns=inputs.phase_change_turns if phase == before.phase else 0,
            warmth={**before.warmth, model: Warmth(cacheable_share * prompt_tokens, at_ms)},
        ),
        before=before,
        surviving={**episode.surviving, phase: left},
        phase_models={**episode.phase_models, phase: model} if answer.decision_point else episode.phase_models,
        facts=episode.facts,
        error_count=episode.error_count,
        tried=(*episode.tried, model) if same_turn else (model,),
        assignment=episode.assignment or Assignment(inputs.cohort, inputs.cohort_probability),
        decisions=episode.decisions + 1,
        ended=episode.ended,
        expired=episode.expired,
    )


def wanted_phase(context: types_pb2.Context, tool_type: str) -> str:
    """The phase that a turn asks for: the caller's, else the tool type."""
    return context.phase or tool_type


def after_outcome(episode: Episode, *, expired: bool) -> Episode:
    """The episode once its terminal record is committed."""
    return episode._replace(ended=True, expired=expired)


def after_record(episode: Episode, record: journal_pb2.JournalRecord, *, cacheable_share: float) -> Episode:
    """Folds any record of the episode."""
    at_ms = record.received_at_ms
    match record.WhichOneof("body"):
        case "decision":
            return after_decision(episode, record.decision, at_ms=at_ms, cacheable_share=cacheable_share)
        case "turn" if not record.turn.late:
            request: router_pb2.ReportTurnRequest = record.turn.request
            return after_facts(episode, request.turn_index, request.facts, at_ms=at_ms, cacheable_share=cacheable_share)
        case "outcome" if not record.outcome.late:
            outcome = record.outcome.request
            if outcome.HasField("last_turn") and episode.newest is not None:
                last = episode.newest.turn_index
                episode = after_facts(episode, last, outcome.last_turn, at_ms=at_ms, cacheable_share=cacheable_share)
            return after_outcome(episode, expired=False)
        case "episode_expired":
            return after_outcome(episode, expired=True)
    return episode


def fold(records: Iterable[journal_pb2.JournalRecord], *, cacheable_share: float) -> Episode:
    """The episode that these records, in journal order, add up to."""
    episode = Episode()
    for record in records:
        episode = after_record(episode, record, cacheable_share=cacheable_share)
    return episode
