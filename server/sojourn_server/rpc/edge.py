"""What happens around every call: it is stamped and traced, its errors get their status by one table, it is counted.

One interceptor does it for all methods, so no method can forget it. A servicer asks `current_call()` for the stamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any, NoReturn

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from sojourn.v1 import router_pb2
from sojourn_server.errors import (
    EpisodeEnded,
    EpisodeOpen,
    FieldViolation,
    InvalidField,
    JournalUnavailable,
    LessonsErased,
    NoEligibleCandidate,
    Overloaded,
    PayloadConflict,
    PermissionDenied,
    RateLimited,
    SojournError,
    TurnOutOfOrder,
    Unauthenticated,
    UnknownDecision,
    UnknownEpisode,
    UnknownModel,
    UnknownPolicy,
    UnknownSnapshot,
)
from sojourn_server.router import DEFAULT_POLICY, Call
from sojourn_server.security.gate import Gate
from sojourn_server.security.overload import WorkPool, refusing_handler
from sojourn_server.telemetry import Telemetry
from sojourn_server.traces import REASONS, DecisionRef, Trace

log = structlog.get_logger(__name__)
_CALL: ContextVar[Call] = ContextVar("call")
Behavior = Callable[[Any, grpc.ServicerContext], Any]
Parse = Callable[[bytes], Any]
Finish = Callable[[Trace, Any, Any, float], None]
DecisionsOf = Callable[[str, str], Sequence[DecisionRef]]


DOMAIN = "sojourn.v1"
RETRY_AFTER_MS = 200
MAX_VIOLATIONS = 16
MAX_TEXT = 1_024
"""A status travels in trailers, of which gRPC takes 16 KiB: beyond these there are only the first ones."""

CODES: dict[type[SojournError], grpc.StatusCode] = {
    InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    UnknownPolicy: grpc.StatusCode.NOT_FOUND,
    UnknownDecision: grpc.StatusCode.NOT_FOUND,
    UnknownEpisode: grpc.StatusCode.NOT_FOUND,
    UnknownModel: grpc.StatusCode.NOT_FOUND,
    UnknownSnapshot: grpc.StatusCode.NOT_FOUND,
    NoEligibleCandidate: grpc.StatusCode.FAILED_PRECONDITION,
    TurnOutOfOrder: grpc.StatusCode.FAILED_PRECONDITION,
    EpisodeEnded: grpc.StatusCode.FAILED_PRECONDITION,
    EpisodeOpen: grpc.StatusCode.FAILED_PRECONDITION,
    LessonsErased: grpc.StatusCode.FAILED_PRECONDITION,
    PayloadConflict: grpc.StatusCode.ALREADY_EXISTS,
    JournalUnavailable: grpc.StatusCode.UNAVAILABLE,
    Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
}


def _short(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."


def status_of(error: SojournError) -> grpc.Status:
    """The status of a domain error: ErrorInfo always, BadRequest for fields, RetryInfo where a repeat may help."""
    code = CODES[type(error)]
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if isinstance(error, InvalidField):
        violations = [
            error_details_pb2.BadRequest.FieldViolation(field=v.field, description=v.expected)
            for v in error.violations[:MAX_VIOLATIONS]
        ]
        details.append(error_details_pb2.BadRequest(field_violations=violations))
    if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED):
        delay = duration_pb2.Duration()
        delay.FromMilliseconds(getattr(error, "retry_after_ms", RETRY_AFTER_MS))
        details.append(error_details_pb2.RetryInfo(retry_delay=delay))
    packed = [any_pb2.Any() for _ in details]
    for holder, detail in zip(packed, details, strict=True):
        holder.Pack(detail)
    return rpc_status.to_status(status_pb2.Status(code=code.value[0], message=_short(str(error)), details=packed))


def _parser(handler: Any, *, otherwise_empty: bool = False) -> Parse:
    """Parses a method's request; bytes that are none raise InvalidField, or stand for an empty request."""
    deserialize = handler.request_deserializer or bytes

    def parse(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            if otherwise_empty:
                return deserialize(b"")
            raise InvalidField([FieldViolation("request", f"a serialised message of this method ({error})")]) from error

    return parse


def current_call() -> Call:
    """When the call that this thread serves came, from whom, under which span."""
    return _CALL.get()


class Edge(grpc.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Wraps every handler once."""

    def __init__(
        self,
        telemetry: Telemetry,
        gate: Gate,
        decisions_of: DecisionsOf,
        now_ms: Callable[[], int],
        *,
        pool: WorkPool,
        log_decisions: bool = False,
    ) -> None:
        """`decisions_of(policy, episode_id)` gives the decisions that an outcome's span links to."""
        self.pool = pool
        self._gate = gate
        self._log = log.bind() if log_decisions else None
        self._telemetry = telemetry
        self._decisions_of = decisions_of
        self._now_ms = now_ms
        self._wrapped: dict[str, Any] = {}
        overloaded = status_of(Overloaded("too many calls in flight; nothing was done, try again"))
        self._refusing = refusing_handler(lambda: telemetry.metrics.fault("overloaded"), overloaded)

    def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Returns the wrapped handler of a method."""
        method = handler_call_details.method
        if self.pool.is_full and method.startswith("/sojourn."):
            return self._refusing
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = continuation(handler_call_details)
            if handler is None:
                return None
            if not method.startswith("/sojourn."):
                return handler._replace(request_deserializer=_parser(handler, otherwise_empty=True))
            wrapped = self._wrapped[method] = self._wrap(method.lstrip("/"), handler)
        return wrapped

    def _wrap(self, rpc: str, handler: Any) -> Any:
        """The handler gets bytes: gRPC answers a request that it cannot parse twice, and keeps the call for ever."""
        parse, serializer = _parser(handler), handler.response_serializer
        if handler.unary_stream is not None:
            stream = self._stream(rpc, handler.unary_stream, parse)
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=serializer)
        if handler.stream_unary is not None:
            upload = self._upload(rpc, handler.stream_unary, parse)
            return grpc.stream_unary_rpc_method_handler(upload, response_serializer=serializer)
        unary = self._unary(rpc, handler.unary_unary, parse)
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=serializer)

    def _unary(self, rpc: str, behavior: Behavior, parse: Parse) -> Behavior:
        finishers: dict[str, Finish] = {
            "Decide": self._decided,
            "ReportTurn": self._reported,
            "ReportOutcome": self._ended,
        }
        finish = finishers.get(rpc.rpartition("/")[2], self._done)

        def serve(data: bytes, context: grpc.ServicerContext) -> Any:
            started = time.perf_counter()
            trace = self._telemetry.begin(rpc, context.invocation_metadata())
            try:
                request = parse(data)
                self._admit(rpc, request, context, trace)
                response = behavior(request, context)
            except Exception as error:  # noqa: BLE001 - the one place where every error becomes a status
                self._refuse(rpc, error, trace, context)
            finish(trace, request, response, time.perf_counter() - started)
            return response

        return serve

    def _stream(self, rpc: str, behavior: Behavior, parse: Parse) -> Behavior:
        def serve(data: bytes, context: grpc.ServicerContext) -> Iterator[Any]:
            trace = self._telemetry.begin(rpc, context.invocation_metadata())
            try:
                request = parse(data)
                self._admit(rpc, request, context, trace)
                yield from behavior(request, context)
                trace.end()
            except GeneratorExit:  # the caller left
                trace.end()
                raise
            except Exception as error:  # noqa: BLE001 - as above
                self._refuse(rpc, error, trace, context)

        return serve

    def _upload(self, rpc: str, behavior: Behavior, parse: Parse) -> Behavior:
        """The first message says whose the upload is; the others are read as the method asks for them."""

        def serve(pieces: Iterator[bytes], context: grpc.ServicerContext) -> Any:
            requests = (parse(data) for data in pieces)

            def first(_: bytes) -> Any:
                for request in requests:
                    return request
                raise InvalidField([FieldViolation("request", "at least one message of this method")])

            unary = self._unary(rpc, lambda one, _: behavior(chain([one], requests), context), first)
            return unary(b"", context)

        return serve

    def _admit(self, rpc: str, request: Any, context: grpc.ServicerContext, trace: Trace) -> None:
        now_ms = self._now_ms()
        caller = self._gate.admit(rpc.rpartition("/")[2], request, context.invocation_metadata(), now_ms=now_ms)
        _CALL.set(Call(now_ms, caller.name, caller.quarantined, trace.trace_id, trace.span_id))

    def _refuse(self, rpc: str, error: Exception, trace: Trace, context: grpc.ServicerContext) -> NoReturn:
        if isinstance(error, JournalUnavailable):
            self._telemetry.metrics.fault("journal_unavailable")
        if isinstance(error, SojournError):
            trace.fail(error.reason, CODES[type(error)].value[0])
            context.abort_with_status(status_of(error))
        log.error("call_failed", rpc=rpc, exc_info=error)
        trace.fail("INTERNAL", grpc.StatusCode.INTERNAL.value[0])
        context.abort(grpc.StatusCode.INTERNAL, "internal error; the server's log has the details")

    def _decided(
        self, trace: Trace, request: router_pb2.DecideRequest, answer: router_pb2.DecideResponse, latency_s: float
    ) -> None:
        trace.end_decision(request, answer)
        self._telemetry.metrics.decision(answer, latency_s, request.policy or DEFAULT_POLICY)
        if self._log is not None:
            self._log.info(
                "decided",
                policy=request.policy or DEFAULT_POLICY,
                episode_id=request.episode_id,
                turn_index=request.turn_index,
                model=answer.model,
                reason=REASONS[answer.reason],
                propensity=answer.propensity,
                switched=answer.switched,
                decision_id=answer.decision_id,
            )

    def _reported(self, trace: Trace, request: Any, response: router_pb2.ReportTurnResponse, latency_s: float) -> None:
        trace.end()
        self._telemetry.metrics.report("turn", response.state)

    def _ended(
        self,
        trace: Trace,
        request: router_pb2.ReportOutcomeRequest,
        response: router_pb2.ReportOutcomeResponse,
        latency_s: float,
    ) -> None:
        refs = self._decisions_of(request.policy or DEFAULT_POLICY, request.episode_id) if trace.trace_id else ()
        trace.end_outcome(request, response, refs)
        self._telemetry.metrics.report("outcome", response.state)

    def _done(self, trace: Trace, request: Any, response: Any, latency_s: float) -> None:
        trace.end()
