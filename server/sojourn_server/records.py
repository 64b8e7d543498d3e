"""Between the choice's values and the public messages: records and answers, both built in this one place."""

from __future__ import annotations

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.policy.decision import Choice
from sojourn_server.policy.learned import Appraisal
from sojourn_server.policy.turn import Offer, Turn


def answer(turn: Turn, choice: Choice, *, decision_id: str, policy_version: int) -> router_pb2.DecideResponse:
    """The answer to the caller."""
    return router_pb2.DecideResponse(
        decision_id=decision_id,
        model=choice.model,
        propensity=choice.propensity,
        reason=choice.reason,
        switched=bool(turn.incumbent) and choice.model != turn.incumbent,
        decision_point=choice.decision_point,
        ranked=_ranked(choice),
        policy_version=policy_version,
        mode=turn.mode,
        phase=turn.phase,
        incumbent=turn.incumbent,
        cohort=turn.assignment.cohort,
    )


def _ranked(choice: Choice) -> list[types_pb2.RankedCandidate]:
    """Best utility first (else highest probability), excluded ones last."""
    rows = list(zip(choice.offers, choice.appraisals, choice.probabilities, choice.excluded, strict=True))
    rows.sort(key=lambda row: (row[3] != 0, -row[1].utility if row[1] else 0.0, -row[2]))
    return [_candidate(offer, appraisal, p, why) for offer, appraisal, p, why in rows]


def _candidate(
    offer: Offer, appraisal: Appraisal | None, probability: float, why: types_pb2.Exclusion.ValueType
) -> types_pb2.RankedCandidate:
    if appraisal is None:
        return types_pb2.RankedCandidate(model=offer.model.name, probability=probability, excluded_because=why)
    return types_pb2.RankedCandidate(
        model=offer.model.name,
        score=appraisal.score,
        cost_usd=appraisal.cost_usd,
        switching_cost_usd=appraisal.switching_cost_usd,
        utility=appraisal.utility,
        probability=probability,
    )


def write_decision(
    record: journal_pb2.DecisionRecord,
    turn: Turn,
    choice: Choice,
    answered: router_pb2.DecideResponse,
    *,
    settings_version: int,
) -> None:
    """Fills in what the journal keeps of a decision: the request, all inputs, the answer."""
    record.request.CopyFrom(turn.request)
    record.answer.CopyFrom(answered)
    record.learnable = choice.reason != types_pb2.REASON_INNER_FAULT
    _write_inputs(record.inputs, turn, choice)
    record.inputs.settings_version = settings_version


def _write_inputs(inputs: journal_pb2.DecisionInputs, turn: Turn, choice: Choice) -> None:
    inputs.candidates.extend([offer.model.name for offer in choice.offers])
    inputs.warm_tokens.extend([offer.warm_tokens for offer in choice.offers])
    predicted = next(filter(None, choice.appraisals), None)
    if predicted is not None:
        inputs.predicted_turns_to_go = predicted.turns_to_go
    inputs.incumbent = turn.incumbent
    inputs.earlier_phase = turn.earlier_phase
    inputs.phase_model = turn.phase_model
    inputs.phase_change_turns = turn.phase_change_turns
    inputs.incumbent_cache_expired = turn.incumbent_cache_expired
    inputs.failed_models.extend(turn.failed_models)
    inputs.error_count = turn.error_count
    inputs.last_error = turn.last_error
    inputs.prompt_tokens = turn.prompt_tokens
    inputs.draw = turn.draw
    inputs.surviving.low, inputs.surviving.high = turn.surviving
    inputs.cell.low, inputs.cell.high = choice.cell
    inputs.cohort, inputs.cohort_probability = turn.assignment
    inputs.mode = turn.mode
    inputs.cost_weight = turn.cost_weight
    inputs.registry_version = turn.registry_version
    inputs.tool_type = turn.tool_type
    inputs.tabled = turn.tabled
