"""The answer for one turn, as the caller holds it.

A `Decision` is either the router's, read off its `DecideResponse`, or the client's own, made when the router
did not answer in time. Both look alike, so that an agent's loop has one path; `fallback` tells them apart.
Enum values appear by their short names ("PHASE_CHANGED"), which is how documents and metrics write them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from sojourn.v1 import router_pb2, types_pb2


class _Enum(Protocol):
    def items(self) -> Iterable[tuple[str, int]]: ...


def short_names(enum: _Enum, prefix: str) -> Mapping[int, str]:
    """Return the names of an enum's values without the prefix that proto demands."""
    return {value: name.removeprefix(prefix) for name, value in enum.items()}


_REASONS = short_names(types_pb2.Reason, "REASON_")
_EXCLUSIONS = short_names(types_pb2.Exclusion, "EXCLUSION_")
_MODES = short_names(types_pb2.Mode, "MODE_")
_COHORTS = short_names(types_pb2.Cohort, "COHORT_")

DECIDED_BY_CLIENT = "DECIDED_BY_CLIENT"


@dataclass(frozen=True, slots=True)
class RankedCandidate:
    """One candidate as the router saw it; money in USD, None where nothing was predicted or computed.

    `probability` is the width of its cell at this turn, 0 to 1. `excluded_because` is None if it could be
    chosen.
    """

    model: str
    score: float | None
    cost_usd: float | None
    switching_cost_usd: float | None
    utility: float | None
    probability: float
    excluded_because: str | None


@dataclass(frozen=True, slots=True)
class Decision:
    """The model for one turn, and why.

    `fallback` is None if the router decided, else the gRPC status name for which the client went on by
    itself, such as "DEADLINE_EXCEEDED"; then `reason` is "DECIDED_BY_CLIENT", `decision_id` is None,
    `propensity` is 1, and nothing is known of the router's policy. `propensity` is the probability of this
    choice given all that went before in the episode, in (0, 1]. `ranked` is best utility first; a held turn
    lists the incumbent alone. In `mode` "SHADOW" `model` is the one that would serve: serve your own, and report it as
    `served_model`.
    """

    episode_id: str
    turn_index: int
    attempt: int
    model: str
    incumbent: str | None
    switched: bool
    reason: str
    propensity: float
    decision_id: str | None = None
    decision_point: bool = False
    phase: str = ""
    ranked: tuple[RankedCandidate, ...] = ()
    policy_version: int | None = None
    mode: str | None = None
    cohort: str | None = None
    previous_turn_ignored: bool = False
    fallback: str | None = None


def routers_decision(request: router_pb2.DecideRequest, answer: router_pb2.DecideResponse) -> Decision:
    """Return the router's answer as a decision. Enum values of a newer router appear by their numbers."""
    return Decision(
        episode_id=request.episode_id,
        turn_index=request.turn_index,
        attempt=request.attempt,
        model=answer.model,
        incumbent=answer.incumbent or None,
        switched=answer.switched,
        reason=_REASONS.get(answer.reason, str(answer.reason)),
        propensity=answer.propensity,
        decision_id=answer.decision_id,
        decision_point=answer.decision_point,
        phase=answer.phase,
        ranked=tuple(_ranked(candidate) for candidate in answer.ranked),
        policy_version=answer.policy_version,
        mode=_MODES.get(answer.mode, str(answer.mode)),
        cohort=_COHORTS.get(answer.cohort, str(answer.cohort)),
        previous_turn_ignored=answer.previous_turn_ignored,
    )


def clients_decision(request: router_pb2.DecideRequest, *, model: str, incumbent: str | None, because: str) -> Decision:
    """Return a decision that the client made by itself, for the gRPC status name `because`."""
    return Decision(
        episode_id=request.episode_id,
        turn_index=request.turn_index,
        attempt=request.attempt,
        model=model,
        incumbent=incumbent,
        switched=incumbent is not None and model != incumbent,
        reason=DECIDED_BY_CLIENT,
        propensity=1.0,
        phase=request.context.phase or request.context.tool_type,
        fallback=because,
    )


def _ranked(candidate: types_pb2.RankedCandidate) -> RankedCandidate:
    excluded = candidate.excluded_because
    return RankedCandidate(
        model=candidate.model,
        score=candidate.score if candidate.HasField("score") else None,
        cost_usd=candidate.cost_usd if candidate.HasField("cost_usd") else None,
        switching_cost_usd=candidate.switching_cost_usd if candidate.HasField("switching_cost_usd") else None,
        utility=candidate.utility if candidate.HasField("utility") else None,
        probability=candidate.probability,
        excluded_because=_EXCLUSIONS.get(excluded, str(excluded)) if excluded else None,
    )
