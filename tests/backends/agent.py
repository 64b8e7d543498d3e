"""An agent with a trace of its own, run by the Python of a backend's environment: `agent.py RECIPE ROUTER`.

The recipe is what docs/tracing.md shows. Three episodes: one that is not sampled, one that is judged later, in a trace
apart, and one that is judged at its end. Its spans go where the OTEL_* variables say; standard output gets two lines:
the id of the last episode's trace, while the agent waits amid that for a line of input, and what it was told, as JSON.
"""

from __future__ import annotations

import importlib
import json
import os
import runpy
import sys
from typing import Any, NamedTuple

from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, format_span_id, format_trace_id, use_span

import sojourn

CONVERSATION = "monday"
PATIENT_MS = 10_000
"""A loaded machine must not turn this into a trace of the client's own decisions."""
INPUT_TOKENS, OUTPUT_TOKENS = 6_200, 180
NOBODY = SpanContext(0xFEED, 0xBEEF, is_remote=True, trace_flags=TraceFlags(TraceFlags.DEFAULT))


class Task(NamedTuple):
    """What the recipe is given to do: its turns by the tools that they work with, and how well it will go."""

    name: str
    conversation: str
    tools: tuple[str, ...]
    score: float


def task(name: str) -> Task:
    """A small repair."""
    return Task(name, CONVERSATION, ("plan", "grep", "read_file", "python", "pytest"), 0.75)


class Models:
    """Calls the model that was chosen, as far as a trace shows it, with the span that an instrumentation makes."""

    def __init__(self, *, waits_at: int | None = None) -> None:
        """Call number `waits_at` takes until there is a line of input."""
        self.served: list[dict[str, Any]] = []
        self._waits_at = waits_at

    def call(self, decision: sojourn.Decision) -> None:
        """One call, in OpenInference's attributes and in those of OpenTelemetry's conventions for GenAI."""
        turn = trace.get_current_span().get_span_context()
        attributes: dict[str, str | int] = {
            "openinference.span.kind": "LLM",
            "llm.model_name": decision.model,
            "llm.token_count.prompt": INPUT_TOKENS,
            "llm.token_count.completion": OUTPUT_TOKENS,
            "llm.token_count.total": INPUT_TOKENS + OUTPUT_TOKENS,
            "gen_ai.operation.name": "chat",
            "gen_ai.request.model": decision.model,
            "gen_ai.usage.input_tokens": INPUT_TOKENS,
            "gen_ai.usage.output_tokens": OUTPUT_TOKENS,
        }
        with trace.get_tracer("llm").start_as_current_span(f"chat {decision.model}", attributes=attributes):
            assert decision.fallback is None, decision
            if len(self.served) == self._waits_at:
                print(format_trace_id(turn.trace_id), flush=True)
                sys.stdin.readline()
        self.served.append(
            {
                "trace_id": format_trace_id(turn.trace_id),
                "turn_span_id": format_span_id(turn.span_id),
                "decision_id": decision.decision_id,
                "model": decision.model,
                "reason": decision.reason,
                "propensity": decision.propensity,
                "phase": decision.phase,
            }
        )


def exporter() -> SpanExporter:
    """The one that the environment asks for."""
    protocol = os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc").removesuffix("/protobuf")
    module = importlib.import_module(f"opentelemetry.exporter.otlp.proto.{protocol}.trace_exporter")
    made: SpanExporter = module.OTLPSpanExporter()
    return made


def judged_later(client: sojourn.Client, models: Models) -> str:
    """An episode whose outcome comes from elsewhere, in a trace apart; the id of that trace."""
    tracer = trace.get_tracer("agent")
    with client.episode("judged-later") as episode:
        for tool in ("grep", "python"):
            with tracer.start_as_current_span("turn"):
                models.call(episode.decide(tool_name=tool, prompt_tokens=INPUT_TOKENS))
        episode.leave_open()
    with tracer.start_as_current_span("judge") as judge:
        client.report_outcome("judged-later", "SUCCEEDED", score=0.5, wait=True)
    return format_trace_id(judge.get_span_context().trace_id)


def main(recipe_path: str, router: str) -> None:
    """Plays the episodes and tells of them."""
    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(exporter()))
    trace.set_tracer_provider(provider)
    recipe = runpy.run_path(recipe_path)
    solve = recipe["solve"]
    evaluate = recipe.get("evaluate", lambda root, score: None)
    unsampled, later, at_once = Models(), Models(), Models(waits_at=4)
    with sojourn.Client(router, decide_deadline_ms=PATIENT_MS) as client:
        with use_span(NonRecordingSpan(NOBODY)):
            solve(task("unsampled"), client, unsampled.call, lambda root, score: None)
        judge = judged_later(client, later)
        solve(task("judged-at-once"), client, at_once.call, evaluate)
    provider.shutdown()
    told = {"judged-at-once": at_once.served, "judged-later": later.served, "unsampled": unsampled.served}
    print(json.dumps(told | {"judge": judge}))


if __name__ == "__main__":
    main(*sys.argv[1:])
