"""Malformed requests over the wire: each is refused with its field named, and nothing of it reaches the journal.

Every case goes through a real channel, so what is checked is what callers of any language see: the status code, the
ErrorInfo and the BadRequest of google.rpc. Names are bounded in length and free of control characters; all else is
legal in them.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Iterator
from contextlib import suppress
from math import inf, nan
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from sojourn.v1 import admin_pb2 as admin
from sojourn.v1 import admin_pb2_grpc, router_pb2_grpc
from sojourn.v1.router_pb2 import DecideRequest, ReportOutcomeRequest, ReportTurnRequest
from sojourn.v1.types_pb2 import (
    OUTCOME_STATUS_SUCCEEDED,
    Candidate,
    Constraints,
    Context,
    Model,
    PromptCache,
    TurnFacts,
    Usage,
)
from sojourn_server.app import App
from sojourn_server.config import Config
from sojourn_server.telemetry import Telemetry

LONG = "n" * 129
HUGE = "n" * 60_000  # long, yet within the 64 KiB of a message
UNHEARD_OF: Any = 99  # a number that no enum has, which typed code could not write
INVALID = grpc.StatusCode.INVALID_ARGUMENT
RPCS: dict[type[Message], str] = {
    DecideRequest: "Decide",
    ReportTurnRequest: "ReportTurn",
    ReportOutcomeRequest: "ReportOutcome",
    admin.PutModelRequest: "PutModel",
    admin.SetPolicyModeRequest: "SetPolicyMode",
    admin.SetLiveShareRequest: "SetLiveShare",
    admin.RollBackPolicyRequest: "RollBackPolicy",
    admin.ListEpisodesRequest: "ListEpisodes",
    admin.GetPolicyRequest: "GetPolicy",
    admin.RemoveModelRequest: "RemoveModel",
}


class Wire:
    """A channel to a real server."""

    def __init__(self, server: App, channel: grpc.Channel) -> None:
        self.journal = server.journal
        self.channel = channel
        self._stubs = (router_pb2_grpc.RouterServiceStub(channel), admin_pb2_grpc.AdminServiceStub(channel))

    def send(self, request: Message) -> Any:
        """Sends a request to the method that takes it."""
        name = RPCS[type(request)]
        stub = next(stub for stub in self._stubs if hasattr(stub, name))
        return getattr(stub, name)(request, timeout=10)

    def refused(self, request: Message) -> grpc.Call:
        """The error of a request that is refused and leaves the journal as it was."""
        before = self.journal.position()
        with pytest.raises(grpc.RpcError) as refusal:
            self.send(request)
        assert self.journal.position() == before
        assert isinstance(refusal.value, grpc.Call)
        return refusal.value


@pytest.fixture(scope="module")
def shared_server() -> Iterator[App]:
    """One server for all cases: a refused request leaves no trace that the next could see."""
    config = Config.model_validate({"server": {"address": "127.0.0.1:0"}, "journal": {"kind": "memory"}})
    with App.open(config, Telemetry.disabled()) as app:
        yield app


@pytest.fixture
def wire(shared_server: App) -> Iterator[Wire]:
    with grpc.insecure_channel(shared_server.address) as channel:
        yield Wire(shared_server, channel)


def reason_of(error: grpc.Call) -> str:
    """The ErrorInfo's reason, once its domain is seen to be ours."""
    info = error_details_pb2.ErrorInfo()
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Unpack(info) for detail in status.details)
    assert info.domain == "sojourn.v1"
    return str(info.reason)


def fields_of(error: grpc.Call) -> list[str]:
    """The fields that BadRequest names, once each is seen to come with what was expected."""
    bad = error_details_pb2.BadRequest()
    status = rpc_status.from_call(error)
    assert status is not None
    assert any(detail.Unpack(bad) for detail in status.details)
    assert all(violation.description for violation in bad.field_violations)
    return [violation.field for violation in bad.field_violations]


def decide(**fields: Any) -> DecideRequest:
    """A good first turn, but for what is given."""
    return DecideRequest(**{"episode_id": "e", **fields})


def offering(**fields: Any) -> DecideRequest:
    """A turn whose one candidate is sound but for what is given of its terms."""
    return decide(candidates=[Candidate(model="m", terms=Model(**{"name": "m", **fields}))])


