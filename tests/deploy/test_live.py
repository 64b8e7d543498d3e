"""Every query of every dashboard and every alert, put to a real Prometheus that scrapes a real router.

The router has been through a day in seconds: episodes of all cohorts, a full disk, a flood.
"""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.deploy.fleet import WAIT_S, Prometheus, Router, numbers
from tests.deploy.traffic import flood, lose_the_disk, play
from tests.habits.sources import REPOSITORY
from tests.rpc.wire import connected

PAGES = [
    json.loads(path.read_text(encoding="utf-8")) for path in sorted((REPOSITORY / "deploy" / "grafana").glob("*.json"))
]
TARGETS = [
    pytest.param(panel, target, id=f"{page['uid']}: {panel['title']} {target['refId']}")
    for page in PAGES
    for panel in page["panels"]
    for target in panel["targets"]
]
VARIABLES = {"$__rate_interval": "10s", "$__range": "60s", "$window": "60s", "$job": ".*", "$policy": ".*"}
MAY_BE_ZERO = {"Records behind": "the learner keeps up"}
"""Panels whose numbers may all be 0 after this day, and why."""
FIRING = {"SojournJournalUnavailable", "SojournOverloaded"}
WITHOUT_SERIES = {'sojourn_joins_total{sojourn_join_state="expired"}': "an episode expires after an hour at least"}


class Fleet(NamedTuple):
    """A router and who watches it."""

    router: Router
    prometheus: Prometheus


@pytest.fixture(scope="module")
def fleet(prometheus: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Two rounds with a scrape before, between and after, as a rise is seen between scrapes only."""
    directory = tmp_path_factory.mktemp("fleet")
    with ExitStack() as made:
        router = Router(directory)
        made.callback(router.close)
        watcher = Prometheus(prometheus, directory, router.metrics_address)
        made.callback(watcher.close)
        stubs = made.enter_context(connected(router.address))
        for name in ("first", "second"):
            play(stubs, name)
            lose_the_disk(router, stubs, f"{name}-lost")
            flood(stubs, f"{name}-flood")
            watcher.await_scrape()
        watcher.await_scrape()  # a query over time asks for whole seconds, and may end just before the last one
        yield Fleet(router, watcher)


@pytest.mark.parametrize(("panel", "target"), TARGETS)
def test_a_panels_query_has_something_to_show(fleet: Fleet, panel: dict[str, Any], target: dict[str, Any]):
    query = filled(target["expr"])
    assert "$" not in query
    ask = fleet.prometheus.instant if target["instant"] else fleet.prometheus.over_time
    samples = ask(query)
    assert any(numbers(samples)) or (numbers(samples) and panel["title"] in MAY_BE_ZERO)
    for label in re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]):
        assert all(label in sample["metric"] for sample in samples)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page["uid"])
def test_a_variable_has_values_to_choose_from(fleet: Fleet, page: dict[str, Any]):
    queries = [v["query"]["query"] for v in page["templating"]["list"] if v["type"] == "query"]
    for query in queries:
        found = re.fullmatch(r"label_values\((.+), (\w+)\)", filled(query))
        assert found
        assert [s["metric"][found[2]] for s in fleet.prometheus.instant(f"group by ({found[2]}) ({found[1]})")] != []


def test_every_alert_is_evaluated_and_those_fire_that_should(fleet: Fleet):
    give_up_at = time.monotonic() + WAIT_S
    while firing(rules := fleet.prometheus.rules()) != FIRING:
        assert time.monotonic() < give_up_at, rules
        time.sleep(0.2)
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    for rule in rules:
        fleet.prometheus.instant(rule["query"])


def firing(rules: list[dict[str, Any]]) -> set[str]:
    """The names of alerts that fire."""
    return {rule["name"] for rule in rules if rule["state"] == "firing"}


def test_every_alert_looks_at_series_that_exist(fleet: Fleet):
    """An expression over a series that never exists is right, and never fires."""
    selectors = {
        selector
        for rule in fleet.prometheus.rules()
        for selector in re.findall(r"\b(?:sojourn_\w+|up)(?:\{[^}]*\}|(?=\[| >))", rule["query"])
    }
    missing = {s for s in selectors if not fleet.prometheus.instant(f"count({s})")}
    assert missing == WITHOUT_SERIES.keys()


def filled(query: str) -> str:
    """A query as Grafana sends it."""
    for name, value in VARIABLES.items():
        query = query.replace(name, value)
    return query
