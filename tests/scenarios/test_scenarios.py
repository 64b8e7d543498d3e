"""Every language's client decides; Python's keeps to every rule. The full run is `python -m tests.scenarios`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.scenarios.__main__ import play
from tests.scenarios.languages import LANGUAGES
from tests.scenarios.scenario import SMOKE, differences, read_scenarios
from tests.scenarios.stage import Stage, built_stage

SCENARIOS = {scenario.name: scenario for scenario in read_scenarios()}


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with built_stage(Path(tmp_path_factory.mktemp("stage"))) as built:
        yield built


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_python_client_keeps_to_every_rule(stage: Stage, name: str):
    assert play(LANGUAGES["python"], SCENARIOS[name], stage) == []


@pytest.mark.timeout(600)
@pytest.mark.parametrize("language", [name for name in LANGUAGES if name != "python"])
def test_every_other_language_makes_a_decision(stage: Stage, language: str):
    if not LANGUAGES[language].is_wanted():
        pytest.skip(f"the client for {LANGUAGES[language].title} is not tried: SOJOURN_LANGUAGES=all tries it too")
    if missing := LANGUAGES[language].prepare():
        pytest.skip(f"the client for {LANGUAGES[language].title} is not tried: not on this machine: {missing}")
    LANGUAGES[language].make()
    assert play(LANGUAGES[language], SCENARIOS[SMOKE], stage) == []


@pytest.mark.parametrize(
    ("wanted", "played"),
    [("", {"python", "typescript", "go", "java", "cpp"}), ("all", set(LANGUAGES)), ("rust,go", {"rust", "go"})],
)
def test_what_is_slow_to_build_is_played_on_request(monkeypatch: pytest.MonkeyPatch, wanted: str, played: set[str]):
    monkeypatch.setenv("SOJOURN_LANGUAGES", wanted)
    assert {name for name, language in LANGUAGES.items() if language.is_wanted()} == played


def test_a_client_that_differs_is_found_out(stage: Stage):
    scenario = SCENARIOS[SMOKE]
    steps = [dict(step) for step in scenario.steps]
    next(step for step in steps if "decide" in step)["expect"] = {"model": "another"}
    (said,) = play(LANGUAGES["python"], replace(scenario, name="doctored", steps=tuple(steps)), stage)
    assert "model: expected 'another'" in said


@pytest.mark.parametrize(
    ("expected", "found", "unmet"),
    [
        ({"a": 1}, {"a": 1, "b": 2}, 0),
        ({"a": None}, {}, 0),
        ({"a": None}, {"a": 1}, 1),
        ([{"a": 1}], [{"a": 1}, {}], 1),
        ({"a": {"at_least": 2}}, {"a": 1}, 1),
        ({"a": {"not": None}}, {"a": 1}, 0),
        ({"a": {"not": 1}}, {"a": 1}, 1),
        ({"a": "$first.id"}, {"a": "x"}, 0),
        ({"a": "$first.id"}, {"a": "y"}, 1),
    ],
)
def test_what_is_expected_is_a_part_of_what_is_found(expected: object, found: object, unmet: int):
    assert len(list(differences(expected, found, {"first": {"id": "x"}}))) == unmet


def test_rules_are_told_apart():
    rules = [scenario.rule for scenario in SCENARIOS.values()]
    assert len(set(rules)) == len(rules)
    assert all(scenario.steps for scenario in SCENARIOS.values())
