"""What dashboards are made of: queries over the service's own instruments, and panels as Grafana reads them.

A query names its metric by the `Instrument` that the service registers, so that a renamed one breaks here and not on
somebody's wall. Prometheus' names follow from OpenTelemetry's by its rules: `_` for `.`, the unit of time at the end,
`_total` on counters. Everything is summed over instances unless a query is `by` them.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from sojourn_server.telemetry import COUNTERS, POLICY, Instrument

SCHEMA_VERSION = 41  # Grafana 11.6; newer ones migrate it when they load it
COLUMNS = 24
DATASOURCE = {"type": "prometheus", "uid": "${datasource}"}

Window = Literal["$__rate_interval", "$__range", "$window"]
Kind = Literal["timeseries", "stat", "heatmap", "table"]
Steps = tuple[tuple[float | None, str], ...]
NEUTRAL: Steps = ((None, "blue"),)


def bad_from(value: float) -> Steps:
    """Red from a value on."""
    return ((None, "green"), (value, "red"))


def good_from(value: float) -> Steps:
    """Green from a value on."""
    return ((None, "red"), (value, "green"))


def metric_name(instrument: Instrument) -> str:
    """The instrument's name in Prometheus, without the parts of a histogram."""
    unit = "_seconds" if instrument.unit == "s" else ""
    return instrument.name.replace(".", "_") + unit + ("_total" if instrument in COUNTERS else "")


def series(instrument: Instrument, where: str = "", part: str = "") -> str:
    """The series that the dashboard's variables select; `part` is a histogram's, such as "_bucket"."""
    policies = 'sojourn_policy=~"$policy"' if POLICY in instrument.labels else ""
    conditions = ", ".join(filter(None, ('job=~"$job"', policies, where)))
    return f"{metric_name(instrument)}{part}{{{conditions}}}"


def rate(
    instrument: Instrument, *, by: str = "", where: str = "", over: Window = "$__rate_interval", part: str = ""
) -> str:
    """The rise per second."""
    return f"{_sum(by)} (rate({series(instrument, where, part)}[{over}]))"


def count(instrument: Instrument, *, by: str = "", where: str = "") -> str:
    """The rise within the range that the dashboard shows."""
    return f"{_sum(by)} (increase({series(instrument, where)}[$__range]))"


def mean(histogram: Instrument, *, by: str = "", where: str = "", over: Window = "$window") -> str:
    """The mean of the values that were recorded."""
    total, number = (rate(histogram, by=by, where=where, over=over, part=part) for part in ("_sum", "_count"))
    return f"{total} / {number}"


def quantile(q: float, histogram: Instrument, *, by: str = "") -> str:
    """A quantile of the values that were recorded."""
    labels = f"{by}, le" if by else "le"
    return f"histogram_quantile({q}, {rate(histogram, by=labels, part='_bucket')})"


def _sum(by: str) -> str:
    return f"sum by ({by})" if by else "sum"


class Panel(NamedTuple):
    """One picture: `queries` are by legend; `unit` is Grafana's name of it; `steps` colour values."""

    title: str
    description: str
    unit: str
    queries: Mapping[str, str]
    kind: Kind = "timeseries"
    width: int = 12
    steps: Steps = NEUTRAL
    stacked: bool = False


class Dashboard(NamedTuple):
    """A page of panels, laid out from left to right and downwards."""

    uid: str
    title: str
    description: str
    panels: Sequence[Panel]

    def to_json(self) -> str:
        """The page as Grafana imports it."""
        return json.dumps(_dashboard(self), indent=1) + "\n"


