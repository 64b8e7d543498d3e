"""One call to trace, with and without a caller who samples it."""

from __future__ import annotations

from collections.abc import Sequence

from opentelemetry.proto.trace.v1.trace_pb2 import Span

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.telemetry import Telemetry
from sojourn_server.traces import DecisionRef

DECIDE = "sojourn.v1.RouterService/Decide"
CALLER_TRACE, CALLER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
SAMPLED = [("user-agent", "test"), ("traceparent", f"00-{CALLER_TRACE}-{CALLER_SPAN}-01")]
UNSAMPLED = [("traceparent", f"00-{CALLER_TRACE}-{CALLER_SPAN}-00")]

REQUEST = router_pb2.DecideRequest(episode_id="episode-1", turn_index=4)
ANSWER = router_pb2.DecideResponse(
    decision_id="d" * 32,
    model="gpt-5",
    propensity=0.75,
    reason=types_pb2.REASON_PHASE_CHANGED,
    switched=True,
    decision_point=True,
    ranked=[
        types_pb2.RankedCandidate(model="kimi-k2", score=0.1),
        types_pb2.RankedCandidate(
            model="gpt-5", score=0.9, cost_usd=0.02, switching_cost_usd=0.0, utility=0.87, probability=0.8
        ),
    ],
    policy_version=17,
    mode=types_pb2.MODE_LIVE,
    phase="code",
    incumbent="kimi-k2",
    cohort=types_pb2.COHORT_LEARNED,
)


def decide(telemetry: Telemetry, metadata: Sequence[tuple[str, str | bytes]]) -> DecisionRef:
    trace = telemetry.begin(DECIDE, metadata)
    trace.end_decision(REQUEST, ANSWER)
    return DecisionRef(ANSWER.decision_id, trace.trace_id, trace.span_id)


def only(spans: Sequence[Span]) -> Span:
    (span,) = spans
    return span
