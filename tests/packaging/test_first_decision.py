"""What is timed are the commands that the READMEs show; `python -m tests.packaging.first_decision` times them."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.habits.sources import REPOSITORY
from tests.packaging.first_decision import commands, rows
from tests.scenarios.languages import LANGUAGES

DECIDES = {
    "python": "first_decision.py",
    "typescript": "node dist/test/first_decision.js",
    "go": "go run ./examples/first_decision",
    "rust": "cargo run --locked --example first_decision",
    "java": "io.github.sojournrouter.FirstDecision",
    "cpp": "build/first_decision",
}


@pytest.mark.parametrize("name", LANGUAGES)
def test_each_readme_shows_the_way_to_a_first_decision(name: str, tmp_path: Path):
    (tmp_path / "clone").symlink_to(REPOSITORY)
    assert commands(name, tmp_path)[-1].endswith(DECIDES[name])


def test_a_language_that_was_not_measured_says_so():
    taken = {"cold": {"all": 90.2, "router": 30.0, "build": 59.6}, "warm": {"all": 40.0}}
    head, *body = rows({"go": {**taken, "date": "2026-01-02", "commit": "abc"}})
    assert len(body) == len(LANGUAGES)
    assert {len(row) for row in body} == {len(head)}
    assert ["Go", "90", "30", "60", "40", "2026-01-02, abc"] in body
    assert body[0][:2] == ["Python", "not measured yet"]
