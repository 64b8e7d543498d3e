"""What docs/stacks.md counts is so: the lines that a stack costs, and versions that the extras allow."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from tests.stacks import ai_sdk
from tests.stacks.agents_under_test import STACKS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "stacks.md").read_text("utf-8")
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
SECTIONS = re.findall(r"```diff\n(.*?)```\n\n(\d) lines? more", PAGE, flags=re.DOTALL)


def test_the_page_shows_every_stack():
    assert len(SECTIONS) == len(STACKS)


@pytest.mark.parametrize(("change", "more"), SECTIONS)
def test_the_lines_that_a_stack_costs_are_counted_right(change: str, more: str):
    lines = change.splitlines()
    assert sum(line.startswith("+") for line in lines) - sum(line.startswith("-") for line in lines) == int(more)


@pytest.mark.parametrize("stack", STACKS)
def test_the_oldest_version_that_an_extra_allows_was_tested(stack: str):
    results = json.loads((ROOT / "benchmarks" / "results" / "stacks.json").read_text("utf-8"))[stack]
    oldest = ai_sdk.oldest() if stack == ai_sdk.STACK else EXTRAS[stack][0].partition(">=")[2]
    assert any(f"{version}.".startswith(f"{oldest}.") for version in results)
    assert all(result["failed"] == 0 and result["passed"] >= 15 for result in results.values())
