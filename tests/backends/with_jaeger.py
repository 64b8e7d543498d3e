"""Jaeger: OTLP over gRPC in; its query API, which speaks OTLP in JSON, out. It keeps links and knows no models.

No registry has it as a program, so it is built from Go's module proxy, once; that takes minutes. What is built so has
no pages: Jaeger's are not in its module.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from playwright.sync_api import FloatRect, Page

from tests.backends.backend import Span, Trace, ask, plain, running
from tests.packages import NoProgram
from tests.ports import find_unused_port

REQUIREMENTS = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-grpc")
VERSION = "v1.76.0"
MODULE = "github.com/jaegertracing/jaeger/cmd/jaeger"
BUILD_S = 5_400
PROGRAM = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sojourn" / f"jaeger-{VERSION}" / "jaeger"


class Jaeger:
    """See `Backend`."""

    keeps_links = True
    search = "sojourn.episode_id=task-17"
    title = "Jaeger"

    def __init__(self, port: int, otlp_port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.addresses: Mapping[str, str] = {"http://127.0.0.1:4317": f"http://127.0.0.1:{otlp_port}"}

    def spans(self, trace_id: str) -> list[Span]:
        found = ask(f"{self._url}/api/v3/traces/{trace_id}")
        scopes = [s for resource in found["result"]["resourceSpans"] for s in resource["scopeSpans"]] if found else []
        return [_span(span) for scope in scopes for span in scope["spans"]]

    def find(self, search: str) -> set[str]:
        key, _, value = search.partition("=")
        asked = urlencode({"service": "sojourn", "tags": json.dumps({key: value}), "limit": 100})
        return {told["traceID"] for told in ask(f"{self._url}/api/traces?{asked}")["data"]}

    def trace(self, trace_id: str) -> Trace | None:
        return None

    def show(self, page: Page, trace_id: str) -> FloatRect:
        raise NotImplementedError("built without pages")


def _span(told: dict[str, Any]) -> Span:
    links = [(link["traceId"], link["spanId"]) for link in told.get("links", ())]
    parent = told.get("parentSpanId", "")
    return Span(told["spanId"], parent, told["name"], plain(told.get("attributes", ())), links, is_model_call=False)


def version(_python: Path) -> str:
    """Builds it unless an earlier run did. Raises NoProgram without Go, CalledProcessError."""
    if not PROGRAM.exists():
        if not shutil.which("go"):
            raise NoProgram("Jaeger is built by Go, which is not here")
        folder = PROGRAM.parent
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "go.mod").write_text("module jaeger\n")  # `go install` refuses modules that replace others
        for command in (("get", "-tool", f"{MODULE}@{VERSION}"), ("build", "-o", str(PROGRAM), MODULE)):
            subprocess.run(["go", *command], cwd=folder, check=True, timeout=BUILD_S)
    return VERSION.removeprefix("v")


@contextmanager
def started(_python: Path, directory: Path) -> Iterator[Jaeger]:
    """Jaeger, which keeps what it gets in memory."""
    port, grpc_port, otlp_port = (find_unused_port() for _ in range(3))
    config = {
        "service": {
            "extensions": ["jaeger_storage", "jaeger_query"],
            "pipelines": {"traces": {"receivers": ["otlp"], "exporters": ["jaeger_storage_exporter"]}},
            "telemetry": {"metrics": {"level": "none"}},
        },
        "extensions": {
            "jaeger_storage": {"backends": {"memory": {"memory": {"max_traces": 1_000}}}},
            "jaeger_query": {
                "storage": {"traces": "memory"},
                "http": {"endpoint": f"127.0.0.1:{port}"},
                "grpc": {"endpoint": f"127.0.0.1:{grpc_port}"},
            },
        },
        "receivers": {"otlp": {"protocols": {"grpc": {"endpoint": f"127.0.0.1:{otlp_port}"}}}},
        "exporters": {"jaeger_storage_exporter": {"trace_storage": "memory"}},
    }
    file = directory / "jaeger.yaml"
    file.write_text(json.dumps(config))  # which is YAML
    services = f"http://127.0.0.1:{port}/api/v3/services"
    with running((PROGRAM, "--config", file), os.environ, directory / "jaeger.log", services):
        yield Jaeger(port, otlp_port)
