"""MLflow: OTLP over HTTP in; REST out. It keeps links."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from playwright.sync_api import FloatRect, Page

from tests.backends.backend import Span, Trace, ask, plain, running
from tests.ports import find_unused_port

REQUIREMENTS = ("mlflow", "opentelemetry-exporter-otlp-proto-http")
WIDTH, HEIGHT = 1280, 900
DRAWER = 0.7
"""The share of the width that a trace gets, from the left; the rest is behind a veil."""
MODEL_CALLS = {"LLM", "CHAT_MODEL"}


class MLflow:
    """See `Backend`."""

    keeps_links = True
    search = "span.attributes.sojourn.episode_id LIKE '%task-17%'"
    title = "MLflow"

    def __init__(self, port: int) -> None:
        self._url = f"http://127.0.0.1:{port}"
        self.addresses: Mapping[str, str] = {"http://127.0.0.1:5000": self._url}

    def spans(self, trace_id: str) -> list[Span]:
        return [_span(span) for span in self._get(trace_id).get("spans", ())]

    def find(self, search: str) -> set[str]:
        experiment = {"type": "MLFLOW_EXPERIMENT", "mlflow_experiment": {"experiment_id": "0"}}
        asked = {"locations": [experiment], "filter": search, "max_results": 100}
        answer = ask(f"{self._url}/api/3.0/mlflow/traces/search", asked)
        return {told["trace_id"].removeprefix("tr-") for told in answer.get("traces", ())}

    def trace(self, trace_id: str) -> Trace | None:
        info = self._get(trace_id)["trace_info"]
        metadata = info.get("trace_metadata", {})
        tokens = json.loads(metadata.get("mlflow.trace.tokenUsage", '{"total_tokens": 0}'))["total_tokens"]
        cost_usd = json.loads(metadata.get("mlflow.trace.cost", '{"total_cost": 0}'))["total_cost"]
        scores = {a["assessment_name"]: a["feedback"]["value"] for a in info.get("assessments", ())}
        return Trace(tokens, cost_usd, metadata.get("mlflow.trace.session"), scores)

    def show(self, page: Page, trace_id: str) -> FloatRect:
        page.set_viewport_size({"width": WIDTH, "height": HEIGHT})
        page.goto(f"{self._url}/#/experiments/0/traces?selectedEvaluationId=tr-{trace_id}")
        page.get_by_text("sojourn.decide").nth(1).click()
        return {"x": 0, "y": 0, "width": DRAWER * WIDTH, "height": HEIGHT}

    def _get(self, trace_id: str) -> dict[str, Any]:
        answer = ask(f"{self._url}/api/3.0/mlflow/traces/get?trace_id=tr-{trace_id}")
        return answer["trace"] if answer else {}


def _span(told: dict[str, Any]) -> Span:
    attributes = plain(told["attributes"])
    links = [(_hexadecimal(link["trace_id"]), _hexadecimal(link["span_id"])) for link in told.get("links", ())]
    is_model_call = attributes.get("mlflow.spanType") in MODEL_CALLS or "mlflow.llm.model" in attributes
    parent = _hexadecimal(told.get("parent_span_id", ""))
    return Span(_hexadecimal(told["span_id"]), parent, told["name"], attributes, links, is_model_call)


def _hexadecimal(base_64: str) -> str:
    return base64.b64decode(base_64).hex()


@contextmanager
def started(python: Path, directory: Path) -> Iterator[MLflow]:
    """MLflow, installed beside a Python, with its data below a directory; it is asked to call nobody."""
    port = find_unused_port()
    command: list[str | Path] = [
        *(python.with_name("mlflow"), "server", "--host", "127.0.0.1", "--port", str(port), "--workers", "1"),
        *("--backend-store-uri", f"sqlite:///{directory}/mlflow.db", "--default-artifact-root", directory / "files"),
    ]
    variables = os.environ | {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}
    with running(command, variables, directory / "mlflow.log", f"http://127.0.0.1:{port}/health"):
        yield MLflow(port)
