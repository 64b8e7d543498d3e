"""An episode's decisions with what became of each, for views: what served, what it cost, where it switched.

The journal keeps facts and outcomes apart from decisions; here they are joined, as the learner joins them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from sojourn.v1 import admin_pb2, journal_pb2, types_pb2
from sojourn_server.learner.credit import played_turns, terminal_score, turn_cost_usd
from sojourn_server.policy.registry import Registry

_NO_PRICES: Mapping[int, Registry] = MappingProxyType({})


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
    records: Sequence[journal_pb2.JournalRecord], registries: Mapping[int, Registry] = _NO_PRICES
) -> Iterator[DecidedTurn]:
    """The decisions of an episode's records, in journal order; `registries` price turns whose cost nobody reported."""
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
        yield DecidedTurn(record, turn.facts, turn.served, switched, turn_cost_usd(turn, registries))


def registries_of(found: admin_pb2.GetEpisodeResponse) -> dict[int, Registry]:
    """The registries by version that came with an episode."""
    return {each.version: Registry.of(each.models) for each in found.registries}


def served_turns(
    records: Sequence[journal_pb2.JournalRecord], registries: Mapping[int, Registry] = _NO_PRICES
) -> list[DecidedTurn]:
    """The turns of an episode that were served, in journal order."""
    return [turn for turn in decided_turns(records, registries) if turn.served]


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


def short_name(enum: Any, value: int) -> str:
    """An enum value's name without its prefix; "" for unspecified, the number if this release lacks it."""
    if value not in enum.values():
        return str(value)
    prefix = str(enum.Name(0)).removesuffix("UNSPECIFIED")
    return str(enum.Name(value)).removeprefix(prefix) if value else ""


def given(message: Any, field: str) -> Any:
    """An optional scalar of a message; None if it is absent."""
    return getattr(message, field) if message.HasField(field) else None