def turn(facts: TurnFacts | None = None, **fields: Any) -> ReportTurnRequest:
    """A good report of a turn, but for what is given."""
    named = fields or {"episode_id": "e", "turn_index": 0}
    return ReportTurnRequest(facts=facts or TurnFacts(decided_by_client=True), **named)


def outcome(**fields: Any) -> ReportOutcomeRequest:
    """A good outcome, but for what is given."""
    return ReportOutcomeRequest(**{"episode_id": "e", "status": OUTCOME_STATUS_SUCCEEDED, **fields})


def numbered(count: int) -> dict[str, float]:
    """That many features."""
    return {f"f{i}": 1.0 for i in range(count)}


BAD: list[tuple[str, Message]] = [
    ("episode_id", DecideRequest()),
    ("episode_id", decide(episode_id=LONG)),
    ("episode_id", decide(episode_id="ä" * 65)),
    ("episode_id", decide(episode_id=HUGE)),
    ("episode_id", decide(episode_id="a\nb")),
    ("policy", decide(policy="a\tb")),
    ("assignment_key", decide(assignment_key="a\0b")),
    ("turn_index", decide(turn_index=-1)),
    ("attempt", decide(attempt=-1)),
    ("attempt", decide(attempt=64)),
    ("previous_turn", decide(previous_turn=TurnFacts())),
    ("previous_turn.served_model", decide(turn_index=1, previous_turn=TurnFacts(served_model="a\rb"))),
    ("previous_turn.error", decide(turn_index=1, previous_turn=TurnFacts(error=UNHEARD_OF))),
    ("previous_turn.cost_usd", decide(turn_index=1, previous_turn=TurnFacts(cost_usd=-0.01))),
    ("cost_weight", decide(cost_weight=-1.0)),
    ("cost_weight", decide(cost_weight=nan)),
    ("cost_weight", decide(cost_weight=1e7)),
    ("context.tool_name", decide(context=Context(tool_name=LONG))),
    ("context.tool_type", decide(context=Context(tool_type="\x7f"))),
    ("context.phase", decide(context=Context(phase="a\nb"))),
    ("context.task_type", decide(context=Context(task_type="a\tb"))),
    ("context.language", decide(context=Context(language=HUGE))),
    ("context.error_count", decide(context=Context(error_count=-1))),
    ("context.last_error", decide(context=Context(last_error=UNHEARD_OF))),
    ("context.prompt_tokens", decide(context=Context(prompt_tokens=-1))),
    ("context.expected_output_tokens", decide(context=Context(expected_output_tokens=100_000_001))),
    ("context.features", decide(context=Context(features=numbered(65)))),
    ("context.features['x']", decide(context=Context(features={"x": nan}))),
    ("context.features['x']", decide(context=Context(features={"x": -inf}))),
    ("context.features key 'a\\x00b'", decide(context=Context(features={"a\0b": 1.0}))),
    ("context.features key ''", decide(context=Context(features={"": 1.0}))),
    (f"context.features key {HUGE[:16]!r}", decide(context=Context(features={HUGE: 1.0}))),
    ("context.categories['x']", decide(context=Context(categories={"x": LONG}))),
    ("context.features and context.categories", decide(context=Context(features=numbered(64), categories={"x": "y"}))),
    ("candidates", decide(candidates=[Candidate(model=f"m{i}", terms=Model(name=f"m{i}")) for i in range(65)])),
    ("candidates[0].model", decide(candidates=[Candidate()])),
    ("candidates[1].model", decide(candidates=[Candidate(model="m", terms=Model(name="m"))] * 2)),
    ("candidates[0].terms", decide(candidates=[Candidate(model="not in the registry")])),
    ("candidates[0].terms.name", decide(candidates=[Candidate(model="m", terms=Model(name="other"))])),
    ("candidates[0].features['x']", decide(candidates=[Candidate(model="m", features={"x": inf})])),
    ("candidates[0].terms.input_usd_per_mtok", offering(input_usd_per_mtok=-1.0)),
    ("candidates[0].terms.output_usd_per_mtok", offering(output_usd_per_mtok=nan)),
    ("candidates[0].terms.output_usd_per_mtok", offering(output_usd_per_mtok=1e308)),
    ("candidates[0].terms.cache.read_multiplier", offering(cache=PromptCache(read_multiplier=1.1))),
    ("candidates[0].terms.context_length_tokens", offering(context_length_tokens=-1)),
    ("candidates[0].terms.skills['code']", offering(skills={"code": nan})),
    ("candidates[0].terms.capabilities", offering(capabilities=[f"c{i}" for i in range(65)])),
    ("constraints.allow[1]", decide(constraints=Constraints(allow=["m", ""]))),
    ("constraints.deny", decide(constraints=Constraints(deny=[f"m{i}" for i in range(65)]))),
    ("constraints.must_stay_because", decide(constraints=Constraints(must_stay_because="a\nb"))),
    ("constraints.remaining_budget_usd", decide(constraints=Constraints(remaining_budget_usd=-1.0))),
    ("constraints.remaining_budget_usd", decide(constraints=Constraints(remaining_budget_usd=nan))),
    ("facts", ReportTurnRequest(episode_id="e", turn_index=0)),
    ("episode_id", turn(turn_index=0)),
    ("turn_index", turn(episode_id="e")),
    ("turn_index", turn(episode_id="e", turn_index=-1)),
    ("decision_id", turn(decision_id="f" * 43)),
    ("decision_id", turn(decision_id="g" * 44)),
    ("decision_id", turn(decision_id="f" * 44 + "\n")),
    ("facts.served_model", turn(TurnFacts(served_model=LONG))),
    ("facts.error_code", turn(TurnFacts(error_code=HUGE))),
    ("facts.error", turn(TurnFacts(error=UNHEARD_OF))),
    ("facts.cost_usd", turn(TurnFacts(cost_usd=nan))),
    ("facts.cost_usd", turn(TurnFacts(cost_usd=1e308))),
    ("facts.latency_ms", turn(TurnFacts(latency_ms=inf))),
    ("facts.usage.input_tokens", turn(TurnFacts(usage=Usage(input_tokens=-1)))),
    ("facts.usage.output_tokens", turn(TurnFacts(usage=Usage(output_tokens=100_000_001)))),
    ("episode_id", ReportOutcomeRequest(score=1.0)),
    ("status", ReportOutcomeRequest(episode_id="e")),
    ("status", outcome(status=UNHEARD_OF)),
    ("score", outcome(score=1.01)),
    ("score", outcome(score=-0.01)),
    ("score", outcome(score=nan)),
    ("cost_usd", outcome(score=1.0, cost_usd=1e308)),
    ("cost_usd", outcome(cost_usd=-1.0)),
    ("metrics", outcome(metrics=numbered(65))),
    ("metrics['x']", outcome(metrics={"x": nan})),
    ("last_turn.cost_usd", outcome(last_turn=TurnFacts(cost_usd=-1.0))),
    ("model.name", admin.PutModelRequest()),
    ("model.name", admin.PutModelRequest(model=Model(name="a\nb"))),
    ("model.input_usd_per_mtok", admin.PutModelRequest(model=Model(name="m", input_usd_per_mtok=nan))),
    ("mode", admin.SetPolicyModeRequest()),
    ("mode", admin.SetPolicyModeRequest(mode=UNHEARD_OF)),
    ("live_share", admin.SetLiveShareRequest()),
    ("live_share", admin.SetLiveShareRequest(live_share=1.5)),
    ("live_share", admin.SetLiveShareRequest(live_share=nan)),
    ("policy_version", admin.RollBackPolicyRequest()),
    ("policy_version", admin.RollBackPolicyRequest(policy_version=-1)),
    ("page_size", admin.ListEpisodesRequest(page_size=1001)),
    ("page_token", admin.ListEpisodesRequest(page_token="next")),
    ("page_token", admin.ListEpisodesRequest(page_token="9" * 5000)),
    ("policy", admin.GetPolicyRequest(policy=HUGE)),
    ("policy", admin.SetLiveShareRequest(policy=HUGE, live_share=0.5)),
    ("name", admin.RemoveModelRequest(name=HUGE)),
]


