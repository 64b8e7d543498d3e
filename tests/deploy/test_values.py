"""The chart's values without a Helm: their schema, their table, their use, and what they say of the router."""

from __future__ import annotations

import json
import re
import tomllib
from collections.abc import Iterator
from typing import Any
from urllib.request import urlopen

import jsonschema
import pytest
import yaml
from grpc_health.v1 import health_pb2, health_pb2_grpc

from deploy.helm.values_table import PAGE, VALUES, page, table, values
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, ServerConfig
from sojourn_server.upkeep.health import LIVENESS
from tests.deploy.envoy import ROOT
from tests.deploy.helm import CHART, VALUE_SETS, merged
from tests.ports import find_unused_port
from tests.rpc.wire import connected

DEFAULT_VALUES: dict[str, Any] = yaml.safe_load(VALUES.read_text(encoding="utf-8"))
SCHEMA: dict[str, Any] = json.loads((CHART / "values.schema.json").read_text(encoding="utf-8"))
TEMPLATES = "".join(path.read_text(encoding="utf-8") for path in sorted(CHART.rglob("templates/**/*.*")))
ADAPTER = yaml.safe_load(re.findall(r"```yaml\n(rules:.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)[0])
OF_THE_CHART = {"security"}
"""Sections of sojourn.toml that only the chart writes."""


def leaves(value: Any, path: str = "") -> Iterator[str]:
    """Dotted names of what has no parts."""
    if isinstance(value, dict) and value:
        for key, below in value.items():
            yield from leaves(below, f"{path}.{key}" if path else key)
    else:
        yield path


@pytest.mark.parametrize("name", VALUE_SETS)
def test_the_schema_takes_the_values_that_the_chart_is_tried_with(name: str):
    path = VALUE_SETS[name]
    jsonschema.validate(merged(DEFAULT_VALUES, yaml.safe_load(path.read_text()) if path else {}), SCHEMA)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"replicas": 0}, "less than the minimum"),
        ({"replica": 3}, "'replica' was unexpected"),
        ({"journal": {"kind": "memory"}}, "'memory' is not one of"),
        ({"config": {"servers": {}}}, "'servers' was unexpected"),
        ({"config": {"server": {"address": "0.0.0.0:1"}}}, "False schema"),
        ({"networkPolicy": {"callers": []}}, "non-empty|too short"),
    ],
)
def test_the_schema_refuses_what_is_wrong(wrong: dict[str, Any], said: str):
    with pytest.raises(jsonschema.ValidationError, match=said):
        jsonschema.validate(merged(DEFAULT_VALUES, wrong), SCHEMA)


def test_every_value_has_its_place_in_the_schema():
    def known(schema: dict[str, Any], value: Any, path: str) -> Iterator[str]:
        for key, below in value.items() if isinstance(value, dict) and "properties" in schema else ():
            if key not in schema["properties"]:
                yield f"{path}.{key}"
            else:
                yield from known(schema["properties"][key], below, f"{path}.{key}")

    unknown = set(known(SCHEMA, DEFAULT_VALUES, ""))
    assert unknown <= {".config.log.format"}  # the router's own keys are not listed
    assert SCHEMA["properties"].keys() - {"global"} == DEFAULT_VALUES.keys()


def test_every_value_is_used():
    names = {name.removesuffix(".{}") for name in leaves(DEFAULT_VALUES)}
    whole = ("config", "resources")  # rendered as they are
    unused = [n for n in names if n.split(".")[0] not in whole and not re.search(rf"\.{n.split('.')[-1]}\b", TEMPLATES)]
    assert unused == []


def test_every_value_is_told():
    told = {value.name: value for value in values(VALUES.read_text(encoding="utf-8"))}
    assert (
        set(leaves(DEFAULT_VALUES)) - {n for n in leaves(DEFAULT_VALUES) if n.startswith("resources.")} <= told.keys()
    )
    without = [name for name, value in told.items() if value.default and not value.words]
    assert without == []


def test_the_page_s_table_is_that_of_the_values():
    text = PAGE.read_text(encoding="utf-8")
    assert text == page(text), "run python -m deploy.helm.values_table"


def test_the_page_sets_values_that_there_are():
    named = re.findall(
        r"--set(?:-file)? ([\w.]+)=", PAGE.read_text(encoding="utf-8") + VALUES.read_text(encoding="utf-8")
    )
    assert named
    assert set(named) <= set(leaves(DEFAULT_VALUES))


def test_a_row_has_name_default_and_words():
    text = 'a: # of a\n  b: 3 # how many\n  c: {d: [1]} # a map\ne: "" # none\n'
    rows = table(text).splitlines()
    assert rows[2:4] == ["| `a` |  | of a |", "| `a.b` | `3` | how many |"]
    assert rows[4:] == ["| `a.c` | `{d: [1]}` | a map |", '| `e` | `""` | none |']


def test_sections_of_the_configuration_are_those_of_the_router():
    assert SCHEMA["properties"]["config"]["properties"].keys() == Config.model_fields.keys() - OF_THE_CHART


def test_the_chart_s_version_is_the_project_s():
    chart = yaml.safe_load((CHART / "Chart.yaml").read_text(encoding="utf-8"))
    version = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"]
    assert (chart["version"], chart["appVersion"]) == (version, version)


def test_the_port_and_the_user_are_the_image_s():
    dockerfile = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    assert "EXPOSE 50051" in dockerfile
    assert "USER 10001:10001" in dockerfile
    assert set(re.findall(r"runAs(?:User|Group): (\d+)", TEMPLATES)) == {"10001"}


def test_the_adapter_s_rule_makes_the_metric_that_the_autoscaler_asks_for():
    (rule,) = ADAPTER["rules"]["custom"]
    assert rule["name"]["as"] == DEFAULT_VALUES["autoscaling"]["metric"]


def test_a_router_answers_to_the_services_that_the_probes_ask_for(server: App):
    services = set(re.findall(r'"service" "([^"]+)"', TEMPLATES))
    assert services == {"sojourn.v1.RouterService", LIVENESS}
    with connected(server.address) as stubs:
        health = health_pb2_grpc.HealthStub(stubs.channel)
        answers = {health.Check(health_pb2.HealthCheckRequest(service=name)).status for name in services}
    assert answers == {health_pb2.HealthCheckResponse.SERVING}


def test_a_router_has_the_series_that_the_adapter_looks_for(monkeypatch: pytest.MonkeyPatch):
    """As the chart starts it: a real scrape of a real router."""
    port = find_unused_port()
    monkeypatch.setenv("OTEL_METRICS_EXPORTER", "prometheus")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_HOST", "127.0.0.1")
    monkeypatch.setenv("OTEL_EXPORTER_PROMETHEUS_PORT", str(port))
    (rule,) = ADAPTER["rules"]["custom"]
    series = rule["seriesQuery"].partition("{")[0]
    with (
        App.open(Config(server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(kind="memory"))) as app,
        connected(app.address) as stubs,
    ):
        stubs.decide("scaled", tool_type="code")
        with urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20.0) as answer:
            scraped = answer.read().decode()
    assert re.search(rf"^{series}{{.*}} 1\.0$", scraped, re.MULTILINE)
