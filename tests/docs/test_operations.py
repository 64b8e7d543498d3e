"""The runbook knows everything that a router can complain of, and points nowhere else."""

from __future__ import annotations

import re
from typing import get_args

import pytest

from docs.site.elements import ROOT
from docs.site.telemetry import log_events
from sojourn_server.telemetry import COUNTERS, GAUGES, HISTOGRAM_BOUNDS, Fault

PAGE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
RUNBOOK = PAGE.split("\n## Runbook\n")[1]


COMPLAINTS = {event for event, level in log_events().items() if level in ("warning", "error")}


@pytest.mark.parametrize("event", sorted({*get_args(Fault), *COMPLAINTS}))
def test_every_fault_and_every_complaint_in_the_log_has_an_entry(event: str):
    assert re.search(rf"^### {event}$|`{event}`", RUNBOOK, re.MULTILINE)


def test_every_fault_kind_is_alerted_on_and_led_to_its_entry():
    rows = PAGE.split("\n## What to alert on\n")[1].split("\n## ")[0]
    assert [kind for kind in get_args(Fault) if f"kind `{kind}`" not in rows] == []
    entries = set(re.findall(r"^### (\w+)$", RUNBOOK, re.MULTILINE))
    assert set(re.findall(r"\(#(\w+)\)", rows)) <= entries


def test_no_metric_is_made_up():
    known = {instrument.name for instrument in (*COUNTERS, *GAUGES, *HISTOGRAM_BOUNDS)}
    assert {name for name in re.findall(r"`(sojourn\.[a-z._]+)`", PAGE) if not name.startswith("sojourn.v1")} <= known