@pytest.mark.parametrize(("field", "request_"), BAD, ids=[f"{RPCS[type(r)]}-{field}" for field, r in BAD])
def test_a_malformed_field_is_refused_by_name_and_nothing_is_stored(wire: Wire, field: str, request_: Message):
    error = wire.refused(request_)
    assert error.code() is INVALID
    assert reason_of(error) == "INVALID_FIELD"
    assert fields_of(error) == [field]


def test_all_mistakes_of_a_request_are_named_at_once(wire: Wire):
    error = wire.refused(DecideRequest(turn_index=-1, attempt=64, cost_weight=nan, context=Context(phase="a\nb")))
    assert fields_of(error) == ["episode_id", "turn_index", "attempt", "context.phase", "cost_weight"]


def test_mistakes_without_number_still_arrive_as_invalid_argument(wire: Wire):
    """Status details travel in a header of limited size, which a request full of mistakes must not burst."""
    features = {f"{i:03}{'n' * 125}": nan for i in range(64)}
    error = wire.refused(decide(context=Context(features=features), cost_weight=-1.0))
    assert error.code() is INVALID
    assert reason_of(error) == "INVALID_FIELD"
    assert fields_of(error)


def test_a_long_name_is_not_sent_back_whole(wire: Wire):
    """A candidate named twice by 20 kB is named in the refusal by its place."""
    twice = [Candidate(model="n" * 20_000)] * 2
    error = wire.refused(decide(candidates=twice))
    assert error.code() is INVALID
    assert "candidates[1].model" in fields_of(error)


