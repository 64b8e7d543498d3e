"""Spans: one call as an operator sees it.

Each RPC has a SERVER span under the caller's `traceparent`; each decision has an INTERNAL span below it. The
journal keeps that one's ids, so that the outcome's span can link to the decisions that it judges. The sampler
is asked before a span is built, as most calls are not sampled; those share a `Trace` that does nothing. No span
carries an attribute of `gen_ai.*`: backends would count a decision as a model call, or move the caller's trace into
a session named after the episode.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import NamedTuple

from google.protobuf.descriptor import EnumDescriptor
from opentelemetry.context import Context
from opentelemetry.sdk.environment_variables import OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.sdk.trace.sampling import Decision, ParentBased
from opentelemetry.trace import (
    Link,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    get_current_span,
    set_span_in_context,
)
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

from sojourn.v1 import router_pb2, types_pb2

Metadata = Iterable[tuple[str, str | bytes]]
Attributes = dict[str, AttributeValue]

SCOPE = "sojourn"
SCHEMA = "https://opentelemetry.io/schemas/1.38.0"  # 1.39 renames the rpc.* attributes
DECIDE = "sojourn.v1.RouterService/Decide"
MAX_LINKED_DECISIONS = 128  # the SDK's own limit on links
EXPORT_BATCH_SPANS = 128  # a quarter of the SDK's: shorter turns at the GIL halve Decide's 99th percentile


def short_names(enum: EnumDescriptor) -> Mapping[int, str]:
    """An enum's values by number without their type's prefix: REASON_HELD -> HELD."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix) for value in enum.values}


REASONS = short_names(types_pb2.Reason.DESCRIPTOR)
MODES = short_names(types_pb2.Mode.DESCRIPTOR)
COHORTS = short_names(types_pb2.Cohort.DESCRIPTOR)
STATUSES = short_names(types_pb2.OutcomeStatus.DESCRIPTOR)
REPORT_STATES = short_names(router_pb2.ReportState.DESCRIPTOR)

# Codes for which OpenTelemetry's conventions for gRPC blame the server: UNKNOWN, DEADLINE_EXCEEDED,
# UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS. Any other is the caller's and leaves the RPC's span unset.
_SERVER_FAULTS = frozenset({2, 4, 12, 13, 14, 15})

_PROPAGATOR = TraceContextTextMapPropagator()
_NO_CALLER = Context()
_UNSAMPLED_CALLER = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f][02468ace]")


class DecisionRef(NamedTuple):
    """A decision as an outcome links to it; the ids (16 and 8 bytes) are empty if it was not sampled."""

    decision_id: str
    trace_id: bytes
    span_id: bytes


class Trace:
    """One call as traced. This base is the call that is not sampled: no ids, and methods that do nothing.

    One method is called, once, when the call is over. `trace_id` (16 bytes) and `span_id` (8 bytes) are those
    of the decision's span, or of the RPC's span where nothing is decided.
    """

    __slots__ = ()
    trace_id: bytes = b""
    span_id: bytes = b""

    def end_decision(self, request: router_pb2.DecideRequest, answer: router_pb2.DecideResponse) -> None:
        """Ends a Decide that was answered."""

    def end_outcome(
        self,
        request: router_pb2.ReportOutcomeRequest,
        response: router_pb2.ReportOutcomeResponse,
        decisions: Sequence[DecisionRef],
    ) -> None:
        """Ends a ReportOutcome that was answered; `decisions` are its episode's, oldest first.

        The newest 128 are named in `sojourn.decision_ids`, and linked if they were sampled.
        """

    def end(self) -> None:
        """Ends any other call that was answered."""

    def fail(self, error_reason: str, grpc_code: int) -> None:
        """Ends a call that was refused; `error_reason` is the ErrorReason's short name."""


NOT_SAMPLED = Trace()


