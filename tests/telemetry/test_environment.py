"""What the standard OTEL_* variables ask for is done, or refused at the start; a dead collector hurts nobody."""

from __future__ import annotations

import socket
import statistics
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2

from sojourn_server.errors import StartRefused
from sojourn_server.telemetry import Telemetry
from tests.telemetry.calls import CALLER_TRACE, DECIDE, SAMPLED, UNSAMPLED, decide, only
from tests.telemetry.sink import Sink, plain


def test_the_sampler_of_the_environment_decides_for_roots(sink: Sink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "parentbased_traceidratio")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER_ARG", "0.25")
    telemetry = Telemetry.from_environment("1.2.3")
    made = [decide(telemetry, []) for _ in range(2_000)]
    followed = decide(telemetry, SAMPLED)
    telemetry.close(5)
    sampled = [d for d in made if d.trace_id]
    assert 400 < len(sampled) < 600  # 500 expected, 5 standard errors = 97
    assert {s.span_id for s in sink.spans("sojourn.decide")} == {d.span_id for d in [*sampled, followed]}


class Receiver(BaseHTTPRequestHandler):
    """Keeps the path, the headers and the spans of each export by HTTP."""

    received: ClassVar[list[tuple[str, str | None, list[str]]]] = []

    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        resources = trace_service_pb2.ExportTraceServiceRequest.FromString(body).resource_spans
        names = [span.name for resource in resources for scope in resource.scope_spans for span in scope.spans]
        self.received.append((self.path, self.headers["x-team"], names))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_):
        """Says nothing."""


def test_spans_leave_by_http_where_the_environment_says_so(monkeypatch: pytest.MonkeyPatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        threading.Thread(target=server.serve_forever).start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"http://127.0.0.1:{server.server_port}/v1/traces")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "x-team=search")
        telemetry = Telemetry.from_environment("1.2.3")
        decide(telemetry, SAMPLED)
        telemetry.close(5)
        server.shutdown()
    assert Receiver.received == [("/v1/traces", "search", ["sojourn.decide", DECIDE])]


def test_a_sampler_that_ignores_callers_is_obeyed(sink: Sink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", sink.endpoint)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    telemetry = Telemetry.from_environment("1.2.3")
    decide(telemetry, UNSAMPLED)
    telemetry.close(5)
    assert only(sink.spans("sojourn.decide")).trace_id.hex() == CALLER_TRACE


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SDK_DISABLED": "true", "OTEL_EXPORTER_OTLP_ENDPOINT": "ENDPOINT"},
        {"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "ENDPOINT"},
        {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "ENDPOINT"},
    ],
)
def test_nothing_is_traced_unless_the_environment_asks(
    sink: Sink, monkeypatch: pytest.MonkeyPatch, variables: dict[str, str]
):
    for name, value in variables.items():
        monkeypatch.setenv(name, value.replace("ENDPOINT", sink.endpoint))
    telemetry = Telemetry.from_environment("1.2.3")
    made = decide(telemetry, SAMPLED)
    telemetry.close(5)
    assert made.trace_id == b""
    assert sink.traces.received == []


def test_the_operators_service_name_wins(sink: Sink, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", sink.endpoint)
    monkeypatch.setenv("OTEL_SERVICE_NAME", "router-a")
    telemetry = Telemetry.from_environment("1.2.3")
    decide(telemetry, [])
    telemetry.close(5)
    resource = plain(sink.traces.received[0].resource.attributes)
    assert (resource["service.name"], resource["service.version"]) == ("router-a", "1.2.3")
    assert sink.metrics.received == []


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OTEL_TRACES_EXPORTER", "nonsense"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "carrier-pigeon"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "soon"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "100000"),
    ],
)
def test_variables_that_cannot_be_followed_refuse_the_start(monkeypatch: pytest.MonkeyPatch, name: str, value: str):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    monkeypatch.setenv(name, value)
    with pytest.raises(StartRefused, match="OTEL_"):
        Telemetry.from_environment("1.2.3")


@pytest.mark.parametrize("port", ["taken", "nine"])
def test_a_prometheus_port_that_cannot_be_had_refuses_the_start(port: str):
    """In a process of its own: the exporter never closes its port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        variables = {
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": str(listener.getsockname()[1]) if port == "taken" else port,
            "SOJOURN_JOURNAL__KIND": "memory",
        }
        serve = [str(Path(sys.executable).with_name("sojourn")), "serve", "--address", "127.0.0.1:0"]
        done = subprocess.run(serve, env=variables, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 2
    assert "OTEL_* variables: " in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture(params=["refusing", "silent"])
def dead_endpoint(request: pytest.FixtureRequest) -> Iterator[str]:
    """A port that nobody listens on, or one that takes connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if request.param == "refusing":
            listener.close()
        yield f"http://127.0.0.1:{port}"


def test_a_dead_collector_neither_slows_a_call_nor_holds_up_the_end(
    dead_endpoint: str, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", dead_endpoint)
    threads_before = set(threading.enumerate())
    telemetry = Telemetry.from_environment("1.2.3")
    durations_s = []
    for _ in range(3_000):  # more than the queue holds
        began_s = time.perf_counter()
        decide(telemetry, [])
        durations_s.append(time.perf_counter() - began_s)
    began_s = time.perf_counter()
    telemetry.close(0.5)
    assert time.perf_counter() - began_s < 3  # the SDK's own end waits for 30 s
    assert statistics.median(durations_s) < 0.02  # far above the cost on a busy machine,
    assert max(durations_s) < 4  # far below one export that waits for its deadline
    for thread in set(threading.enumerate()) - threads_before:
        thread.join(5)  # nothing goes on retrying
        assert not thread.is_alive()
