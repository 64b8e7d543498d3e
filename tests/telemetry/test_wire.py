"""Telemetry of the real server over the wire: a caller's trace goes in, linked spans and counts come out."""

from __future__ import annotations

from collections.abc import Iterator

import grpc
import pytest

from sojourn.v1 import router_pb2, router_pb2_grpc, types_pb2
from sojourn_server.app import App
from sojourn_server.config import Config
from sojourn_server.telemetry import Telemetry
from tests.telemetry.sink import Sink, plain

TRACE_ID, SPAN_ID = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = (("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-01"),)
UNSAMPLED = (("traceparent", f"00-{TRACE_ID}-{SPAN_ID}-00"),)


@pytest.fixture
def app(sink: Sink, config: Config, monkeypatch: pytest.MonkeyPatch) -> Iterator[App]:
    """A server that exports to the sink; closing it, again and again if need be, flushes."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
    with App.open(config, Telemetry.from_environment("1.2.3")) as app:
        yield app


@pytest.fixture
def router(app: App) -> Iterator[router_pb2_grpc.RouterServiceStub]:
    with grpc.insecure_channel(app.address) as channel:
        yield router_pb2_grpc.RouterServiceStub(channel)


def play(router: router_pb2_grpc.RouterServiceStub, metadata: tuple[tuple[str, str], ...]) -> list[str]:
    """Plays an episode of two turns to its end; gives the ids of its decisions."""
    turns = [
        router_pb2.DecideRequest(
            episode_id="e", turn_index=i, context=types_pb2.Context(tool_name=tool, prompt_tokens=2_000)
        )
        for i, tool in enumerate(("web_search", "python"))
    ]
    decisions = [router.Decide(turn, metadata=metadata).decision_id for turn in turns]
    router.ReportOutcome(router_pb2.ReportOutcomeRequest(episode_id="e", score=1.0), metadata=metadata)
    return decisions


def test_an_episode_is_one_trace_whose_outcome_links_to_its_decisions(
    app: App, router: router_pb2_grpc.RouterServiceStub, sink: Sink
):
    decision_ids = play(router, SAMPLED)
    recorded = [r.decision for r in app.journal.episode("default", "e") if r.HasField("decision")]
    app.close()
    rpcs, decisions = sink.spans("sojourn.v1.RouterService/Decide"), sink.spans("sojourn.decide")
    (outcome,) = sink.spans("sojourn.outcome")
    assert {(s.trace_id.hex(), s.parent_span_id.hex()) for s in rpcs} == {(TRACE_ID, SPAN_ID)}
    assert [d.parent_span_id for d in decisions] == [rpc.span_id for rpc in rpcs]
    assert [plain(d.attributes)["sojourn.decision_id"] for d in decisions] == decision_ids
    assert [(r.trace_id, r.span_id) for r in recorded] == [(d.trace_id, d.span_id) for d in decisions]
    assert [(li.trace_id, li.span_id) for li in outcome.links] == [(d.trace_id, d.span_id) for d in decisions]
    assert plain(outcome.attributes)["sojourn.decision_ids"] == decision_ids


def test_an_unsampled_caller_leaves_no_spans_and_the_same_records(
    app: App, router: router_pb2_grpc.RouterServiceStub, sink: Sink
):
    decision_ids = play(router, UNSAMPLED)
    recorded = [r.decision for r in app.journal.episode("default", "e") if r.HasField("decision")]
    app.close()
    assert sink.traces.received == []
    assert [r.answer.decision_id for r in recorded] == decision_ids
    assert {(r.trace_id, r.span_id) for r in recorded} == {(b"", b"")}


def test_a_refused_decision_is_traced_with_its_reason(app: App, router: router_pb2_grpc.RouterServiceStub, sink: Sink):
    with pytest.raises(grpc.RpcError):
        router.Decide(router_pb2.DecideRequest(), metadata=SAMPLED)
    app.close()
    (rpc,), (decision,) = sink.spans("sojourn.v1.RouterService/Decide"), sink.spans("sojourn.decide")
    assert plain(decision.attributes) == {"error.type": "INVALID_FIELD"}
    assert plain(rpc.attributes)["rpc.grpc.status_code"] == grpc.StatusCode.INVALID_ARGUMENT.value[0]


def test_an_episode_is_counted(app: App, router: router_pb2_grpc.RouterServiceStub, sink: Sink):
    play(router, ())
    app.close()
    names = ("sojourn.decisions", "sojourn.reports")
    assert {n: sum(p.as_int for p in sink.newest(n).sum.data_points) for n in names} == {
        "sojourn.decisions": 2,
        "sojourn.reports": 1,
    }
    assert sink.newest("sojourn.decide.duration").histogram.data_points[0].count == 2
