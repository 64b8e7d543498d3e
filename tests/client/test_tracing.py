"""The caller's span reaches the header in W3C form."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from sojourn.tracing import current_traceparent
from tests.client.surfaces import done, either, entered


def test_without_a_span_there_is_no_header():
    assert current_traceparent() is None


def test_the_header_is_the_one_that_opentelemetry_itself_would_send():
    with TracerProvider().get_tracer("test").start_as_current_span("agent turn"):
        carrier: dict[str, str] = {}
        TraceContextTextMapPropagator().inject(carrier)
        assert current_traceparent() == carrier["traceparent"]


class Listener(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stub only
    """Answers every call with an empty message and keeps the headers that came with it."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, str | bytes | None]] = []

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        headers = dict(handler_call_details.invocation_metadata)
        self.heard.append((handler_call_details.method.rpartition("/")[2], headers.get("traceparent")))
        return grpc.unary_unary_rpc_method_handler(lambda request, context: b"")


@pytest.fixture
def listener() -> Iterator[tuple[str, Listener]]:
    handler = Listener()
    server = grpc.server(ThreadPoolExecutor(1), handlers=[handler])
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}", handler
    server.stop(0).wait()


@either
def test_every_call_carries_the_header_that_was_current_when_the_caller_made_it(
    kind: type, listener: tuple[str, Listener]
):
    address, handler = listener
    spans = iter(["00-a", "00-b", None])

    async def scenario() -> None:
        async with entered(kind(address, traceparent=lambda: next(spans))) as client:
            await done(client.episode("e").decide())
            await done(client.report_outcome("e", "FAILED"))
            await done(client.report_turn(decision_id="d"))

    asyncio.run(scenario())
    assert handler.heard == [("Decide", "00-a"), ("ReportOutcome", "00-b"), ("ReportTurn", None)]


def test_the_client_works_without_opentelemetry_and_without_the_server_package():
    script = """
import sys
sys.modules["opentelemetry"] = None  # an import of it now fails
sys.modules["sojourn_server"] = None
import sojourn
from sojourn.tracing import current_traceparent
assert current_traceparent() is None
assert not {"structlog", "vowpalwabbit", "grpc_status", "google.rpc"} & sys.modules.keys()
sojourn.Client("127.0.0.1:1").close()
"""
    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