class JudgedIds(RandomIdGenerator):
    """Gives the tracer the trace id that the sampler has judged in the same thread."""

    def __init__(self) -> None:
        """Starts without an id: `judge` comes before the first span."""
        self._judged = threading.local()

    def judge(self) -> int:
        """Draws the trace id that this thread's next root span takes."""
        self._judged.trace_id = super().generate_trace_id()
        return int(self._judged.trace_id)

    def generate_trace_id(self) -> int:
        """The id drawn last in this thread."""
        return int(self._judged.trace_id)


class Tracing:
    """Begins traces and sends their spans to exporters."""

    def __init__(self, exporters: Sequence[SpanExporter], resource: Resource, version: str) -> None:
        """Reads OTEL_TRACES_SAMPLER and OTEL_BSP_*; raises ValueError if these contradict each other."""
        self._ids = JudgedIds()
        self.provider = TracerProvider(resource=resource, id_generator=self._ids, shutdown_on_exit=False)
        sizes = {OTEL_BSP_MAX_EXPORT_BATCH_SIZE, OTEL_BSP_MAX_QUEUE_SIZE} & os.environ.keys()
        for exporter in exporters:
            batch = None if sizes else EXPORT_BATCH_SPANS
            self.provider.add_span_processor(BatchSpanProcessor(exporter, max_export_batch_size=batch))
        self._tracer = self.provider.get_tracer(SCOPE, version, SCHEMA)
        self._sampler = self.provider.sampler
        self._follows_caller = isinstance(self._sampler, ParentBased)

    def begin(self, rpc: str, metadata: Metadata) -> Trace:
        """Begins the trace of one call; `rpc` is gRPC's full name of the method."""
        caller = self._caller(metadata)
        if caller is None:
            return NOT_SAMPLED
        is_root = caller is _NO_CALLER
        trace_id = self._ids.judge() if is_root else get_current_span(caller).get_span_context().trace_id
        verdict = self._sampler.should_sample(caller, trace_id, rpc, SpanKind.SERVER)
        if verdict.decision is not Decision.RECORD_AND_SAMPLE:
            return NOT_SAMPLED
        return SampledTrace(self._tracer, rpc.removeprefix("/"), caller)

    def _caller(self, metadata: Metadata) -> Context | None:
        """The caller's span as context. None if the caller is not sampled and the sampler follows it."""
        for key, value in metadata:
            if key == "traceparent":
                if self._follows_caller and _UNSAMPLED_CALLER.fullmatch(str(value)):
                    return None
                return _PROPAGATOR.extract({k: v for k, v in metadata if isinstance(v, str)}, _NO_CALLER)
        return _NO_CALLER


class SampledTrace(Trace):
    """A call whose spans are recorded. It belongs to the thread that serves the call."""

    __slots__ = ("_decision", "_rpc", "_started_ns", "_tracer", "span_id", "trace_id")

    def __init__(self, tracer: Tracer, rpc: str, caller: Context) -> None:
        """Starts the RPC's span under the caller's and, for Decide, the decision's span below it."""
        self._tracer = tracer
        self._started_ns = time.time_ns()
        self._rpc = tracer.start_span(rpc, caller, SpanKind.SERVER, _rpc_attributes(rpc), start_time=self._started_ns)
        self._decision = self._child("sojourn.decide") if rpc == DECIDE else None
        ids = (self._decision or self._rpc).get_span_context()
        self.trace_id = ids.trace_id.to_bytes(16, "big")
        self.span_id = ids.span_id.to_bytes(8, "big")

    def end_decision(self, request: router_pb2.DecideRequest, answer: router_pb2.DecideResponse) -> None:
        """See `Trace`."""
        if self._decision is not None:
            self._decision.set_attributes(_decision_attributes(request, answer))
            self._decision.end()
        self._end_rpc(0)

    def end_outcome(
        self,
        request: router_pb2.ReportOutcomeRequest,
        response: router_pb2.ReportOutcomeResponse,
        decisions: Sequence[DecisionRef],
    ) -> None:
        """See `Trace`. The outcome's span is made only here, because links are fixed when a span starts."""
        newest = decisions[-MAX_LINKED_DECISIONS:]
        span = self._child("sojourn.outcome", links=[_link(d) for d in newest if d.trace_id])
        span.set_attributes(_outcome_attributes(request, response, newest))
        span.end()
        self._end_rpc(0)

    def end(self) -> None:
        """See `Trace`."""
        self._end_rpc(0)

    def fail(self, error_reason: str, grpc_code: int) -> None:
        """See `Trace`. A decision that failed is an error; its RPC only where the server is to blame."""
        if self._decision is not None:
            self._decision.set_attribute("error.type", error_reason)
            self._decision.set_status(StatusCode.ERROR, error_reason)
            self._decision.end()
        self._rpc.set_attribute("error.type", error_reason)
        if grpc_code in _SERVER_FAULTS:
            self._rpc.set_status(StatusCode.ERROR, error_reason)
        self._end_rpc(grpc_code)

    def _child(self, name: str, links: Sequence[Link] = ()) -> Span:
        below = set_span_in_context(self._rpc, _NO_CALLER)
        return self._tracer.start_span(name, below, links=links, start_time=self._started_ns)

    def _end_rpc(self, grpc_code: int) -> None:
        self._rpc.set_attribute("rpc.grpc.status_code", grpc_code)
        self._rpc.end()


