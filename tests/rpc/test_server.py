"""The server itself: health, reflection, overload, and a drain that finishes what it began."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor_pb2 import FileDescriptorProto
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from sojourn.v1 import router_pb2
from sojourn_server.app import App
from sojourn_server.config import Config, ServerConfig
from sojourn_server.errors import StartRefused
from sojourn_server.telemetry import Telemetry
from sojourn_server.upkeep.health import LIVENESS
from tests.hosts.hosts import wait_until
from tests.rpc.wire import Stubs, connected, refusal

SERVICES = ("sojourn.v1.RouterService", "sojourn.v1.AdminService")
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
WAIT_S = 20


def edge(config: Config, **changes: object) -> Config:
    """The configuration with another edge."""
    server = ServerConfig.model_validate({**config.server.model_dump(), **changes})
    return config.model_copy(update={"server": server})


@pytest.mark.parametrize("service", ["", LIVENESS, *SERVICES])
def test_health_says_serving_for_the_server_and_for_each_service(stubs: Stubs, service: str):
    health = health_pb2_grpc.HealthStub(stubs.channel)
    assert health.Check(health_pb2.HealthCheckRequest(service=service)).status == SERVING


def _reflected(stubs: Stubs) -> set[str]:
    reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
    request = reflection_pb2.ServerReflectionRequest(list_services="")
    (answer,) = reflection.ServerReflectionInfo(iter([request]))
    return {service.name for service in answer.list_services_response.service}


def test_reflection_lists_the_services_and_describes_their_messages(stubs: Stubs):
    assert set(SERVICES) < _reflected(stubs)
    reflection = reflection_pb2_grpc.ServerReflectionStub(stubs.channel)
    request = reflection_pb2.ServerReflectionRequest(file_containing_symbol="sojourn.v1.DecideRequest")
    (answer,) = reflection.ServerReflectionInfo(iter([request]))
    files = [FileDescriptorProto.FromString(f) for f in answer.file_descriptor_response.file_descriptor_proto]
    assert any(m.name == "DecideRequest" for file in files for m in file.message_type)


def test_reflection_can_be_switched_off(config: Config):
    with App.open(edge(config, reflection=False), Telemetry.disabled()) as app, connected(app.address) as stubs:
        with pytest.raises(grpc.RpcError) as caught:
            _reflected(stubs)
        assert isinstance(caught.value, grpc.Call)
        assert caught.value.code() == grpc.StatusCode.UNIMPLEMENTED


class Slow:
    """A method that answers only when it is let go."""

    def __init__(self) -> None:
        self.entered, self.let_go = threading.Event(), threading.Event()
        self.handler = grpc.method_handlers_generic_handler(
            "test.Slow", {"Wait": grpc.unary_unary_rpc_method_handler(self._wait)}
        )

    def _wait(self, request: bytes, context: grpc.ServicerContext) -> bytes:
        self.entered.set()
        assert self.let_go.wait(WAIT_S)
        return b"done"

    def call(self, channel: grpc.Channel) -> bytes:
        """Calls and waits."""
        method = channel.unary_unary("/test.Slow/Wait", request_serializer=None, response_deserializer=None)
        answer: bytes = method(b"", timeout=WAIT_S)
        return answer


@pytest.fixture
def slow() -> Iterator[Slow]:
    method = Slow()
    yield method
    method.let_go.set()


def _until_cancelled(watch: Iterator[health_pb2.HealthCheckResponse]) -> Iterator[health_pb2.HealthCheckResponse]:
    with suppress(grpc.RpcError):
        yield from watch


def test_a_drain_says_not_serving_finishes_calls_in_flight_and_takes_no_new_ones(config: Config, slow: Slow):
    app = App.open(config, Telemetry.disabled())
    app.add_handler(slow.handler)
    with connected(app.address) as stubs, ThreadPoolExecutor(2) as threads:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        watch, alive = (health.Watch(health_pb2.HealthCheckRequest(service=name)) for name in ("", LIVENESS))
        assert next(watch).status == next(alive).status == SERVING
        in_flight = threads.submit(slow.call, stubs.channel)
        assert slow.entered.wait(WAIT_S)
        closing = threads.submit(app.close)
        assert next(watch).status == NOT_SERVING
        watch.cancel()
        alive.cancel()
        assert all(answer.status == SERVING for answer in _until_cancelled(alive))
        assert not closing.done()
        with connected(app.address) as late, pytest.raises(grpc.RpcError):  # noqa: PT012 - any of them may be the one
            for i in range(1_000):  # the door closes right after the sign is turned
                late.decide(f"late{i}")
        slow.let_go.set()
        assert in_flight.result(WAIT_S) == b"done"
        closing.result(WAIT_S)


def test_a_drain_waits_no_longer_than_it_was_told(config: Config, slow: Slow):
    app = App.open(edge(config, drain_ms=50), Telemetry.disabled())
    app.add_handler(slow.handler)
    with connected(app.address) as stubs, ThreadPoolExecutor(2) as threads:
        in_flight = threads.submit(slow.call, stubs.channel)
        assert slow.entered.wait(WAIT_S)
        threads.submit(app.close).result(WAIT_S)
        with pytest.raises(grpc.RpcError):
            in_flight.result(WAIT_S)
        slow.let_go.set()


def test_what_was_acknowledged_before_the_drain_is_learned_by_its_end(config: Config):
    versions = []
    with App.open(config, Telemetry.disabled()) as app, connected(app.address) as stubs:
        stubs.decide("e", tool_type="search")
        stubs.end("e")
        position, router = app.journal.position(), app.router
    versions.append(router.knowledge("default").version)
    assert versions == [position]


def test_calls_beyond_the_limit_in_flight_are_refused_at_once_and_told_when_to_come_back(config: Config):
    with App.open(edge(config, max_calls_in_flight=1), Telemetry.disabled()) as app, connected(app.address) as stubs:
        go_on = threading.Event()
        calls = [_silent(stubs.channel, "AdminService/ImportSnapshot", go_on)]

        def is_full() -> bool:
            if calls[-1].done():  # it was refused itself, for the decision that was in flight
                calls.append(_silent(stubs.channel, "AdminService/ImportSnapshot", go_on))
            return _is_refused(stubs)

        wait_until(is_full)
        found = refusal(lambda: stubs.decide("e"))
        assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
        assert found.retry_ms
        go_on.set()
        assert calls[-1].code() == grpc.StatusCode.INVALID_ARGUMENT
        assert stubs.decide("e").model


def _silent(channel: grpc.Channel, method: str, go_on: threading.Event) -> Any:
    """A call that is open and sends no message until it may; then it ends without any."""
    call: Any = channel.stream_unary(f"/sojourn.v1.{method}", request_serializer=None, response_deserializer=None)
    return call.future(_after(go_on), timeout=WAIT_S)


def _after(go_on: threading.Event) -> Iterator[bytes]:
    assert go_on.wait(WAIT_S)
    yield from ()


def _is_refused(stubs: Stubs) -> bool:
    try:
        stubs.decide("before")
    except grpc.RpcError:
        return True
    return False


def test_a_caller_who_left_while_waiting_is_not_worked_for(config: Config, slow: Slow):
    with App.open(edge(config, threads=1), Telemetry.disabled()) as app:
        app.add_handler(slow.handler)
        with connected(app.address) as stubs, ThreadPoolExecutor(1) as threads:
            stubs.decide("left")
            in_flight = threads.submit(slow.call, stubs.channel)
            assert slow.entered.wait(WAIT_S)
            left = router_pb2.ReportOutcomeRequest(episode_id="left", score=1.0)
            with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
                stubs.router.ReportOutcome(left, timeout=0.05)
            slow.let_go.set()
            in_flight.result(WAIT_S)
            assert stubs.end("stayed").state  # so the one thread has had its chance to work for the other
            assert [r.HasField("decision") for r in app.journal.episode("default", "left")] == [True]


def test_a_caller_who_sends_nothing_holds_nobody_up(config: Config):
    with App.open(edge(config, threads=1), Telemetry.disabled()) as app, connected(app.address) as stubs:
        go_on = threading.Event()
        silent = [_silent(stubs.channel, f"RouterService/{name}", go_on) for name in ("Decide", "ReportOutcome") * 4]
        assert stubs.decide("e").model
        assert stubs.end("e").state
        assert not any(call.done() for call in silent)
        go_on.set()
        for call in silent:
            call.cancel()


def test_an_address_that_is_taken_refuses_the_start_and_leaves_nothing_running(config: Config):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        threads = threading.active_count()
        with pytest.raises(StartRefused, match=r"server\.address: cannot listen on"):
            App.open(edge(config, address=address), Telemetry.disabled())
    assert threading.active_count() <= threads