@pytest.mark.parametrize("name", ["a|b", "a:b", "😀", "two words", " ", "a=b 'c' \"d\"", "ä" * 64])
def test_a_name_may_hold_anything_but_control_characters(wire: Wire, name: str):
    context = Context(tool_name=name, phase=name, task_type=name, features={name: 1.0}, categories={name: name})
    candidates = [Candidate(model=name, terms=Model(name=name), features={name: 1.0})]
    answer = wire.send(DecideRequest(episode_id=name, assignment_key=name, context=context, candidates=candidates))
    assert answer.model == name
    assert answer.phase == name
    assert len(wire.journal.episode("default", name)) == 1


@pytest.mark.parametrize("kilobytes", [65, 100, 1000])
def test_a_message_over_64_kib_is_refused_before_it_is_read(wire: Wire, kilobytes: int):
    error = wire.refused(decide(episode_id="n" * (kilobytes * 1024)))
    assert error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED


GARBAGE = b"\xff" * 12
METHODS = ["sojourn.v1.RouterService/Decide", "sojourn.v1.AdminService/ExportJournal", "grpc.health.v1.Health/Check"]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("data", [GARBAGE, GARBAGE * 10_000], ids=["unparseable", "too_long"])
def test_a_call_whose_request_cannot_be_read_leaves_nothing_behind(wire: Wire, method: str, data: bytes):
    """gRPC for Python keeps a call for ever when it has to answer bytes that its deserializer refuses."""
    call = wire.channel.unary_stream(f"/{method}", None, None)
    for _ in range(3 * CALLS_KEPT):
        with suppress(grpc.RpcError):
            list(call(data, timeout=20))
    deadline = time.monotonic() + 20
    while (held := _calls_held()) > CALLS_KEPT and time.monotonic() < deadline:
        time.sleep(0.05)
    assert held <= CALLS_KEPT


def test_bytes_that_are_no_message_are_refused_as_such(wire: Wire):
    with pytest.raises(grpc.RpcError) as caught:
        wire.channel.unary_unary("/sojourn.v1.RouterService/Decide", None, None)(GARBAGE, timeout=20)
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() is INVALID
    assert "request" in fields_of(caught.value)


CALLS_KEPT = 20
"""So many may be on their way to their end, or wait for the collector of garbage."""


def _calls_held() -> int:
    gc.collect()
    return sum(type(thing).__name__ == "_RPCState" for thing in gc.get_objects())


def test_a_turn_on_which_no_candidate_may_serve_is_refused(wire: Wire):
    error = wire.refused(decide(constraints=Constraints(allow=["nobody"])))
    assert error.code() is grpc.StatusCode.FAILED_PRECONDITION
    assert reason_of(error) == "NO_ELIGIBLE_CANDIDATE"


@pytest.mark.parametrize("good", [decide(), turn(), outcome()], ids=["Decide", "ReportTurn", "ReportOutcome"])
def test_an_unknown_policy_is_not_found(wire: Wire, good: Any):
    good.policy = "reserch"
    error = wire.refused(good)
    assert error.code() is grpc.StatusCode.NOT_FOUND
    assert reason_of(error) == "UNKNOWN_POLICY"
