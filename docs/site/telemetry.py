"""The reference of what a router tells of itself: metrics, spans, log events, faults."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator, Mapping
from functools import cache
from typing import get_args

from docs.site.elements import ROOT, WORDS, Element, cell, code, head
from sojourn_server.telemetry import COUNTERS, GAUGES, HISTOGRAM_BOUNDS, Fault, Instrument

LEVELS = ("debug", "info", "warning", "error", "exception")
KINDS = {"counter": COUNTERS, "gauge": GAUGES, "histogram": tuple(HISTOGRAM_BOUNDS)}


@cache
def log_events() -> Mapping[str, str]:
    """Level by event, of all that the server logs; `exception` logs at level error."""
    found: dict[str, str] = {}
    for path in sorted((ROOT / "server").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Call) and (level := _level(node.func)) and node.args:
                for inner in ast.walk(node.args[0]):
                    if isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                        found[inner.value] = "error" if level == "exception" else level
    return dict(sorted(found.items()))


@cache
def runbook() -> Mapping[str, str]:
    """The runbook's entries by name."""
    text = (ROOT / "docs" / "operations.md").read_text("utf-8").split("\n## Runbook\n")[1]
    entries = [entry.partition("\n") for entry in text.split("\n### ")[1:]]
    return {name: body for name, _, body in entries}


def entry_of(complaint: str) -> str:
    """The runbook's entry about a fault or log event, or ""."""
    told = (name for name, body in runbook().items() if f"`{complaint}`" in body)
    return complaint if complaint in runbook() else next(told, "")


def elements() -> Iterator[Element]:
    """All metrics, attributes, log events and faults."""
    instruments = [i for group in KINDS.values() for i in group]
    for instrument in instruments:
        yield Element("metric", instrument.name, instrument.description)
    for label in sorted({label for i in instruments for label in i.labels}):
        yield Element("metric attribute", label, WORDS["metric_attributes"].get(label, ""))
    for span, attributes in WORDS["spans"].items():
        for name, said in attributes.items():
            if name != "about":
                yield Element("span attribute", f"{span} {name}", said)
    for event in log_events():
        yield Element("log event", event, _event(event))
    for kind in get_args(Fault):
        yield Element("fault", kind, entry_of(kind))


def page() -> str:
    """What a router tells, as Markdown."""
    about = (
        "Names and units are OpenTelemetry's; [operations](../operations.md#metrics-and-dashboards) says how they get "
        "to Prometheus and how it writes them. Metrics count always, spans are sampled by the caller's `traceparent` "
        "or `OTEL_TRACES_SAMPLER`; neither touches the journal."
    )
    spans = "\n".join(_span(name, attributes) for name, attributes in WORDS["spans"].items())
    return head("Metrics, spans, logs", about) + f"\n{_metrics()}\n## Spans\n\n{spans}\n{_log()}"


def _level(function: ast.expr) -> str:
    """The level at which a call logs, "" if it is no such call."""
    if not isinstance(function, ast.Attribute) or function.attr not in LEVELS:
        return ""
    return function.attr if re.fullmatch(r"(self\.)?_?log", ast.unparse(function.value)) else ""


def _event(event: str) -> str:
    """What is said of an event: a sentence, or for a complaint its entry in the runbook."""
    if entry := entry_of(event):
        return f"See [{entry}](../operations.md#{entry})."
    return str(WORDS["log_events"].get(event, ""))


def _metrics() -> str:
    lines = ["## Metrics", "", "| metric | kind | unit | attributes | meaning |", "| --- | --- | --- | --- | --- |"]
    for kind, instruments in KINDS.items():
        lines += [_metric(kind, instrument) for instrument in instruments]
    lines += ["", "| attribute | meaning |", "| --- | --- |"]
    lines += [f"| {code(name)} | {cell(said)} |" for name, said in WORDS["metric_attributes"].items()]
    return "\n".join(lines) + "\n"


def _metric(kind: str, instrument: Instrument) -> str:
    labels = ", ".join(map(code, instrument.labels))
    return f"| {code(instrument.name)} | {kind} | {code(instrument.unit)} | {labels} | {cell(instrument.description)} |"


def _span(name: str, attributes: Mapping[str, str]) -> str:
    title = code(name) if "." in name else "The call's"
    rows = [f"| {code(key)} | {cell(said)} |" for key, said in attributes.items() if key != "about"]
    return "\n".join(
        [f"### {title}", "", attributes["about"], "", "| attribute | meaning |", "| --- | --- |", *rows, ""]
    )


def _log() -> str:
    lines = [
        "## Log",
        "",
        "Diagnostics on standard error, one JSON object a line (`log.format`); `event` is the name.",
        "",
        "| event | level | meaning |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {code(event)} | {level} | {cell(_event(event))} |" for event, level in log_events().items()]
    return "\n".join(lines) + "\n"
