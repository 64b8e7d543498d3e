"""The choice, read from top to bottom: eligible -> decision point -> distribution -> sample -> propensity.

Pure: the same turn, knowledge and settings give the same choice. Nothing after the sample may move a probability,
so the propensity is read off the very distribution that was sampled. An error alone never opens a decision, and an
episode that comes back to a phase comes back to the model that served it: a choice there is for the whole episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeVar

from sojourn.v1 import types_pb2 as pb
from sojourn_server.config import ChoiceSettings
from sojourn_server.errors import NoEligibleCandidate
from sojourn_server.policy import heuristic, money
from sojourn_server.policy.distribution import UNIT, Interval, point, sample
from sojourn_server.policy.draws import HEURISTIC, LEARNED
from sojourn_server.policy.learned import Appraisal, Knowledge, appraise, distribution
from sojourn_server.policy.registry import Model
from sojourn_server.policy.turn import Offer, Turn

T = TypeVar("T")
_CERTAIN = frozenset({pb.REASON_HELD, pb.REASON_MUST_STAY, pb.REASON_RETURNED})


class Choice(NamedTuple):
    """A choice with its reasons. `appraisals` runs along `offers`; None where a candidate was not appraised.

    `probabilities` likewise; `excluded` has EXCLUSION_UNSPECIFIED (0) for eligible candidates.
    """

    model: str
    propensity: float
    reason: pb.Reason.ValueType
    decision_point: bool
    offers: tuple[Offer, ...]
    probabilities: Sequence[float]
    appraisals: Sequence[Appraisal | None]
    excluded: Sequence[pb.Exclusion.ValueType]
    cell: Interval


def decide(turn: Turn, knowledge: Knowledge, settings: ChoiceSettings) -> Choice:
    """Chooses a model. Raises NoEligibleCandidate if every candidate is excluded."""
    excluded, over_budget = _admitted(turn)
    eligible = [i for i, why in enumerate(excluded) if not why]
    reason = pb.REASON_BUDGET if over_budget else opening(turn, excluded)
    if reason in _CERTAIN:
        return _certain(turn, turn.phase_model if reason == pb.REASON_RETURNED else turn.incumbent, reason)
    offers = [turn.offers[i] for i in eligible]
    within, appraisals = _distribution(turn, offers, knowledge, settings)
    drawn = sample(within, turn.draw, turn.surviving)
    return Choice(
        model=offers[drawn.place].model.name,
        propensity=drawn.propensity,
        reason=reason,
        decision_point=not over_budget,
        offers=turn.offers,
        probabilities=_spread(within, eligible, len(excluded), 0.0),
        appraisals=_spread(appraisals, eligible, len(excluded), None),
        excluded=excluded,
        cell=drawn.cell,
    )


def _distribution(
    turn: Turn, offers: Sequence[Offer], knowledge: Knowledge, settings: ChoiceSettings
) -> tuple[list[float], Sequence[Appraisal | None]]:
    """Probabilities over the eligible offers by the episode's cohort, and what the learned policy thought."""
    if len(offers) == 1:
        return [1.0], [None]
    if turn.assignment.cohort == LEARNED:
        appraisals = appraise(turn, offers, knowledge, settings)
        within = distribution(turn, offers, appraisals, statistics=knowledge.statistics, settings=settings)
        return within, appraisals
    index = _tabled(turn, offers, settings)
    explore = settings.explore_share if turn.assignment.cohort == HEURISTIC else 0.0
    tabled = point(len(offers), index)
    return [(1.0 - explore) * p + explore / len(offers) for p in tabled], [None] * len(offers)


def _tabled(turn: Turn, offers: Sequence[Offer], settings: ChoiceSettings) -> int:
    """The choice of a control cohort: the reference model if it is there, else the heuristic's."""
    names = [offer.model.name for offer in offers]
    if turn.assignment.cohort != HEURISTIC and settings.reference_model in names:
        return names.index(settings.reference_model)
    chosen = heuristic.choose(
        settings.heuristic,
        [offer.model for offer in offers],
        kind=turn.tool_type,
        language=turn.request.context.language,
    )
    return names.index(chosen.name)


def exclusions(turn: Turn) -> list[pb.Exclusion.ValueType]:
    """Why each offer may not serve this turn, in order; EXCLUSION_UNSPECIFIED (0) for those that may."""
    tokens = turn.prompt_tokens + turn.request.context.expected_output_tokens
    if not turn.failed_models and not turn.request.HasField("constraints"):
        return [_why_unfit(offer.model, tokens) for offer in turn.offers]
    return [_why_unfit(offer.model, tokens) or _why_barred(offer, turn) for offer in turn.offers]


def _why_unfit(model: Model, tokens: float) -> pb.Exclusion.ValueType:
    if model.drained:
        return pb.EXCLUSION_DRAINED
    if model.context_length_tokens is not None and tokens > model.context_length_tokens:
        return pb.EXCLUSION_CONTEXT_LENGTH
    return pb.EXCLUSION_UNSPECIFIED


