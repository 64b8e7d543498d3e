"""An episode as a strip of stretches: turns on one model that one decision answers for, and why it was made.

A sojourn is one or several stretches: a decision point that stays begins a new stretch on the same model, and the
held turns that follow belong to it. What the router weighed is in the decision's ranking; here it becomes a sentence.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.exchange.turns import DecidedTurn, forfeited_usd, has_error, served_turns, short_name
from sojourn_server.policy.registry import Registry

_WORDS: dict[int, str] = {
    types_pb2.REASON_UNSPECIFIED: "not said",
    types_pb2.REASON_HELD: "another model served than the router held",
    types_pb2.REASON_FIRST_TURN: "first turn",
    types_pb2.REASON_CACHE_EXPIRED: "the cache was gone, so leaving was free",
    types_pb2.REASON_BUDGET: "nothing fits the budget that is left: the cheapest",
    types_pb2.REASON_JOURNAL_UNAVAILABLE: "the journal was away: kept what was there",
    types_pb2.REASON_INNER_FAULT: "the choice failed inside: kept what was there",
}
_CONTROLS: dict[int, str] = {
    types_pb2.COHORT_HEURISTIC: "chosen by the table",
    types_pb2.COHORT_NEVER_SWITCH: "never-switch control",
}


class Stretch(NamedTuple):
    """Consecutive turns on one model, the first of which was decided and the others held; at least one turn."""

    turns: tuple[DecidedTurn, ...]
    model: str
    phase: str
    switched: bool
    why: str
    forfeited_usd: float | None
    """What the switch threw away of the earlier model's cache; None = no switch, or nobody worked it out."""

    @property
    def errors(self) -> list[tuple[int, str]]:
        """Turns with an error, and how severe: "low", "medium", "high"."""
        return [
            (turn.decision.request.turn_index, short_name(types_pb2.Severity, turn.facts.error).lower())
            for turn in self.turns
            if turn.facts is not None and has_error(turn)
        ]

    @property
    def cost_usd(self) -> float | None:
        """Money of its turns; None if that of a turn is unknown."""
        known = [turn.cost_usd for turn in self.turns if turn.cost_usd is not None]
        return sum(known) if len(known) == len(self.turns) else None


class Staying(NamedTuple):
    """Turns that followed an error, and those of them that stayed with the model."""

    after_errors: int
    stayed: int


def stretches(records: Sequence[journal_pb2.JournalRecord], registries: Mapping[int, Registry]) -> list[Stretch]:
    """An episode's stretches in order, from its records in journal order, without attempts that could not serve."""
    groups: list[list[DecidedTurn]] = []
    for turn in served_turns(records, registries):
        held = turn.decision.answer.reason == types_pb2.REASON_HELD
        if groups and held and turn.served == groups[-1][-1].served:
            groups[-1].append(turn)
        else:
            groups.append([turn])
    return [_stretch(group) for group in groups]


def staying(turns: Sequence[DecidedTurn]) -> Staying:
    """How often the model stayed after an error, whatever the reason."""
    after = [not later.switched for earlier, later in pairwise(turns) if has_error(earlier)]
    return Staying(len(after), sum(after))


def _stretch(turns: Sequence[DecidedTurn]) -> Stretch:
    first = turns[0]
    return Stretch(
        turns=tuple(turns),
        model=first.served,
        phase=first.decision.answer.phase,
        switched=first.switched,
        why=why(first),
        forfeited_usd=forfeited_usd(first),
    )


def why(turn: DecidedTurn) -> str:
    """Why the turn went where it went, in plain words."""
    if turn.imported:
        return "played elsewhere and imported: nobody here chose"
    said = [_occasion(turn.decision)]
    if turn.served != turn.decision.answer.model:
        said.append(f"chosen was {turn.decision.answer.model}; the caller served another")
    elif turn.decision.answer.decision_point:
        said.append(_verdict(turn))
    return "; ".join(filter(None, said))


def _occasion(decision: journal_pb2.DecisionRecord) -> str:
    """Why there was something to choose, or why not."""
    inputs, reason = decision.inputs, decision.answer.reason
    match reason:
        case types_pb2.REASON_PHASE_CHANGED:
            earlier = f"from {inputs.earlier_phase} " if inputs.earlier_phase else ""
            return f"the work changed {earlier}to {decision.answer.phase or 'work without a name'}"
        case types_pb2.REASON_RETURNED:
            return f"back to {decision.answer.phase or 'work without a name'}, and to the model that served it"
        case types_pb2.REASON_MUST_STAY:
            return f"the caller asked to stay: {decision.request.constraints.must_stay_because}"
        case types_pb2.REASON_NEW_ATTEMPT:
            return f"{', '.join(inputs.failed_models) or 'the model chosen before'} could not serve"
        case types_pb2.REASON_INCUMBENT_INELIGIBLE:
            barred = (c.excluded_because for c in decision.answer.ranked if c.model == inputs.incumbent)
            because = short_name(types_pb2.Exclusion, next(barred, 0)).replace("_", " ").lower()
            return f"{inputs.incumbent} may not serve: {because or 'it is not offered'}"
    return _WORDS.get(reason, short_name(types_pb2.Reason, reason))


def _verdict(turn: DecidedTurn) -> str:
    """What the chosen model had for it: utility against the incumbent's, or the next best one's."""
    answer, rated = turn.decision.answer, _rated(turn.decision)
    if not rated:
        return _CONTROLS.get(answer.cohort, "")
    best = max(rated, key=lambda c: c.utility)
    chosen = next((c for c in rated if c.model == answer.model), best)
    if chosen.utility < best.utility:
        tried = f"tried with probability {chosen.probability:.2f}"
        return f"{tried}, though {best.model} looked worth {best.utility - chosen.utility:.3f} more"
    others = [c for c in rated if c is not chosen]
    if not others:
        return ""
    rival = next((c for c in others if c.model == answer.incumbent), max(others, key=lambda c: c.utility))
    return (
        f"worth {chosen.utility - rival.utility:.3f} more than {rival.model} "
        f"(score {chosen.score - rival.score:+.3f}, USD to go {chosen.cost_usd - rival.cost_usd:+.4f})"
    )


def _rated(decision: journal_pb2.DecisionRecord) -> list[types_pb2.RankedCandidate]:
    return [c for c in decision.answer.ranked if c.HasField("utility")]
