"""The rules do what they say, and the search for a table finds the best one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import pytest

from benchmarks.arena.environments import TUNING_SEEDS, by_name
from benchmarks.arena.policies.rules import Escalation, HandTable, MtrouterRules, PhaseOracle, Table, fit_table
from sojourn_server.demo.choosers import NeverSwitch
from sojourn_server.demo.play import Chooser, Severity
from tests.arena.tiny_world import MODELS, RIGHT, TOOL_TYPES, facts, mean_score, run, tiny_tasks, view

NO_ERRORS = ("NONE",) * 9


def chosen(chooser: Chooser, errors: Sequence[str]) -> str:
    """First letters of the models chosen, one a turn, where the turns show the given errors."""
    chooser.begin(tiny_tasks(1)[0])
    letters = ""
    for index, error in enumerate(errors):
        model = chooser.choose(view(index))
        chooser.observe(facts(model, error=cast("Severity", error)))
        letters += model[0]
    return letters


@pytest.mark.parametrize(("hold_turns", "letters"), [(1, "ccscccccc"), (3, "ccssscccc")])
def test_an_error_brings_the_strong_model_for_the_hold(hold_turns: int, letters: str):
    errors = ["NONE", "LOW", *["NONE"] * 7]
    assert chosen(Escalation("cheap", "strong", hold_turns=hold_turns), errors) == letters


def test_an_error_within_the_hold_starts_it_anew():
    errors = ["LOW", "NONE", "MEDIUM", *["NONE"] * 4]
    assert chosen(Escalation("cheap", "strong", hold_turns=2), errors) == "csssscc"[: len(errors)]


def test_each_episode_starts_cheap():
    chooser = Escalation("cheap", "strong")
    chosen(chooser, ["LOW"])
    assert chosen(chooser, ["NONE"]) == "c"


def rules() -> MtrouterRules:
    return MtrouterRules("strong", "value", ("a-cheap", "b-cheap"), expected_turns=lambda task_type: 9.0, seed=1)


def test_mtrouters_rules_in_their_order():
    errors = ["NONE", "NONE", "LOW", "NONE", "NONE", "NONE", "NONE", "LOW", "NONE"]
    letters = chosen(rules(), errors)
    assert letters[0] == letters[3] == letters[8] == "s"
    assert letters[6:8] == "vv"
    assert set(letters[1:3] + letters[4:6]) <= {"a", "b"}


def test_mtrouters_cheap_models_alternate_at_random_and_repeat_by_seed():
    first, second = ([chosen(rules(), NO_ERRORS) for _ in range(5)] for _ in range(2))
    assert first == second
    letters = "".join(chosen(MtrouterRules("s", "v", ("a", "b"), expected_turns=lambda _: 99.0, seed=s), NO_ERRORS)
                      for s in range(20))  # fmt: skip
    assert {"a", "b"} <= set(letters)


def evaluate(table: Table) -> float:
    return mean_score(run(HandTable(table, "cheap"), 60))


def test_the_best_table_is_found_by_playing():
    assert fit_table(MODELS, TOOL_TYPES, evaluate) == RIGHT


def test_no_table_is_evaluated_twice():
    asked: list[tuple[str, ...]] = []

    def value(table: Table) -> float:
        asked.append(tuple(table.values()))
        return evaluate(table)

    fit_table(MODELS, TOOL_TYPES, value)
    assert len(asked) == len(set(asked))


def test_a_tool_without_a_row_gets_the_default():
    assert HandTable({"search": "searcher"}, "cheap").choose(view(0, "write")) == "cheap"


def test_an_oracle_is_told_the_phase_of_each_turn():
    environment = by_name("babyai-small")
    (task,) = environment.tasks(1, seed=TUNING_SEEDS[0])
    oracle = PhaseOracle(dict.fromkeys(environment.phases, environment.strongest))
    told = environment.play(task, oracle, reveal=oracle.reveal)
    assert told == environment.play(task, NeverSwitch(environment.strongest))
