"""From an ended episode to lessons: which decisions are learned, and what each is credited with. Pure.

The decision at turn t is credited with `s - sum_{i>=t} rho_i`: the episode's score minus the errors from there on. rho
is the annealed error cost of MTRouter (arXiv 2604.23530): `rho_i = max(c(severity) * w(p), 0.2) / N`,
p = min((i + 1) / N, 1), N = expected turns.
Only an episode's first decision in a phase makes a lesson, and answers for all that its candidate led to: later ones
are met by episodes that take long, and those fail more often, whoever serves.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.policy.money import Tokens, rates
from sojourn_server.policy.registry import Model, Registry

_SEVERITY_COST = {types_pb2.SEVERITY_LOW: 0.2, types_pb2.SEVERITY_MEDIUM: 0.8, types_pb2.SEVERITY_HIGH: 1.0}
_EARLY, _LATE = 0.3, 0.7
_EARLY_WEIGHT = 0.3
_LEAST_COST = 0.2
Records = Sequence[journal_pb2.JournalRecord]
Registries = Mapping[int, Registry]
Facts = Mapping[int, types_pb2.TurnFacts]
"""What is known of an episode's turns, by turn index."""


class PlayedTurn(NamedTuple):
    """A turn as it went: its last attempt's decision, its facts (None = never reported), the model that served."""

    turn_index: int
    decision: journal_pb2.DecisionRecord
    facts: types_pb2.TurnFacts | None
    served: str


class Lesson(NamedTuple):
    """One decision to learn: the turn with the model that served, and its credit in score units.

    `contrasts` are the centred indicators of the candidates, in -1 .. 1: (it served) - (its probability).
    """

    turn: PlayedTurn
    credit: float
    turns_to_go: int
    contrasts: Mapping[str, float]


def terminal_score(outcome: router_pb2.ReportOutcomeRequest) -> float | None:
    """The score of an outcome in [0, 1]; None if it teaches nothing (abandoned without a score)."""
    if outcome.HasField("score"):
        return outcome.score
    return {types_pb2.OUTCOME_STATUS_SUCCEEDED: 1.0, types_pb2.OUTCOME_STATUS_FAILED: 0.0}.get(outcome.status)


def cost_usd(records: Records, registries: Registries) -> float | None:
    """`spent_usd` of whoever has the records alone."""
    facts = facts_by_turn(records)
    return spent_usd(records, played_turns(records, facts), facts, registries)


def spent_usd(records: Records, turns: Sequence[PlayedTurn], facts: Facts, registries: Registries) -> float | None:
    """USD of an episode: as its outcome says, else the sum over its turns; None if that of a turn is unknown."""
    for record in records:
        if record.HasField("outcome") and not record.outcome.late and record.outcome.request.HasField("cost_usd"):
            return record.outcome.request.cost_usd
    by_client = facts.keys() - {turn.turn_index for turn in turns}
    clients = [PlayedTurn(t, turns[-1].decision, facts[t], facts[t].served_model) for t in by_client if turns]
    costs = [turn_cost_usd(turn, registries) for turn in (*turns, *clients)]
    known = [cost for cost in costs if cost is not None]
    return sum(known) if known and len(known) == len(costs) else None


def turn_cost_usd(turn: PlayedTurn, registries: Registries) -> float | None:
    """USD of a turn: as reported, else its usage at the prices that its decision knew; None if either is unknown."""
    facts, decision = turn.facts or types_pb2.TurnFacts(), turn.decision
    if facts.HasField("cost_usd"):
        return facts.cost_usd
    own = (Model.of(c.terms) for c in decision.request.candidates if c.model == turn.served and c.HasField("terms"))
    registry, usage = registries.get(decision.inputs.registry_version, Registry()), facts.usage
    model = next(own, registry.models.get(turn.served))
    if model is None or not usage.ListFields():
        return None
    cached = Tokens(usage.cached_read_tokens, usage.cache_write_tokens, turns=1)
    return usage.input_tokens * model.input_usd + cached.usd(rates(model, usage.output_tokens))


def error_cost(severity: types_pb2.Severity.ValueType, turn_index: int, expected_turns: float) -> float:
    """rho of one turn in score units; 0 without an error. `expected_turns` > 0."""
    if (cost := _SEVERITY_COST.get(severity)) is None:
        return 0.0
    progress = min((turn_index + 1) / expected_turns, 1.0)
    return max(cost * error_weight(progress), _LEAST_COST) / expected_turns


