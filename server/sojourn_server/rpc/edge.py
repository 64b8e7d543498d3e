"""What happens around every call: it is stamped and traced, its errors get their status by one table, it is counted.

One interceptor does it for all methods, so no method can forget it. A servicer is plain code that may wait; whether
the loop or a thread runs it is the carrier's to say. It asks `current_call()` for the stamp.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextvars import ContextVar
from itertools import chain
from typing import Any

import grpc
import structlog
from google.protobuf import any_pb2, duration_pb2
from google.protobuf.message import DecodeError, Message
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from sojourn.v1 import router_pb2
from sojourn_server import errors
from sojourn_server.router import DEFAULT_POLICY, Call
from sojourn_server.security.carrier import Carrier, Context, Refused, Serve, refusing_handler
from sojourn_server.security.gate import Gate, Metadata
from sojourn_server.telemetry import Telemetry
from sojourn_server.traces import REASONS, DecisionRef, Trace

log = structlog.get_logger(__name__)
_CALL: ContextVar[Call] = ContextVar("call")
Parse = Callable[[bytes], Any]
Finish = Callable[[Trace, Any, Any, float], None]
DecisionsOf = Callable[[str, str], Sequence[DecisionRef]]
SHORT = frozenset({"Decide", "ReportTurn"})
"""Methods that wait for no sync, and for nothing else while the journal does not."""

DOMAIN = "sojourn.v1"
RETRY_AFTER_MS = 200
MAX_VIOLATIONS = 16
MAX_TEXT = 1_024
"""A status travels in trailers, of which gRPC takes 16 KiB: beyond these there are only the first ones."""

CODES: dict[type[errors.SojournError], grpc.StatusCode] = {
    errors.InvalidField: grpc.StatusCode.INVALID_ARGUMENT,
    errors.UnknownPolicy: grpc.StatusCode.NOT_FOUND,
    errors.UnknownDecision: grpc.StatusCode.NOT_FOUND,
    errors.UnknownEpisode: grpc.StatusCode.NOT_FOUND,
    errors.UnknownModel: grpc.StatusCode.NOT_FOUND,
    errors.UnknownSnapshot: grpc.StatusCode.NOT_FOUND,
    errors.NoEligibleCandidate: grpc.StatusCode.FAILED_PRECONDITION,
    errors.TurnOutOfOrder: grpc.StatusCode.FAILED_PRECONDITION,
    errors.EpisodeEnded: grpc.StatusCode.FAILED_PRECONDITION,
    errors.EpisodeOpen: grpc.StatusCode.FAILED_PRECONDITION,
    errors.LessonsErased: grpc.StatusCode.FAILED_PRECONDITION,
    errors.PayloadConflict: grpc.StatusCode.ALREADY_EXISTS,
    errors.JournalUnavailable: grpc.StatusCode.UNAVAILABLE,
    errors.Unauthenticated: grpc.StatusCode.UNAUTHENTICATED,
    errors.PermissionDenied: grpc.StatusCode.PERMISSION_DENIED,
    errors.RateLimited: grpc.StatusCode.RESOURCE_EXHAUSTED,
    errors.Overloaded: grpc.StatusCode.RESOURCE_EXHAUSTED,
}
_INTERNAL = status_pb2.Status(code=code_pb2.INTERNAL, message="internal error; the server's log has the details")


def _short(text: str) -> str:
    """The text, or its beginning."""
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]} ..."


def status_of(error: errors.SojournError) -> grpc.Status:
    """The status of a domain error: ErrorInfo always, BadRequest for fields, RetryInfo where a repeat may help."""
    code = CODES[type(error)]
    details: list[Message] = [error_details_pb2.ErrorInfo(reason=error.reason, domain=DOMAIN)]
    if isinstance(error, errors.InvalidField):
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
            mistake = errors.FieldViolation("request", f"a serialised message of this method ({error})")
            raise errors.InvalidField([mistake]) from error

    return parse


def _finish(trace: Trace, *_: object) -> None:
    trace.end()


def current_call() -> Call:
    """When the call that this thread serves came, from whom, under which span."""
    return _CALL.get()


class Edge(grpc.aio.ServerInterceptor):  # type: ignore[type-arg]  # generic in its stubs only
    """Wraps every handler once."""

    def __init__(
        self,
        telemetry: Telemetry,
        gate: Gate,
        decisions_of: DecisionsOf,
        now_ms: Callable[[], int],
        *,
        carrier: Carrier,
        log_decisions: bool = False,
    ) -> None:
        """`decisions_of(policy, episode_id)` gives the decisions that an outcome's span links to."""
        self.carrier = carrier
        self._gate = gate
        self._log = log.bind() if log_decisions else None
        self._telemetry = telemetry
        self._decisions_of = decisions_of
        self._now_ms = now_ms
        self._wrapped: dict[str, Any] = {}
        overloaded = status_of(errors.Overloaded("too many calls in flight; nothing was done, try again"))
        self._refusing = refusing_handler(lambda: telemetry.metrics.fault("overloaded"), overloaded)

    async def intercept_service(self, continuation: Any, handler_call_details: Any) -> Any:
        """Returns the wrapped handler of a method."""
        method = handler_call_details.method
        if not method.startswith("/sojourn."):
            handler = await continuation(handler_call_details)
            return handler and handler._replace(request_deserializer=_parser(handler, otherwise_empty=True))
        if not self.carrier.take_in():
            return self._refusing
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            wrapped = self._wrapped[method] = handler and self._wrap(method.lstrip("/"), handler)
        return wrapped

    def _wrap(self, rpc: str, handler: Any) -> Any:
        """The handler gets bytes: gRPC answers a request that it cannot parse twice, and keeps the call for ever."""
        parse, serializer = _parser(handler), handler.response_serializer
        if handler.unary_stream is not None:
            stream = self.carrier.stream(self._stream(rpc, handler.unary_stream, parse))
            return grpc.unary_stream_rpc_method_handler(stream, response_serializer=serializer)
        if handler.stream_unary is not None:
            upload = self.carrier.upload(self._upload(rpc, handler.stream_unary, parse))
            return grpc.stream_unary_rpc_method_handler(upload, response_serializer=serializer)
        short = rpc.rpartition("/")[2] in SHORT
        unary = self.carrier.unary(self._unary(rpc, handler.unary_unary, parse), short=short)
        return grpc.unary_unary_rpc_method_handler(unary, response_serializer=serializer)

    def _unary(self, rpc: str, behavior: Serve, parse: Parse) -> Serve:
        finishers: dict[str, Finish] = {
            "Decide": self._decided,
            "ReportTurn": self._reported,
            "ReportOutcome": self._ended,
        }
        finish = finishers.get(rpc.rpartition("/")[2], _finish)

        def serve(data: bytes, context: Context) -> Any:
            started, metadata = time.perf_counter(), context.invocation_metadata() or ()
            trace = self._telemetry.begin(rpc, metadata)
            try:
                request = parse(data)
                self._admit(rpc, request, metadata, trace)
                response = behavior(request, context)
            except Exception as error:
                raise self._refusal(rpc, error, trace) from error
            finish(trace, request, response, time.perf_counter() - started)
            return response

        return serve

    def _stream(self, rpc: str, behavior: Serve, parse: Parse) -> Serve:
        def serve(data: bytes, context: Context) -> Iterator[Any]:
            metadata = context.invocation_metadata() or ()
            trace = self._telemetry.begin(rpc, metadata)
            try:
                request = parse(data)
                self._admit(rpc, request, metadata, trace)
                yield from behavior(request, context)
                trace.end()
            except GeneratorExit:  # the caller left
                trace.end()
                raise
            except Exception as error:
                raise self._refusal(rpc, error, trace) from error

        return serve

    def _upload(self, rpc: str, behavior: Serve, parse: Parse) -> Serve:
        """The first message says whose the upload is; the others are read as the method asks for them."""

        def serve(pieces: Iterator[bytes], context: Context) -> Any:
            requests = (parse(data) for data in pieces)

            def first(_: bytes) -> Any:
                for request in requests:
                    return request
                raise errors.InvalidField([errors.FieldViolation("request", "at least one message of this method")])

            unary = self._unary(rpc, lambda one, _: behavior(chain([one], requests), context), first)
            return unary(b"", context)

        return serve

    def _admit(self, rpc: str, request: Any, metadata: Metadata, trace: Trace) -> None:
        now_ms = self._now_ms()
        caller = self._gate.admit(rpc.rpartition("/")[2], request, metadata, now_ms=now_ms)
        _CALL.set(Call(now_ms, caller.name, caller.quarantined, trace.trace_id, trace.span_id))

    def _refusal(self, rpc: str, error: Exception, trace: Trace) -> Refused:
        if isinstance(error, errors.JournalUnavailable):
            self._telemetry.metrics.fault("journal_unavailable")
        if isinstance(error, errors.SojournError):
            trace.fail(error.reason, CODES[type(error)].value[0])
            return Refused(status_of(error))
        log.error("call_failed", rpc=rpc, exc_info=error)
        trace.fail("INTERNAL", grpc.StatusCode.INTERNAL.value[0])
        return Refused(rpc_status.to_status(_INTERNAL))

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

    def _ended(self, trace: Trace, request: Any, response: Any, latency_s: float) -> None:
        refs = self._decisions_of(request.policy or DEFAULT_POLICY, request.episode_id) if trace.trace_id else ()
        trace.end_outcome(request, response, refs)
        self._telemetry.metrics.report("outcome", response.state)
