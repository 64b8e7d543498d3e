"""The learned policy: scores, money and utility of each candidate, and the distribution over them.

utility = score - cost_weight * expected USD - friction * [candidate is not the incumbent]. Beliefs are as wide as a
configured share of the utility range, or the cost weight would silently change how much is explored.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from sojourn.v1 import snapshot_pb2
from sojourn_server.config import ChoiceSettings
from sojourn_server.policy import money
from sojourn_server.policy.bandit import action_line, shared_line
from sojourn_server.policy.distribution import probability_matching, width
from sojourn_server.policy.turn import Offer, Turn

_NO_EVIDENCE, _NO_VALUES = snapshot_pb2.Evidence(), snapshot_pb2.RunningMean()  # read only
_USUAL_TURNS = 10.0
_UNKNOWN_SCORE = 0.5
_IMAGINED_EPISODES = 3.0
_USUAL_NOISE, _IMAGINED_LESSONS = 0.1445, 20.0  # squared surprises where scores are 0 or 1
_LEAST_NOISE = 0.05


class Knowledge(Protocol):
    """One version of a policy; safe to share between threads."""

    @property
    def version(self) -> int:
        """Journal position that was learned; 0 is the prior."""

    @property
    def statistics(self) -> snapshot_pb2.Statistics:
        """Counts beside the regressions; read only."""

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        """Advantage of each action line over what is usual, in score units, and the turns to go."""


class Appraisal(NamedTuple):
    """One candidate's prospects: predictions (score, turns to go), USD to the end, USD for a cold cache."""

    score: float
    turns_to_go: float
    cost_usd: float
    switching_cost_usd: float
    utility: float


def lines(turn: Turn, offers: Sequence[Offer], statistics: snapshot_pb2.Statistics) -> tuple[str, list[str]]:
    """The turn as the bandit's text: the shared line, and one line per offer."""
    shared = shared_line(
        turn.request,
        kind=turn.tool_type,
        tabled=turn.tabled,
        phase=turn.phase,
        error_count=turn.error_count,
        last_error=turn.last_error,
        prompt_tokens=turn.prompt_tokens,
        cost_weight=turn.cost_weight,
    )
    rates, usual = _evidence(statistics, turn.phase).error_rate_by_model, statistics.error_rate.mean
    excesses = [error_excess(rates.get(offer.model.name), usual) for offer in offers]
    return shared, [
        action_line(offer.model, offer.features, excess) for offer, excess in zip(offers, excesses, strict=True)
    ]


def _evidence(statistics: snapshot_pb2.Statistics, phase: str) -> snapshot_pb2.Evidence:
    return statistics.evidence_by_phase.get(phase, _NO_EVIDENCE)


def error_excess(known: snapshot_pb2.RunningMean | None, usual: float) -> float:
    """How much likelier than usual a turn of this (phase, model) shows an error, as far as its turns tell; 0 = nothing.

    Shrunk to the usual rate by `_USUAL_TURNS` imagined turns.
    """
    return 0.0 if known is None else known.count * (known.mean - usual) / (known.count + _USUAL_TURNS)


def expected(turn: Turn, offers: Sequence[Offer], knowledge: Knowledge) -> tuple[list[float], float]:
    """The terminal score that each offer is expected to lead to, and the turns to go."""
    statistics, phase = knowledge.statistics, turn.phase
    advantages, turns_to_go = knowledge.predict(*lines(turn, offers, statistics))
    usual = usual_score(statistics, turn.request.context.task_type) + usual_credit(statistics, phase)
    level = usual - _evidence(statistics, phase).advantage.mean
    return [level + advantage for advantage in advantages], turns_to_go


def usual_score(statistics: snapshot_pb2.Statistics, task_type: str) -> float:
    """How episodes of a task type usually end: their mean score, shrunk to that of all."""
    level = statistics.score.mean if statistics.score.count else _UNKNOWN_SCORE
    return _shrunk(statistics.score_by_task_type.get(task_type, _NO_VALUES), level)


