"""Arize Phoenix: OTLP over gRPC in; REST and GraphQL out. It keeps no links."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import FloatRect, Page

from tests.backends.backend import Span, Trace, ask, running
from tests.ports import find_unused_port

REQUIREMENTS = ("arize-phoenix",)
WIDTH, HEIGHT = 1280, 900
FIND = """query ($search: String!) { projects { edges { node {
  spans(first: 100, filterCondition: $search) { edges { node { trace { traceId } } } }
} } } }"""
TELL = """query ($trace: String!) { getTraceByOtelId(traceId: $trace) {
  costSummary { total { cost tokens } } session { sessionId } rootSpan { spanAnnotations { name score } }
} }"""


class Phoenix:
    """See `Backend`."""

    keeps_links = False
    search = 'attributes["sojourn"]["episode_id"] == "task-17"'
    title = "Arize Phoenix"

    def __init__(self, port: int, otlp_port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.addresses: Mapping[str, str] = {
            "http://127.0.0.1:6006": self._url,
            "http://127.0.0.1:4317": f"http://127.0.0.1:{otlp_port}",
        }

    def spans(self, trace_id: str) -> list[Span]:
        found = ask(f"{self._url}/v1/projects/default/spans?trace_id={trace_id}&limit=1000")
        return [_span(span) for span in found["data"]] if found else []

    def find(self, search: str) -> set[str]:
        projects = self._query(FIND, search=search)["projects"]["edges"]
        spans = [edge for project in projects for edge in project["node"]["spans"]["edges"]]
        return {edge["node"]["trace"]["traceId"] for edge in spans}

    def trace(self, trace_id: str) -> Trace | None:
        told = self._query(TELL, trace=trace_id)["getTraceByOtelId"]
        total, session = told["costSummary"]["total"], told["session"]
        scores = {a["name"]: a["score"] for a in told["rootSpan"]["spanAnnotations"]}
        return Trace(int(total["tokens"] or 0), total["cost"] or 0.0, session and session["sessionId"], scores)

    def show(self, page: Page, trace_id: str) -> FloatRect:
        projects = ask(f"{self._url}/v1/projects")["data"]
        project = next(p["id"] for p in projects if p["name"] == "default")
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.goto(f"{self._url}/projects/{project}/traces/{trace_id}")
        page.get_by_text("sojourn.decide").nth(1).click()
        return {"x": 0, "y": 0, "width": WIDTH, "height": HEIGHT}

    def _query(self, query: str, **variables: str) -> Any:
        answer = ask(f"{self._url}/graphql", {"query": query, "variables": variables})
        assert "errors" not in answer, answer
        return answer["data"]


def _span(told: dict[str, Any]) -> Span:
    attributes, parent = told["attributes"], told["parent_id"] or ""
    is_model_call = told["span_kind"] == "LLM" or "llm.model_name" in attributes
    return Span(told["context"]["span_id"], parent, told["name"], attributes, (), is_model_call)


@contextmanager
def started(python: Path, directory: Path) -> Iterator[Phoenix]:
    """Phoenix, installed beside a Python, with its data below a directory; it is asked to call nobody."""
    port, otlp_port = find_unused_port(), find_unused_port()
    variables = os.environ | {
        "PHOENIX_HOST": "127.0.0.1",
        "PHOENIX_PORT": str(port),
        "PHOENIX_GRPC_PORT": str(otlp_port),
        "PHOENIX_WORKING_DIR": str(directory),
        "PHOENIX_TELEMETRY_ENABLED": "false",
        "PHOENIX_ALLOW_EXTERNAL_RESOURCES": "false",
        "PHOENIX_DISABLE_AGENT_ASSISTANT": "true",
    }
    command = (python.with_name("phoenix"), "serve")
    with running(command, variables, directory / "phoenix.log", f"http://127.0.0.1:{port}/healthz"):
        yield Phoenix(port, otlp_port)