def error_weight(progress: float) -> float:
    """How much an error counts by progress in [0, 1]: 0.3 up to 0.3, linear to 1 at 0.7, then 1."""
    weight = _EARLY_WEIGHT + (1.0 - _EARLY_WEIGHT) * (progress - _EARLY) / (_LATE - _EARLY)
    return min(max(weight, _EARLY_WEIGHT), 1.0)


def facts_by_turn(records: Iterable[journal_pb2.JournalRecord]) -> dict[int, types_pb2.TurnFacts]:
    """What is known of an episode's turns from records in journal order, client's own turns too; first facts win."""
    newest, facts = None, dict[int, types_pb2.TurnFacts]()
    for record in records:
        match record.WhichOneof("body"):
            case "decision":
                request = record.decision.request
                newest = max(newest or 0, request.turn_index)
                if request.HasField("previous_turn"):
                    facts.setdefault(request.turn_index - 1, request.previous_turn)
            case "turn" if not record.turn.late:
                facts.setdefault(record.turn.request.turn_index, record.turn.request.facts)
            case "outcome" if record.outcome.request.HasField("last_turn") and newest is not None:
                facts.setdefault(newest, record.outcome.request.last_turn)
    return facts


def played_turns(records: Records, facts: Facts | None = None) -> list[PlayedTurn]:
    """The decided turns of an episode in order, from its records in journal order; `facts` if read already."""
    facts = facts_by_turn(records) if facts is None else facts
    decisions = {r.decision.request.turn_index: r.decision for r in records if r.HasField("decision")}
    return [_played(turn, decisions[turn], facts.get(turn)) for turn in sorted(decisions)]


def _played(turn_index: int, decision: journal_pb2.DecisionRecord, facts: types_pb2.TurnFacts | None) -> PlayedTurn:
    served = facts.served_model if facts and facts.served_model else decision.answer.model
    return PlayedTurn(turn_index, decision, facts, served)


def is_learnable(turn: PlayedTurn, *, learn_served_in_shadow: bool) -> bool:
    """True if this decision teaches: an open choice, sound inside, about the model that served.

    In SHADOW a turn that was never reported teaches nothing, and another candidate than the chosen one only by the
    explicit setting; in LIVE and HEURISTIC an unreported turn is taken to have been served as chosen.
    """
    decision = turn.decision
    if not decision.learnable or not decision.answer.decision_point:
        return False
    if decision.answer.mode == types_pb2.MODE_SHADOW:
        offered = learn_served_in_shadow and turn.served in decision.inputs.candidates
        return turn.facts is not None and (offered or turn.served == decision.answer.model)
    return turn.served == decision.answer.model


def lessons(
    turns: Sequence[PlayedTurn], facts: Facts, score: float, *, expected_turns: float, learn_served_in_shadow: bool
) -> list[Lesson]:
    """The lessons of an ended episode, in turn order, from its decided turns and all its facts; `score` in [0, 1]."""
    first: dict[str, PlayedTurn] = {}
    for played in turns:
        if is_learnable(played, learn_served_in_shadow=learn_served_in_shadow):
            first.setdefault(played.decision.answer.phase, played)
    costs = {t: error_cost(f.error, t, expected_turns) for t, f in facts.items() if f.error in _SEVERITY_COST}
    end = max([t.turn_index for t in turns] + list(facts), default=-1) + 1
    return [
        Lesson(
            turn=turn,
            credit=score - sum(cost for at, cost in costs.items() if at >= turn.turn_index),
            turns_to_go=end - turn.turn_index,
            contrasts=_contrasts(turn),
        )
        for turn in first.values()
    ]


def _contrasts(turn: PlayedTurn) -> dict[str, float]:
    """By candidate; where others chose, who served is taken for one of all at random."""
    answer = turn.decision.answer
    probabilities = {c.model: c.probability for c in answer.ranked if not c.excluded_because}
    if turn.served != answer.model or answer.propensity <= 0.0:
        names = sorted({*turn.decision.inputs.candidates, turn.served})
        probabilities = dict.fromkeys(names, 1.0 / len(names))
    return {model: (model == turn.served) - probability for model, probability in probabilities.items()}
