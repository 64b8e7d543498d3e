"""An episode's decisions with what became of each, for views: what served, what it cost, where it switched.

The journal keeps facts and outcomes apart from decisions; here they are joined, as the learner joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.learner.credit import played_turns, terminal_score
from sojourn_server.policy.registry import Model

_NO_PRICES: Mapping[str, Model] = MappingProxyType({})


class DecidedTurn(NamedTuple):
    """A decision with its turn's facts (None = never reported) and the model that served.

    `served` is "" for an attempt that another one replaced. An imported decision chose nothing: `imported` is True.
    """

    record: journal_pb2.JournalRecord
    facts: types_pb2.TurnFacts | None
    served: str
    switched: bool
    cost_usd: float | None

    @property
    def decision(self) -> journal_pb2.DecisionRecord:
        """The decision's record."""
        return self.record.decision

    @property
    def imported(self) -> bool:
        """True if nobody here chose: the turn was played elsewhere, its propensity is unknown."""
        return not self.decision.answer.model


class Ending(NamedTuple):
    """How an episode ended: an OutcomeStatus without prefix, EXPIRED, or "" if only a score was given.

    `score` None = it teaches nothing.
    """

    at_ms: int
    status: str
    score: float | None
    cost_usd: float | None


def decided_turns(
    records: Sequence[journal_pb2.JournalRecord], prices: Mapping[str, Model] = _NO_PRICES
) -> Iterator[DecidedTurn]:
    """The decisions of an episode's records, in journal order; `prices` for turns whose cost nobody reported."""
    played = {turn.turn_index: turn for turn in played_turns(records)}
    incumbent = ""
    for record in records:
        if not record.HasField("decision"):
            continue
        turn = played[record.decision.request.turn_index]
        if turn.decision.request.attempt != record.decision.request.attempt:
            yield DecidedTurn(record, None, "", False, None)
            continue
        switched = bool(incumbent) and turn.served != incumbent
        incumbent = turn.served
        cost = None if turn.facts is None else turn_cost_usd(turn.facts, prices.get(turn.served))
        yield DecidedTurn(record, turn.facts, turn.served, switched, cost)


def served_turns(
    records: Sequence[journal_pb2.JournalRecord], prices: Mapping[str, Model] = _NO_PRICES
) -> list[DecidedTurn]:
    """The turns of an episode that were served, in journal order."""
    return [turn for turn in decided_turns(records, prices) if turn.served]


def has_error(turn: DecidedTurn) -> bool:
    """Whether the turn is known to have gone wrong."""
    return turn.facts is not None and turn.facts.error >= types_pb2.SEVERITY_LOW


def forfeited_usd(turn: DecidedTurn) -> float | None:
    """Money that this turn's switch threw away with the cache; None = no switch, or nobody worked it out."""
    answer = turn.decision.answer
    if not turn.switched or turn.served != answer.model:
        return None
    return next((given(c, "switching_cost_usd") for c in answer.ranked if c.model == answer.model), None)


def ending(records: Sequence[journal_pb2.JournalRecord]) -> Ending | None:
    """The episode's terminal record; None while it is open."""
    for record in records:
        if record.HasField("episode_expired"):
            expired = record.episode_expired
            score = expired.default_score if expired.HasField("default_score") else None
            return Ending(record.received_at_ms, "EXPIRED", score, None)
        if record.HasField("outcome") and not record.outcome.late:
            request = record.outcome.request
            cost = request.cost_usd if request.HasField("cost_usd") else None
            status = short_name(types_pb2.OutcomeStatus, request.status)
            return Ending(record.received_at_ms, status, terminal_score(request), cost)
    return None


def turn_cost_usd(facts: types_pb2.TurnFacts, model: Model | None) -> float | None:
    """USD of a turn: as reported, else its usage at the model's prices; None if neither is known."""
    if facts.HasField("cost_usd"):
        return facts.cost_usd
    if model is None or not facts.HasField("usage"):
        return None
    usage = facts.usage
    return (
        usage.input_tokens * model.input_usd
        + usage.cached_read_tokens * model.cached_read_usd
        + usage.cache_write_tokens * model.cache_write_usd
        + usage.output_tokens * model.output_usd
    )


def short_name(enum: Any, value: int) -> str:
    """An enum value's name without its prefix; "" for unspecified, the number if this release lacks it."""
    if value not in enum.values():
        return str(value)
    prefix = str(enum.Name(0)).removesuffix("UNSPECIFIED")
    return str(enum.Name(value)).removeprefix(prefix) if value else ""


def given(message: Any, field: str) -> Any:
    """An optional scalar of a message; None if it is absent."""
    return getattr(message, field) if message.HasField(field) else None
