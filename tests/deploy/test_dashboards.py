"""The dashboards as files: made by the code beside them, sound for Grafana, and about metrics that exist."""

from __future__ import annotations

import json
import re
from itertools import combinations
from typing import Any, get_args

import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models import units
from grafana_foundation_sdk.models.dashboard import Dashboard

from deploy.dashboards import DASHBOARDS, FOLDER
from deploy.panels import metric_name
from sojourn_server.telemetry import COUNTERS, GAUGES, HISTOGRAM_BOUNDS, Fault
from tests.habits.sources import REPOSITORY

PAGES = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(FOLDER.glob("*.json"))}
PANELS = [
    pytest.param(panel, id=f"{name}: {panel['title']}") for name, page in PAGES.items() for panel in page["panels"]
]
ALERTS = (REPOSITORY / "deploy" / "prometheus" / "alerts.yml").read_text(encoding="utf-8")
EXPRESSIONS = [target["expr"] for page in PAGES.values() for panel in page["panels"] for target in panel["targets"]]
NOT_OURS = {"up", "target_info"}
"""Prometheus' own, and OpenTelemetry's; `process_*` are those of Prometheus' client library."""
UNITS = {value for name, value in vars(units).items() if isinstance(value, str) and not name.startswith("_")}


def exported() -> set[str]:
    """The names of all series that the instruments become."""
    histograms = {metric_name(i) + part for i in HISTOGRAM_BOUNDS for part in ("_bucket", "_sum", "_count")}
    return {metric_name(i) for i in (*COUNTERS, *GAUGES)} | histograms


def label_names() -> set[str]:
    """The labels of all instruments, as Prometheus writes them."""
    return {label.replace(".", "_") for i in (*COUNTERS, *GAUGES, *HISTOGRAM_BOUNDS) for label in i.labels}


def test_there_are_four_and_they_are_what_the_code_makes():
    assert {name: (FOLDER / f"{name}.json").read_text(encoding="utf-8") for name in PAGES} == {
        name: dashboard.to_json() for name, dashboard in DASHBOARDS.items()
    }
    assert len(PAGES) == 4


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_grafana_knows_every_field(page: dict[str, Any]):
    """Its own types, made for release 11.6, drop a field that they do not know."""
    register_default_plugins()
    known = json.loads(JSONEncoder().encode(Dashboard.from_json(page)))
    assert lost(page, known) == []
    assert page["schemaVersion"] >= 39


def lost(given: Any, kept: Any, path: str = "") -> list[str]:
    """Places of `given` that `kept` lacks or has otherwise."""
    if isinstance(given, dict) and isinstance(kept, dict):
        return [p for key in given for p in lost(given[key], kept.get(key), f"{path}.{key}")]
    if isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        return [p for i, pair in enumerate(zip(given, kept, strict=True)) for p in lost(*pair, f"{path}[{i}]")]
    return [] if given == kept else [path]


def test_a_field_that_grafana_does_not_know_is_found():
    register_default_plugins()
    page = json.loads(json.dumps(PAGES["overview"]))
    page["panels"][0]["options"]["colourMode"] = "value"
    assert lost(page, json.loads(JSONEncoder().encode(Dashboard.from_json(page)))) == [".panels[0].options.colourMode"]


@pytest.mark.parametrize("panel", PANELS)
def test_a_panel_says_what_it_shows_in_which_unit(panel: dict[str, Any]):
    defaults = panel["fieldConfig"]["defaults"]
    assert panel["title"]
    assert panel["description"].endswith(".")
    assert defaults["unit"] in UNITS
    assert defaults["thresholds"]["steps"][0]["value"] is None
    assert panel["targets"]


@pytest.mark.parametrize("page", PAGES.values(), ids=PAGES)
def test_a_page_lets_choose_datasource_and_policy_and_its_panels_do_not_overlap(page: dict[str, Any]):
    assert {"datasource", "job", "policy"} <= {variable["name"] for variable in page["templating"]["list"]}
    for panel in page["panels"]:
        assert all(s["datasource"]["uid"] == "${datasource}" for s in (panel, *panel["targets"]))
    for one, other in combinations([panel["gridPos"] for panel in page["panels"]], 2):
        assert apart(one, other, "x", "w") or apart(one, other, "y", "h")
    assert len({panel["title"] for panel in page["panels"]}) == len(page["panels"])


def apart(one: dict[str, int], other: dict[str, int], start: str, size: str) -> bool:
    """Whether two spans do not meet."""
    return one[start] + one[size] <= other[start] or other[start] + other[size] <= one[start]


def test_titles_and_addresses_of_pages_are_unique():
    assert len({page["uid"] for page in PAGES.values()}) == len({page["title"] for page in PAGES.values()}) == 4


@pytest.mark.parametrize("text", [*EXPRESSIONS, ALERTS])
def test_no_metric_and_no_label_is_made_up(text: str):
    names = set(re.findall(r"\b(?:sojourn|process)_\w+|\bup\b|\btarget_info\b", text))
    ours = {name for name in names if name.startswith("sojourn_")}
    assert ours <= exported() | label_names()
    assert {name for name in names - ours if not name.startswith("process_")} <= NOT_OURS


def test_every_metric_is_on_a_page():
    """One that nobody looks at costs all the same."""
    text = "\n".join(EXPRESSIONS)
    assert [name for i in (*COUNTERS, *GAUGES, *HISTOGRAM_BOUNDS) if (name := metric_name(i)) not in text] == []


def test_the_alerts_know_every_fault():
    assert set(re.findall(r'sojourn_fault_kind="(\w+)"', ALERTS)) == set(get_args(Fault))
