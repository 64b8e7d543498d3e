"""Everything that one choice uses, as a value: what `see` gathers, the journal keeps, and the law replays.

`decide(turn, knowledge, settings)` with the turn rebuilt from a record by `from_record` gives the recorded answer.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.config import ChoiceSettings
from sojourn_server.policy.distribution import UNIT, Interval
from sojourn_server.policy.draws import Assignment
from sojourn_server.policy.episode import Episode, Standing, wanted_phase
from sojourn_server.policy.registry import Model, Registry

_NO_FEATURES: Mapping[str, float] = {}


class Offer(NamedTuple):
    """A candidate at this turn: its terms, the tokens presumed warm in its cache, the request's numbers about it."""

    model: Model
    warm_tokens: float
    features: Mapping[str, float]


class Turn(NamedTuple):
    """A turn before its choice. `offers` stand in the order of their models' names; the draw lies in `surviving`."""

    request: router_pb2.DecideRequest
    offers: tuple[Offer, ...]
    tool_type: str
    tabled: bool
    incumbent: str
    earlier_phase: str
    phase: str
    phase_model: str
    phase_change_turns: int
    incumbent_cache_expired: bool
    failed_models: tuple[str, ...]
    error_count: int
    last_error: types_pb2.Severity.ValueType
    prompt_tokens: float
    registry_version: int
    draw: float
    surviving: Interval
    assignment: Assignment
    mode: types_pb2.Mode.ValueType
    cost_weight: float


class PhaseOfTurn(NamedTuple):
    """The phase that a turn is counted to, and for how many turns in a row another one was asked for."""

    phase: str
    change_turns: int


def phase_of(
    request: router_pb2.DecideRequest, episode: Episode, tool_type: str, *, debounce_turns: int
) -> PhaseOfTurn:
    """Applies the debounce: a phase changes once `debounce_turns` turns in a row have asked for the same other one."""
    wanted, standing = wanted_phase(request.context, tool_type), episode.standing(request.turn_index)
    if standing.phase is None or wanted == standing.phase:
        return PhaseOfTurn(wanted, 0)
    repeated = standing.wanted_phase_turns if wanted == standing.wanted_phase else 0
    changed = repeated + 1
    return PhaseOfTurn(wanted if changed >= debounce_turns else standing.phase, changed)


def see(
    request: router_pb2.DecideRequest,
    episode: Episode,
    registry: Registry,
    *,
    settings: ChoiceSettings,
    tool_type: str,
    phase: PhaseOfTurn,
    draw: float,
    assignment: Assignment,
    mode: types_pb2.Mode.ValueType,
    prompt_growth_tokens: float,
    now_ms: int,
) -> Turn:
    """Gathers the turn from the request and the episode so far (whose facts include `previous_turn`)."""
    newest, context = episode.newest, request.context
    same_turn = newest is not None and newest.turn_index == request.turn_index
    previous = episode.facts.get(request.turn_index - 1)
    standing = episode.standing(request.turn_index)
    offers = _offers(request, standing, registry, now_ms)
    return Turn(
        request=request,
        offers=offers,
        tool_type=tool_type,
        tabled=tool_type in settings.heuristic.table,
        incumbent=standing.incumbent,
        earlier_phase=standing.phase or "",
        phase=phase.phase,
        phase_model=episode.phase_models.get(phase.phase, ""),
        phase_change_turns=phase.change_turns,
        incumbent_cache_expired=_cache_expired(standing, offers, now_ms),
        failed_models=episode.tried if same_turn else (),
        error_count=context.error_count if context.HasField("error_count") else episode.error_count,
        last_error=context.last_error or (previous.error if previous else types_pb2.SEVERITY_UNSPECIFIED),
        prompt_tokens=_prompt_tokens(context, episode, settings, prompt_growth_tokens),
        registry_version=registry.version,
        draw=draw,
        surviving=episode.interval(phase.phase),
        assignment=assignment,
        mode=mode,
        cost_weight=request.cost_weight if request.HasField("cost_weight") else settings.cost_weight,
    )


def _offers(
    request: router_pb2.DecideRequest, standing: Standing, registry: Registry, now_ms: int
) -> tuple[Offer, ...]:
    known = _offered(request, registry) if request.candidates else [(m, _NO_FEATURES) for m in registry.models.values()]
    return tuple([Offer(model, _warm(standing, model, now_ms), features) for model, features in known])


def _offered(request: router_pb2.DecideRequest, registry: Registry) -> list[tuple[Model, Mapping[str, float]]]:
    """The request's candidates in the order of their names, with the request's terms where it brings them."""
    return [
        (Model.of(c.terms) if c.HasField("terms") else registry.models[c.model], c.features)
        for c in sorted(request.candidates, key=lambda c: c.model)
    ]


def _warm(standing: Standing, model: Model, now_ms: int) -> float:
    """Tokens still warm; negative idle time counts as 0, and a model without a cache is never warm."""
    warmth = standing.warmth.get(model.name)
    if warmth is None or not model.has_cache or now_ms - warmth.used_at_ms > model.cache_ttl_ms:
        return 0.0
    return warmth.tokens


def _cache_expired(standing: Standing, offers: Sequence[Offer], now_ms: int) -> bool:
    model = next((offer.model for offer in offers if offer.model.name == standing.incumbent), None)
    warmth = standing.warmth.get(standing.incumbent)
    if model is None or warmth is None or not model.has_cache:
        return False
    return now_ms - warmth.used_at_ms > model.cache_ttl_ms


def _prompt_tokens(
    context: types_pb2.Context, episode: Episode, settings: ChoiceSettings, growth_tokens: float
) -> float:
    """The caller's count, else the newest prompt plus the usual growth, else the configured default."""
    if context.HasField("prompt_tokens"):
        return float(context.prompt_tokens)
    if episode.newest is None:
        return settings.default_prompt_tokens
    return episode.newest.prompt_tokens + growth_tokens


def from_record(record: journal_pb2.DecisionRecord, registry: Registry) -> Turn:
    """The turn that a decision record describes; `registry` is the one of `record.inputs.registry_version`."""
    request, inputs = record.request, record.inputs
    known: dict[str, tuple[Model, Mapping[str, float]]] = {m.name: (m, _NO_FEATURES) for m in registry.models.values()}
    known.update({model.name: (model, features) for model, features in _offered(request, registry)})
    return Turn(
        request=request,
        offers=tuple(
            Offer(known[name][0], warm, known[name][1])
            for name, warm in zip(inputs.candidates, inputs.warm_tokens, strict=True)
        ),
        tool_type=inputs.tool_type,
        tabled=inputs.tabled,
        incumbent=inputs.incumbent,
        earlier_phase=inputs.earlier_phase,
        phase=record.answer.phase,
        phase_model=inputs.phase_model,
        phase_change_turns=inputs.phase_change_turns,
        incumbent_cache_expired=inputs.incumbent_cache_expired,
        failed_models=tuple(inputs.failed_models),
        error_count=inputs.error_count,
        last_error=inputs.last_error,
        prompt_tokens=inputs.prompt_tokens,
        registry_version=inputs.registry_version,
        draw=inputs.draw,
        surviving=Interval(inputs.surviving.low, inputs.surviving.high) if inputs.HasField("surviving") else UNIT,
        assignment=Assignment(inputs.cohort, inputs.cohort_probability),
        mode=inputs.mode,
        cost_weight=inputs.cost_weight,
    )
