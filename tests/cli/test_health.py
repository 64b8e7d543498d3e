from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

from sojourn_server.app import App
from tests.cli.command import run


@pytest.fixture
def draining() -> Iterator[str]:
    """The address of a server whose health says NOT_SERVING, as a draining router's does."""
    server = grpc.server(ThreadPoolExecutor(1))
    servicer = health.HealthServicer()
    servicer.set("sojourn.v1.RouterService", health_pb2.HealthCheckResponse.NOT_SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    yield f"127.0.0.1:{port}"
    server.stop(None).wait()


def test_a_serving_router_is_healthy(server: App):
    result = run("health", "--address", server.address)
    assert (result.exit_code, result.stdout) == (0, "SERVING\n")


def test_a_draining_router_is_not(draining: str):
    result = run("health", "--address", draining)
    assert (result.exit_code, result.stdout) == (1, "NOT_SERVING\n")


def test_nobody_there_is_not_healthy(unused_port: int):
    result = run("health", "--address", f"127.0.0.1:{unused_port}")
    assert result.exit_code == 1
    assert f"127.0.0.1:{unused_port}: UNAVAILABLE" in result.stderr
