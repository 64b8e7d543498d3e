"""The alert rules: as Prometheus reads them, as they behave over hours, and as docs/operations.md tells of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.deploy.fleet import PROMETHEUS
from tests.habits.sources import REPOSITORY

PAGE = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
ROWS = re.findall(
    r"^\| (?!alert|---)(.+?) \| (.+) \| (.+) \|$",
    PAGE.split("\n## What to alert on\n")[1].split("\n## ")[0],
    re.MULTILINE,
)
RULES = re.split(r"^ +- alert: ", (PROMETHEUS / "alerts.yml").read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]

UNIT_TESTS = sorted(Path(__file__).parent.glob("*_test.yml"))


def said(rule: str, key: str) -> str:
    """An annotation of a rule, or its expression's first line."""
    (value,) = re.findall(rf"^ +{key}: (.+)$", rule, re.MULTILINE)
    return str(value).strip('"')


def anchors() -> set[str]:
    """What a link into the page can name: GitHub's names of its headings."""
    headings = re.findall(r"^#+ (.+)$", PAGE, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_there_is_an_alert_for_every_row_of_the_page_and_a_row_for_every_alert():
    assert sorted(said(rule, "summary") for rule in RULES) == sorted(row[0] for row in ROWS)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.partition("\n")[0])
def test_an_alert_leads_to_where_its_row_leads(rule: str):
    (look,) = [row[2] for row in ROWS if row[0] == said(rule, "summary")]
    linked = re.search(r"\(#([\w-]+)\)", look)
    page, _, anchor = said(rule, "runbook").partition("#")
    assert page == "docs/operations.md"
    assert anchor in anchors()
    assert anchor == (linked[1] if linked else "what-to-alert-on")
    assert said(rule, "description")


@pytest.mark.parametrize("command", [("check", "rules", "alerts.yml"), ("check", "config", "prometheus.yml")])
def test_promtool_finds_nothing_wrong(promtool: Path, command: tuple[str, ...]):
    run(promtool, *command, folder=PROMETHEUS)


@pytest.mark.parametrize("file", UNIT_TESTS, ids=lambda file: file.stem)
def test_alerts_fire_and_stop_when_they_should(promtool: Path, file: Path):
    run(promtool, "test", "rules", file.name, folder=file.parent)


def test_every_alert_is_tested():
    tested = {
        name for file in UNIT_TESTS for name in re.findall(r'alertname="(\w+)"', file.read_text(encoding="utf-8"))
    }
    assert tested == {rule.partition("\n")[0] for rule in RULES}


def run(promtool: Path, *arguments: str, folder: Path) -> None:
    """Runs promtool and fails with its words."""
    done = subprocess.run([promtool, *arguments], cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