def usual_credit(statistics: snapshot_pb2.Statistics, phase: str) -> float:
    """What decisions in a phase are usually credited with above their task type's usual score.

    Some phases are reached by episodes that go well, some by those that do not.
    """
    return _shrunk(_evidence(statistics, phase).credit, 0.0)


def relative_noise(statistics: snapshot_pb2.Statistics) -> float:
    """Variance of surprises, 1 = the usual one, >= .05: the noisier scores are, the more decisions a prior is worth."""
    noise = _shrunk(statistics.progressive_loss, _USUAL_NOISE, _IMAGINED_LESSONS)
    return max(noise / _USUAL_NOISE, _LEAST_NOISE)


def _shrunk(known: snapshot_pb2.RunningMean, usual: float, imagined: float = _IMAGINED_EPISODES) -> float:
    return (known.count * known.mean + imagined * usual) / (known.count + imagined)


def appraise(turn: Turn, offers: Sequence[Offer], knowledge: Knowledge, settings: ChoiceSettings) -> list[Appraisal]:
    """Appraises the offers, in order."""
    statistics, prompt = knowledge.statistics, turn.prompt_tokens
    scores, turns_to_go = expected(turn, offers, knowledge)
    growth = prompt_growth_tokens(statistics, settings)
    phase_turns = _shrunk(_evidence(statistics, turn.phase).turns, settings.default_phase_turns)  # all its stretches
    horizon = money.Horizon(prompt, growth, phase_turns, settings.cacheable_share)
    rates = _rates(turn, offers, statistics, settings)
    shares = [statistics.turns_by_model.get(offer.model.name, 0.0) for offer in offers]
    outlook = money.Outlook(horizon, money.mixed_rates(rates, shares))
    incumbent_warm = next((o.warm_tokens for o in turn.offers if o.model.name == turn.incumbent), 0.0)
    appraisals = []
    for offer, rate, score in zip(offers, rates, scores, strict=True):
        warm = offer.warm_tokens
        usd = outlook.usd(rate, warm_tokens=warm, turns_to_go=turns_to_go)
        utility, switching = score - turn.cost_weight * usd, 0.0
        if turn.incumbent and offer.model.name != turn.incumbent:
            utility -= settings.friction
            switching = money.switching_usd(rate, min(prompt, incumbent_warm), min(prompt, warm))
        appraisals.append(Appraisal(score, turns_to_go, usd, switching, utility))
    return appraisals


def distribution(
    turn: Turn,
    offers: Sequence[Offer],
    appraisals: Sequence[Appraisal],
    *,
    statistics: snapshot_pb2.Statistics,
    settings: ChoiceSettings,
) -> list[float]:
    """Probability matching over the appraised utilities; a belief narrows as (phase, candidate) gathers evidence."""
    known = _evidence(statistics, turn.phase).evidence_by_model
    prior_width = settings.prior_width * settings.utility_range
    prior_evidence = settings.prior_evidence * relative_noise(statistics)
    widths = [
        width(known.get(offer.model.name, 0.0), prior_width=prior_width, prior_evidence=prior_evidence)
        for offer in offers
    ]
    return probability_matching([a.utility for a in appraisals], widths, floor=settings.floor)


def _rates(
    turn: Turn, offers: Sequence[Offer], statistics: snapshot_pb2.Statistics, settings: ChoiceSettings
) -> list[money.Rates]:
    """Each offer's rates at its expected reply length: the caller's, else the model's mean, else the default."""
    context, known = turn.request.context, statistics.output_tokens_by_model
    if context.HasField("expected_output_tokens"):
        expected = float(context.expected_output_tokens)
        return [money.rates(offer.model, expected) for offer in offers]
    models, usual = [offer.model for offer in offers], settings.default_output_tokens
    return [money.rates(model, known[model.name].mean if model.name in known else usual) for model in models]


def prompt_growth_tokens(statistics: snapshot_pb2.Statistics, settings: ChoiceSettings) -> float:
    """Tokens that a turn adds to the prompt."""
    growth = statistics.prompt_growth_tokens
    return growth.mean if growth.count > 0 else settings.default_prompt_growth_tokens