@lru_cache(maxsize=64)
def _rpc_attributes(rpc: str) -> Attributes:
    service, _, method = rpc.rpartition("/")
    return {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}


def _decision_attributes(request: router_pb2.DecideRequest, answer: router_pb2.DecideResponse) -> Attributes:
    attributes: Attributes = {
        "openinference.span.kind": "CHAIN",
        "sojourn.episode_id": request.episode_id,
        "sojourn.policy": request.policy or "default",
        "sojourn.turn_index": request.turn_index,
        "sojourn.attempt": request.attempt,
        "sojourn.decision_id": answer.decision_id,
        "sojourn.model": answer.model,
        "sojourn.reason": REASONS[answer.reason],
        "sojourn.propensity": answer.propensity,
        "sojourn.switched": answer.switched,
        "sojourn.decision_point": answer.decision_point,
        "sojourn.policy_version": answer.policy_version,
        "sojourn.mode": MODES[answer.mode],
        "sojourn.cohort": COHORTS[answer.cohort],
        "sojourn.phase": answer.phase,
    }
    if answer.incumbent:
        attributes["sojourn.incumbent"] = answer.incumbent
    chosen = next((c for c in answer.ranked if c.model == answer.model), None)
    for field in ("score", "cost_usd", "switching_cost_usd", "utility"):
        if chosen is not None and chosen.HasField(field):
            attributes[f"sojourn.chosen.{field}"] = getattr(chosen, field)
    return attributes


def _outcome_attributes(
    request: router_pb2.ReportOutcomeRequest,
    response: router_pb2.ReportOutcomeResponse,
    decisions: Sequence[DecisionRef],
) -> Attributes:
    attributes: Attributes = {
        "openinference.span.kind": "CHAIN",
        "sojourn.episode_id": request.episode_id,
        "sojourn.policy": request.policy or "default",
        "sojourn.outcome.status": STATUSES[request.status],
        "sojourn.outcome.state": REPORT_STATES[response.state],
        "sojourn.outcome.joined_decisions": response.joined_decisions,
        "sojourn.decision_ids": [d.decision_id for d in decisions],
    }
    for field in ("score", "cost_usd"):
        if request.HasField(field):
            attributes[f"sojourn.outcome.{field}"] = getattr(request, field)
    return attributes


def _link(decision: DecisionRef) -> Link:
    trace_id, span_id = (int.from_bytes(b, "big") for b in (decision.trace_id, decision.span_id))
    flags = TraceFlags(TraceFlags.SAMPLED)
    return Link(SpanContext(trace_id, span_id, is_remote=True, trace_flags=flags))