def stat(title: str, description: str, unit: str, query: str, steps: Steps = NEUTRAL) -> Panel:
    """One number over the range that the dashboard shows; six of them fill a row."""
    return Panel(title, description, unit, {"": query}, "stat", COLUMNS // 6, steps)


def _dashboard(page: Dashboard) -> dict[str, Any]:
    return {
        "uid": page.uid,
        "title": page.title,
        "description": page.description,
        "tags": ["sojourn"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,  # the cursor is shared by all panels
        "time": {"from": "now-6h", "to": "now"},
        "refresh": "1m",
        "templating": {"list": _variables()},
        "links": [_link()],
        "panels": _laid_out(page.panels),
    }


def _variables() -> list[dict[str, Any]]:
    windows = ["10m", "1h", "6h", "1d", "7d"]
    return [
        {
            "name": "datasource",
            "label": "Prometheus",
            "type": "datasource",
            "query": "prometheus",
            "current": {"text": "default", "value": "default"},
        },
        _labels_variable("job", "Job", "label_values(sojourn_policy_version, job)"),
        _labels_variable("policy", "Policy", 'label_values(sojourn_policy_version{job=~"$job"}, sojourn_policy)'),
        {
            "name": "window",
            "label": "Means over",
            "type": "interval",
            "query": ",".join(windows),
            "current": {"text": "1h", "value": "1h"},
            "options": [{"text": w, "value": w, "selected": w == "1h"} for w in windows],
        },
    ]


def _labels_variable(name: str, label: str, query: str) -> dict[str, Any]:
    """Values of a label, several at a time; all of them at first."""
    return {
        "name": name,
        "label": label,
        "type": "query",
        "datasource": DATASOURCE,
        "query": {"query": query, "refId": name},
        "refresh": 2,  # whenever the time range changes
        "multi": True,
        "includeAll": True,
        "allValue": ".*",
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _link() -> dict[str, Any]:
    """The other dashboards, with the same variables and time."""
    return {
        "title": "Sojourn",
        "type": "dashboards",
        "tags": ["sojourn"],
        "asDropdown": True,
        "includeVars": True,
        "keepTime": True,
        "icon": "external link",
        "tooltip": "",
        "url": "",
        "targetBlank": False,
    }


def _laid_out(panels: Sequence[Panel]) -> list[dict[str, Any]]:
    x = y = row_height = 0
    placed = []
    for number, panel in enumerate(panels, start=1):
        height = 4 if panel.kind == "stat" else 8
        if x + panel.width > COLUMNS:
            x, y, row_height = 0, y + row_height, 0
        placed.append(_panel(panel, number, {"x": x, "y": y, "w": panel.width, "h": height}))
        x, row_height = x + panel.width, max(row_height, height)
    return placed


def _panel(panel: Panel, number: int, place: dict[str, int]) -> dict[str, Any]:
    return {
        "id": number,
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATASOURCE,
        "gridPos": place,
        "targets": [_target(panel, "ABC"[i], legend) for i, legend in enumerate(panel.queries)],
        "fieldConfig": {"defaults": _field(panel), "overrides": []},
        "options": _options(panel),
    }


def _target(panel: Panel, ref: str, legend: str) -> dict[str, Any]:
    """A stat and a table show one moment; its queries look back over the range by themselves."""
    instant = panel.kind in ("stat", "table")
    formats = {"heatmap": "heatmap", "table": "table"}
    return {
        "refId": ref,
        "datasource": DATASOURCE,
        "expr": panel.queries[legend],
        "legendFormat": legend or "__auto",
        "format": formats.get(panel.kind, "time_series"),
        "instant": instant,
        "range": not instant,
        "editorMode": "code",
    }


def _field(panel: Panel) -> dict[str, Any]:
    defaults: dict[str, Any] = {
        "unit": panel.unit,
        "thresholds": {"mode": "absolute", "steps": [{"value": v, "color": c} for v, c in panel.steps]},
        "color": {"mode": "thresholds" if panel.kind == "stat" else "palette-classic"},
    }
    if panel.kind == "timeseries":
        defaults["custom"] = {
            "drawStyle": "line",
            "fillOpacity": 20 if panel.stacked else 0,
            "stacking": {"mode": "normal" if panel.stacked else "none", "group": "A"},
            "thresholdsStyle": {"mode": "off" if panel.steps == NEUTRAL else "dashed"},
        }
    return defaults


def _options(panel: Panel) -> dict[str, Any]:
    """What a kind of panel needs beyond Grafana's defaults."""
    options: dict[Kind, dict[str, Any]] = {
        "timeseries": {
            "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True, "calcs": []},
            "tooltip": {"mode": "multi", "sort": "desc"},
        },
        "stat": {
            "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
            "colorMode": "value",
            "graphMode": "none",
        },
        "heatmap": {"calculate": False, "yAxis": {"unit": panel.unit}},
        "table": {"showHeader": True},
    }
    return options[panel.kind]
