"""Traces as a collector receives them: names, parents, links and attributes."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import pytest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.telemetry import Telemetry
from sojourn_server.traces import DecisionRef
from tests.telemetry.calls import CALLER_SPAN, CALLER_TRACE, DECIDE, REQUEST, SAMPLED, UNSAMPLED, decide, only
from tests.telemetry.sink import Sink, plain

REPORT_OUTCOME = "sojourn.v1.RouterService/ReportOutcome"
PAGE = Path(__file__).parents[2] / "docs" / "tracing.md"


@pytest.fixture
def telemetry(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Telemetry:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
    return Telemetry.from_environment("1.2.3")


def test_a_decision_hangs_below_its_rpc_and_that_below_the_caller(telemetry: Telemetry, sink: Sink):
    made = decide(telemetry, SAMPLED)
    telemetry.close(5)
    rpc, decision = only(sink.spans(DECIDE)), only(sink.spans("sojourn.decide"))
    assert (rpc.kind, decision.kind) == (Span.SPAN_KIND_SERVER, Span.SPAN_KIND_INTERNAL)
    assert (rpc.trace_id.hex(), rpc.parent_span_id.hex()) == (CALLER_TRACE, CALLER_SPAN)
    assert decision.parent_span_id == rpc.span_id
    assert (made.trace_id, made.span_id) == (decision.trace_id, decision.span_id)


def test_without_a_caller_the_rpc_is_the_root(telemetry: Telemetry, sink: Sink):
    made = decide(telemetry, [("user-agent", "test")])
    telemetry.close(5)
    rpc = only(sink.spans(DECIDE))
    assert rpc.parent_span_id == b""
    assert rpc.trace_id == made.trace_id
    assert len(made.trace_id) == 16
    assert len(made.span_id) == 8


@pytest.mark.parametrize("header", ["", "nonsense", f"00-{'0' * 32}-{CALLER_SPAN}-00", "00-\N{SNOWMAN}-00"])
def test_a_malformed_traceparent_counts_as_none(telemetry: Telemetry, sink: Sink, header: str):
    decide(telemetry, [("traceparent", header)])
    telemetry.close(5)
    assert only(sink.spans(DECIDE)).parent_span_id == b""


def test_a_decision_says_what_was_chosen_and_why(telemetry: Telemetry, sink: Sink):
    decide(telemetry, SAMPLED)
    telemetry.close(5)
    assert plain(only(sink.spans("sojourn.decide")).attributes) == {
        "openinference.span.kind": "CHAIN",
        "sojourn.episode_id": "episode-1",
        "sojourn.policy": "default",
        "sojourn.turn_index": 4,
        "sojourn.attempt": 0,
        "sojourn.decision_id": "d" * 32,
        "sojourn.model": "gpt-5",
        "sojourn.reason": "PHASE_CHANGED",
        "sojourn.propensity": 0.75,
        "sojourn.switched": True,
        "sojourn.decision_point": True,
        "sojourn.policy_version": 17,
        "sojourn.mode": "LIVE",
        "sojourn.cohort": "LEARNED",
        "sojourn.phase": "code",
        "sojourn.incumbent": "kimi-k2",
        "sojourn.chosen.score": 0.9,
        "sojourn.chosen.cost_usd": 0.02,
        "sojourn.chosen.switching_cost_usd": 0.0,
        "sojourn.chosen.utility": 0.87,
    }


def test_no_span_says_what_would_make_it_a_model_call_or_name_the_callers_session(telemetry: Telemetry, sink: Sink):
    made = decide(telemetry, SAMPLED)
    end_outcome(telemetry, [made])
    telemetry.close(5)
    names = (DECIDE, "sojourn.decide", REPORT_OUTCOME, "sojourn.outcome")
    keys = {a.key for name in names for a in only(sink.spans(name)).attributes}
    assert "sojourn.episode_id" in keys
    assert [key for key in keys if key.startswith(("gen_ai.", "llm.", "session."))] == []


def test_the_documentation_names_every_attribute_of_ours(telemetry: Telemetry, sink: Sink):
    end_outcome(telemetry, [decide(telemetry, SAMPLED)], cost_usd=0.25)
    telemetry.begin(DECIDE, []).fail("SOME_REASON", 3)
    telemetry.close(5)
    documented = re.findall(r"^\| (`.*?) \| (?:(yes) )?\| (?:(yes) )?\|", PAGE.read_text("utf-8"), flags=re.MULTILINE)
    for column, name in ((1, "sojourn.decide"), (2, "sojourn.outcome")):
        exported = {a.key for span in sink.spans(name) for a in span.attributes}
        assert {key for row in documented if row[column] for key in re.findall(r"`(.+?)`", row[0])} == exported


def test_what_was_not_computed_is_left_out(telemetry: Telemetry, sink: Sink):
    held = router_pb2.DecideResponse(model="gpt-5", reason=types_pb2.REASON_HELD)
    held.ranked.add(model="gpt-5", probability=1.0)
    telemetry.begin(DECIDE, []).end_decision(REQUEST, held)
    telemetry.close(5)
    keys = {a.key for a in only(sink.spans("sojourn.decide")).attributes}
    assert "sojourn.incumbent" not in keys
    assert not [k for k in keys if k.startswith("sojourn.chosen")]


def test_the_rpc_says_its_method_and_status(telemetry: Telemetry, sink: Sink):
    decide(telemetry, SAMPLED)
    telemetry.close(5)
    assert plain(only(sink.spans(DECIDE)).attributes) == {
        "rpc.system": "grpc",
        "rpc.service": "sojourn.v1.RouterService",
        "rpc.method": "Decide",
        "rpc.grpc.status_code": 0,
    }


def test_any_other_rpc_has_one_span(telemetry: Telemetry, sink: Sink):
    telemetry.begin("/grpc.health.v1.Health/Check", []).end()
    telemetry.close(5)
    assert only(sink.spans("grpc.health.v1.Health/Check")).kind == Span.SPAN_KIND_SERVER
    assert sink.spans("sojourn.decide") == []


@pytest.mark.parametrize(
    ("code", "rpc_status"),
    [(3, Status.STATUS_CODE_UNSET), (9, Status.STATUS_CODE_UNSET), (13, Status.STATUS_CODE_ERROR)],
)
def test_a_failed_decision_is_an_error_and_its_rpc_only_by_the_servers_fault(
    telemetry: Telemetry, sink: Sink, code: int, rpc_status: Status.StatusCode.ValueType
):
    telemetry.begin(DECIDE, []).fail("SOME_REASON", code)
    telemetry.close(5)
    rpc, decision = only(sink.spans(DECIDE)), only(sink.spans("sojourn.decide"))
    assert (rpc.status.code, decision.status.code) == (rpc_status, Status.STATUS_CODE_ERROR)
    assert plain(decision.attributes) == {"error.type": "SOME_REASON"}
    assert plain(rpc.attributes)["rpc.grpc.status_code"] == code


def end_outcome(telemetry: Telemetry, decisions: Sequence[DecisionRef], cost_usd: float | None = None):
    request = router_pb2.ReportOutcomeRequest(
        episode_id="episode-1", score=0.5, status=types_pb2.OUTCOME_STATUS_SUCCEEDED, cost_usd=cost_usd
    )
    response = router_pb2.ReportOutcomeResponse(state=router_pb2.REPORT_STATE_RECORDED, joined_decisions=len(decisions))
    telemetry.begin(REPORT_OUTCOME, []).end_outcome(request, response, decisions)


def test_an_outcome_links_to_its_sampled_decisions_and_names_all(telemetry: Telemetry, sink: Sink):
    made = decide(telemetry, SAMPLED)
    unsampled = DecisionRef("e" * 32, b"", b"")
    end_outcome(telemetry, [unsampled, made])
    telemetry.close(5)
    outcome, decision = only(sink.spans("sojourn.outcome")), only(sink.spans("sojourn.decide"))
    assert [(link.trace_id, link.span_id) for link in outcome.links] == [(decision.trace_id, decision.span_id)]
    assert outcome.parent_span_id == only(sink.spans(REPORT_OUTCOME)).span_id
    assert plain(outcome.attributes) == {
        "openinference.span.kind": "CHAIN",
        "sojourn.episode_id": "episode-1",
        "sojourn.policy": "default",
        "sojourn.outcome.status": "SUCCEEDED",
        "sojourn.outcome.state": "RECORDED",
        "sojourn.outcome.score": 0.5,
        "sojourn.outcome.joined_decisions": 2,
        "sojourn.decision_ids": ["e" * 32, "d" * 32],
    }


def test_an_outcome_of_a_long_episode_keeps_its_newest_128_decisions(telemetry: Telemetry, sink: Sink):
    made = [DecisionRef(f"{i:032x}", i.to_bytes(16, "big"), i.to_bytes(8, "big")) for i in range(1, 201)]
    end_outcome(telemetry, made)
    telemetry.close(5)
    outcome = only(sink.spans("sojourn.outcome"))
    assert [link.span_id for link in outcome.links] == [d.span_id for d in made[-128:]]
    assert plain(outcome.attributes)["sojourn.decision_ids"] == [d.decision_id for d in made[-128:]]


def test_a_decision_whose_caller_is_not_sampled_has_no_ids_and_exports_nothing(telemetry: Telemetry, sink: Sink):
    made = decide(telemetry, UNSAMPLED)
    telemetry.close(5)
    assert (made.trace_id, made.span_id) == (b"", b"")
    assert sink.traces.received == []


def test_calls_after_the_end_are_not_sampled(telemetry: Telemetry, sink: Sink):
    telemetry.close(5)
    assert decide(telemetry, SAMPLED).trace_id == b""
    telemetry.close(5)
