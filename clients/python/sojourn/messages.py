"""What a caller says: before a turn (inputs), after it (report), and at the end (outcome).

All are keyword arguments, typed once here and taken by the blocking and the asyncio client alike, and all
become messages of the contract, whose comments in `proto/sojourn/v1/` give every range. None means absent.
Unknown arguments and wrong types raise TypeError, unknown severities and states ValueError; ranges and
lengths are the router's to judge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, TypedDict

from google.protobuf.message import Message

from sojourn.errors import InvalidRequest, Refusal
from sojourn.v1 import router_pb2, types_pb2

MAX_MESSAGE_BYTES = 64 * 1024

ReportRequest = router_pb2.ReportTurnRequest | router_pb2.ReportOutcomeRequest

Severity = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
Status = Literal["SUCCEEDED", "FAILED", "ABANDONED"]


class TurnInputs(TypedDict, total=False):
    """What is known before the choice. Every key may be left out.

    `candidates` are names or `Candidate` messages; absent means the router's registry. `allow` to
    `remaining_budget_usd` limit the choice. `cost_weight` is the score that one USD is worth.
    """

    tool_name: str | None
    tool_type: str | None
    phase: str | None
    language: str | None
    error_count: int | None
    last_error: Severity | None
    prompt_tokens: int | None
    expected_output_tokens: int | None
    features: Mapping[str, float] | None
    categories: Mapping[str, str] | None
    candidates: Sequence[str | types_pb2.Candidate] | None
    allow: Sequence[str] | None
    deny: Sequence[str] | None
    must_stay_because: str | None
    required_capabilities: Sequence[str] | None
    remaining_budget_usd: float | None
    cost_weight: float | None


class TurnReport(TypedDict, total=False):
    """What happened in a turn. Every key may be left out.

    `served_model` is absent if the chosen model served. `input_tokens` are those neither read from nor
    written to a prompt cache. `cost_usd` absent means that usage times list prices is right. `error` is the
    most severe error of the turn; a provider that could not serve at all is no error of the turn: see
    `Episode.retry`.
    """

    served_model: str | None
    input_tokens: int | None
    cached_read_tokens: int | None
    cache_write_tokens: int | None
    output_tokens: int | None
    cost_usd: float | None
    latency_ms: float | None
    error: Severity | None
    error_code: str | None


class OutcomeReport(TypedDict, total=False):
    """How an episode went. Every key may be left out.

    `score` is 0 to 1; absent means 1 if SUCCEEDED, 0 if FAILED, not learned if ABANDONED. `cost_usd` absent
    means the sum over the turns. `metrics` are kept and never learned.
    """

    score: float | None
    cost_usd: float | None
    metrics: Mapping[str, float] | None


_CONSTRAINTS = ("allow", "deny", "must_stay_because", "required_capabilities", "remaining_budget_usd")
_USAGE = ("input_tokens", "cached_read_tokens", "cache_write_tokens", "output_tokens")


def decide_request(inputs: Mapping[str, Any], **key: Any) -> router_pb2.DecideRequest:
    """Return the request for a turn; `key` are the fields of the request that name it."""
    given = _given(inputs, TurnInputs)
    request = router_pb2.DecideRequest(cost_weight=given.pop("cost_weight", None), **key)
    candidates = given.pop("candidates", ())
    request.candidates.extend(types_pb2.Candidate(model=c) if isinstance(c, str) else c for c in candidates)
    if constraints := _take(given, _CONSTRAINTS):
        request.constraints.MergeFrom(types_pb2.Constraints(**constraints))
    if "last_error" in given:
        given["last_error"] = _severity(given["last_error"])
    request.context.MergeFrom(types_pb2.Context(**given))
    return request


def turn_facts(report: Mapping[str, Any]) -> types_pb2.TurnFacts:
    """Return a report as the facts of a turn."""
    given = _given(report, TurnReport)
    usage = _take(given, _USAGE)
    if "error" in given:
        given["error"] = _severity(given["error"])
    facts = types_pb2.TurnFacts(usage=types_pb2.Usage(**usage) if usage else None, **given)
    check_size(facts)
    return facts


def turn_request(
    report: Mapping[str, Any], *, policy: str, decision_id: str | None, episode_id: str | None, turn_index: int | None
) -> router_pb2.ReportTurnRequest:
    """Return a turn's report, named by its decision, or by its policy, episode and index."""
    facts = turn_facts(report)
    if decision_id and episode_id is None and turn_index is None:
        request = router_pb2.ReportTurnRequest(decision_id=decision_id, facts=facts)
    elif episode_id and turn_index is not None and decision_id is None:
        request = router_pb2.ReportTurnRequest(policy=policy, episode_id=episode_id, turn_index=turn_index, facts=facts)
    else:
        raise ValueError("name the turn by decision_id, or by episode_id and turn_index")
    check_size(request)
    return request


def outcome_request(status: Status | None, report: Mapping[str, Any], **key: Any) -> router_pb2.ReportOutcomeRequest:
    """Return the outcome of an episode; `key` are the fields of the request that name it."""
    given = _given(report, OutcomeReport)
    number = types_pb2.OutcomeStatus.Value(f"OUTCOME_STATUS_{status or 'UNSPECIFIED'}")
    request = router_pb2.ReportOutcomeRequest(status=number, **given, **key)
    check_size(request)
    return request


def check_size(request: Message) -> None:
    """Raise InvalidRequest for a message that is too long to be accepted.

    The transport answers those with RESOURCE_EXHAUSTED, which would look like an overloaded router and be
    retried for ever.
    """
    if (size := request.ByteSize()) > MAX_MESSAGE_BYTES:
        message = f"the request takes {size} bytes; {MAX_MESSAGE_BYTES} are allowed"
        raise InvalidRequest(Refusal("INVALID_ARGUMENT", message, "INVALID_FIELD"))


def _given(arguments: Mapping[str, Any], kind: type) -> dict[str, Any]:
    if unknown := arguments.keys() - kind.__annotations__.keys():
        raise TypeError(f"unknown argument(s): {', '.join(sorted(unknown))}")
    return {name: value for name, value in arguments.items() if value is not None}


def _take(given: dict[str, Any], names: Iterable[str]) -> dict[str, Any]:
    return {name: given.pop(name) for name in names if name in given}


def _severity(name: str) -> types_pb2.Severity.ValueType:
    return types_pb2.Severity.Value(f"SEVERITY_{name}")
