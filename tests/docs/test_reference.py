"""The reference is complete, fresh, and says nothing of what is no more."""

from __future__ import annotations

import re
from collections import Counter

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from docs.site import configuration, contract, reference, telemetry
from docs.site.elements import ROOT, WORDS, Element, missing
from sojourn.v1 import errors_pb2, router_pb2, types_pb2
from sojourn_server.traces import DecisionRef, Tracing
from tests.telemetry.calls import ANSWER, DECIDE, REQUEST, SAMPLED

ELEMENTS = list(reference.elements())
OUTCOME = "sojourn.v1.RouterService/ReportOutcome"


@pytest.mark.parametrize("kind", sorted({element.kind for element in ELEMENTS}))
def test_everything_public_is_documented(kind: str):
    assert missing(element for element in ELEMENTS if element.kind == kind) == []


def test_no_page_is_stale():
    assert reference.stale() == [], "run: python -m docs.site --reference"


def test_every_element_stands_on_a_page():
    text = "\n".join((reference.FOLDER / name).read_text("utf-8") for name in reference.PAGES)
    names = {
        re.split(r"[. ]", element.name)[-1]
        for element in ELEMENTS
        if element.kind in ("field", "RPC", "setting", "command")
    }
    assert [name for name in sorted(names) if name not in text] == []


def test_elements_of_every_kind_are_found():
    """Counted otherwise than by the code that lists them."""
    counts = Counter(element.kind for element in ELEMENTS)
    proto = "".join(path.read_text("utf-8") for path in (ROOT / "proto" / "sojourn" / "v1").glob("*.proto"))
    assert counts["RPC"] == len(re.findall(r"^  rpc \w+\(", proto, re.MULTILINE))
    assert counts["message"] == len(re.findall(r"^message \w+ \{", proto, re.MULTILINE))
    assert counts["enum value"] == len(re.findall(r"^  [A-Z_0-9]+ = \d+;", proto, re.MULTILINE))
    assert counts["field"] == len(
        re.findall(r"^ {2,4}(?:optional |repeated )?[\w.<>, ]+ [a-z_0-9]+ = \d+;", proto, re.MULTILINE)
    )
    keys = re.findall(
        r"^    \w+: (?!ClassVar)", (ROOT / "server" / "sojourn_server" / "config.py").read_text("utf-8"), re.MULTILINE
    )
    assert counts["setting"] >= len(keys) - 2  # a policy's config inherits two


def test_no_word_is_said_of_what_is_no_more():
    models = {table.model.__name__: table.model for table in configuration.tables()}
    for name, said in WORDS["settings"].items():
        assert said.keys() <= models[name].model_fields.keys()
    labels = {label for group in telemetry.KINDS.values() for i in group for label in i.labels}
    assert WORDS["metric_attributes"].keys() == labels
    assert WORDS["log_events"].keys() <= telemetry.log_events().keys()


def test_spans_carry_what_the_reference_says():
    """Every way in which a span can end, so that every attribute is seen."""
    seen = InMemorySpanExporter()
    tracing = Tracing([seen], Resource.create({}), "1")
    tracing.begin(DECIDE, SAMPLED).end_decision(REQUEST, ANSWER)
    tracing.begin(DECIDE, SAMPLED).fail("EPISODE_ENDED", 9)
    outcome = router_pb2.ReportOutcomeRequest(score=1.0, cost_usd=0.1, status=types_pb2.OUTCOME_STATUS_SUCCEEDED)
    decisions = [DecisionRef("d" * 32, b"", b"")]
    tracing.begin(OUTCOME, SAMPLED).end_outcome(outcome, router_pb2.ReportOutcomeResponse(), decisions)
    tracing.provider.shutdown()
    found: dict[str, set[str]] = {}
    for span in seen.get_finished_spans():
        kind = span.name if span.name in WORDS["spans"] else "RPC"
        found.setdefault(kind, set()).update(span.attributes or ())
    assert found == {span: said.keys() - {"about"} for span, said in WORDS["spans"].items()}
    written = re.findall(
        r'"((?:sojourn|gen_ai|openinference|rpc|error)\.[a-z_.]+)"',
        (ROOT / "server" / "sojourn_server" / "traces.py").read_text("utf-8"),
    )
    assert set(written) <= {name for names in found.values() for name in names} | {"sojourn.decide", "sojourn.outcome"}


def test_what_has_no_word_is_found():
    assert missing([Element("field", "A.b", " "), Element("field", "A.c", "Said.")]) == ["field A.b"]


def test_each_error_reason_has_its_status():
    page = contract.errors_page()
    assert [reason for reason in errors_pb2.ErrorReason.keys()[1:] if f"`{reason[13:]}` |" not in page] == []
