"""A hermetic OTLP/gRPC collector in this process: it keeps all that exporters send, for tests to read."""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2, metrics_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, ResourceMetrics
from opentelemetry.proto.trace.v1.trace_pb2 import ResourceSpans, Span


class Traces(trace_service_pb2_grpc.TraceServiceServicer):
    def __init__(self) -> None:
        self.received: list[ResourceSpans] = []

    def Export(self, request, context):  # noqa: N802 - the service's own name
        self.received += request.resource_spans
        return trace_service_pb2.ExportTraceServiceResponse()


class Metrics(metrics_service_pb2_grpc.MetricsServiceServicer):
    def __init__(self) -> None:
        self.received: list[ResourceMetrics] = []

    def Export(self, request, context):  # noqa: N802 - the service's own name
        self.received += request.resource_metrics
        return metrics_service_pb2.ExportMetricsServiceResponse()


class Sink:
    """Listens on a free port of 127.0.0.1 until `close`."""

    def __init__(self) -> None:
        self.traces, self.metrics = Traces(), Metrics()
        self._server = grpc.server(ThreadPoolExecutor(2))
        trace_service_pb2_grpc.add_TraceServiceServicer_to_server(self.traces, self._server)
        metrics_service_pb2_grpc.add_MetricsServiceServicer_to_server(self.metrics, self._server)
        self.endpoint = f"http://127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def close(self) -> None:
        self._server.stop(None).wait()

    def spans(self, name: str) -> list[Span]:
        """The spans of this name in the order of their arrival."""
        scopes = [scope for resource in self.traces.received for scope in resource.scope_spans]
        return [span for scope in scopes for span in scope.spans if span.name == name]

    def newest(self, name: str) -> Metric:
        """The last export of this metric; raises IndexError if there was none."""
        scopes = [scope for resource in self.metrics.received for scope in resource.scope_metrics]
        return [metric for scope in scopes for metric in scope.metrics if metric.name == name][-1]


def plain(attributes: Iterable[KeyValue]) -> dict[str, object]:
    """Attributes as a dictionary of plain values."""
    return {a.key: _value(a.value) for a in attributes}


def _value(value: AnyValue) -> object:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(v) for v in value.array_value.values]
    return getattr(value, kind) if kind else None