def _why_barred(offer: Offer, turn: Turn) -> pb.Exclusion.ValueType:
    model, constraints, name = offer.model, turn.request.constraints, offer.model.name
    if constraints.allow and name not in constraints.allow:
        return pb.EXCLUSION_NOT_ALLOWED
    if name in constraints.deny:
        return pb.EXCLUSION_DENIED
    if name in turn.failed_models:
        return pb.EXCLUSION_EARLIER_ATTEMPT
    if not model.capabilities.issuperset(constraints.required_capabilities):
        return pb.EXCLUSION_MISSING_CAPABILITY
    if constraints.HasField("remaining_budget_usd") and this_turn_usd(offer, turn) > constraints.remaining_budget_usd:
        return pb.EXCLUSION_BUDGET
    return pb.EXCLUSION_UNSPECIFIED


def this_turn_usd(offer: Offer, turn: Turn) -> float:
    """USD of this turn alone at the cache's actual warmth, with the caller's expected output (0 if not given)."""
    rate = money.rates(offer.model, turn.request.context.expected_output_tokens)
    return money.turn_usd(rate, prompt_tokens=turn.prompt_tokens, warm_tokens=offer.warm_tokens)


def _admitted(turn: Turn) -> tuple[list[pb.Exclusion.ValueType], bool]:
    """The exclusions, of which at least one is none, and whether the budget had to give way for that.

    If nobody fits the budget, the cheapest that nothing else bars may serve: the router never stops an agent. Raises
    NoEligibleCandidate if there is no such candidate either.
    """
    excluded = exclusions(turn)
    if not all(excluded):
        return excluded, False
    barred = [i for i, why in enumerate(excluded) if why == pb.EXCLUSION_BUDGET]
    if not barred:
        raise NoEligibleCandidate(_explain(turn, excluded))
    cheapest = min(barred, key=lambda i: this_turn_usd(turn.offers[i], turn))
    excluded[cheapest] = pb.EXCLUSION_UNSPECIFIED
    return excluded, True


def opening(turn: Turn, excluded: Sequence[pb.Exclusion.ValueType]) -> pb.Reason.ValueType:
    """Why the policy may choose at this turn, or what serves for sure: incumbent (HELD, MUST_STAY), RETURNED."""
    if turn.request.attempt > 0:
        return pb.REASON_NEW_ATTEMPT
    if not turn.incumbent:
        return pb.REASON_FIRST_TURN
    eligible = [o.model.name for o, why in zip(turn.offers, excluded, strict=True) if not why]
    must_stay, changed = turn.request.constraints.HasField("must_stay_because"), turn.phase != turn.earlier_phase
    if changed and turn.phase_model in eligible and not must_stay:
        return pb.REASON_RETURNED
    if turn.incumbent not in eligible:
        return pb.REASON_INCUMBENT_INELIGIBLE
    if must_stay:
        return pb.REASON_MUST_STAY
    if changed:
        return pb.REASON_PHASE_CHANGED
    return pb.REASON_CACHE_EXPIRED if turn.incumbent_cache_expired else pb.REASON_HELD


def _certain(turn: Turn, model: str, reason: pb.Reason.ValueType) -> Choice:
    """Takes a model for sure; lists it alone."""
    offers = tuple(o for o in turn.offers if o.model.name == model)
    return Choice(model, 1.0, reason, False, offers, [1.0], [None], [pb.EXCLUSION_UNSPECIFIED], UNIT)


def fall_back(turn: Turn, settings: ChoiceSettings, reason: pb.Reason.ValueType) -> Choice:
    """The choice when something inside failed: the incumbent, else the heuristic's, for sure; never learned.

    Raises NoEligibleCandidate if every candidate is excluded.
    """
    excluded, _ = _admitted(turn)
    eligible = [o for o, why in zip(turn.offers, excluded, strict=True) if not why]
    staying = [o for o in eligible if o.model.name == turn.incumbent] or eligible
    language = turn.request.context.language
    chosen = heuristic.choose(settings.heuristic, [o.model for o in staying], kind=turn.tool_type, language=language)
    offers = tuple(o for o in staying if o.model is chosen)
    return Choice(chosen.name, 1.0, reason, False, offers, [1.0], [None], [pb.EXCLUSION_UNSPECIFIED], UNIT)


def _spread(values: Sequence[T], places: Sequence[int], count: int, missing: T) -> Sequence[T]:
    if len(places) == count:
        return values
    spread = [missing] * count
    for place, value in zip(places, values, strict=True):
        spread[place] = value
    return spread


def _explain(turn: Turn, excluded: Sequence[pb.Exclusion.ValueType]) -> str:
    why = ", ".join(
        f"{offer.model.name} ({pb.Exclusion.Name(code).removeprefix('EXCLUSION_').lower()})"
        for offer, code in zip(turn.offers, excluded, strict=True)
    )
    return f"no candidate may serve this turn: {why or 'no candidates were offered'}"
