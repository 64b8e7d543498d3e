"""Contestants on recorded outcomes: each learns what the made-up table holds, and an import is learned beforehand."""

from __future__ import annotations

from collections import Counter
from statistics import fmean

import pytest

from benchmarks.arena.recorded.contestants import ALIASES, Case, make
from benchmarks.arena.recorded.product import STAYS_BECAUSE, RecordedSojourn, settings, trajectory
from benchmarks.arena.recorded.tables import Table
from sojourn.v1 import types_pb2
from tests.arena.recorded_tables import TURNS, table

RIGHT = {"math": "dear", "prose": "cheap"}
LEARNERS = ("linucb", "thompson", "knn", "paretobandit", "sojourn-cold", "sojourn-warm")


def chosen(name: str, case: Case, start: int = 0) -> list[str]:
    contestant = make(name, case)
    models = []
    for item in case.table.items[start:]:
        models.append(contestant.choose(item))
        contestant.learn(item, models[-1], item.outcomes[models[-1]])
    return models


def rightly(made: Table, models: list[str]) -> float:
    items = made.items[-len(models) :]
    return fmean(model == RIGHT[item.context.tool_type] for item, model in zip(items, models, strict=True))


@pytest.mark.parametrize("name", LEARNERS)
def test_it_learns_the_right_model_for_each_kind(name: str):
    made = table(300, turns=1)
    models = chosen(name, Case(made, 0.0, seed=1))
    assert rightly(made, models[-100:]) >= 0.75


@pytest.mark.parametrize("name", LEARNERS)
def test_when_money_weighs_it_turns_to_the_cheap_model(name: str):
    made = table(300, turns=1)
    models = chosen(name, Case(made, 200.0, seed=1))  # the dear one is worth .9 - 2 at best
    assert models[-100:].count("cheap") >= 75


@pytest.mark.parametrize("name", LEARNERS)
def test_a_run_repeats_itself(name: str):
    case = Case(table(30, turns=1), 1.0, seed=3)
    assert chosen(name, case) == chosen(name, case)


@pytest.mark.parametrize("name", ["sojourn-cold", "thompson", "knn", "paretobandit"])
def test_what_is_imported_is_known_at_the_first_choice(name: str):
    made = table(240, turns=2)
    bare = chosen(name, Case(made, 0.0, seed=5), start=200)
    taught = chosen(name, Case(made, 0.0, seed=5, imported=made.items[:200]), start=200)
    assert rightly(made, taught) >= 0.85
    assert rightly(made, taught) > rightly(made, bare)


def test_the_best_single_model_is_that_of_the_import():
    made = table(20, score=lambda model, kind: 1.0 if (model == "dear") == (kind == "math") else 0.5)
    maths = [item for item in made.items if item.context.tool_type == "math"]
    assert set(chosen("best-single", Case(made, 0.0, seed=1, imported=maths))) == {"dear"}
    assert set(chosen("best-single", Case(made, 100.0, seed=1, imported=maths))) == {"cheap"}


def test_those_who_know_choose_what_is_best():
    made = table(20)
    case = Case(made, 0.0, seed=1)
    assert rightly(made, chosen("oracle", case)) == rightly(made, chosen("kind-oracle", case)) == 1.0
    assert rightly(made, chosen("heuristic", case)) == 1.0, "the made-up table names the right classes"
    assert set(chosen("never-switch:dear", case)) == {"dear"}


def test_a_placebo_has_the_shares_that_it_is_given():
    models = chosen("random-matched", Case(table(400), 0.0, seed=1, shares={"cheap": 0.9, "dear": 0.1}))
    assert Counter(models)["cheap"] / 400 == pytest.approx(0.9, abs=0.05)


def test_nobody_has_an_unknown_name():
    with pytest.raises(KeyError):
        make("nobody", Case(table(2), 0.0, seed=1))


@pytest.mark.parametrize("alias", ALIASES)
def test_settings_behind_a_name_reach_the_policy(alias: str):
    contestant = make(alias, Case(table(2), 50.0, seed=1))
    assert isinstance(contestant, RecordedSojourn)
    given = contestant.sojourn.fold.state.settings
    expected = (0.02, 50.0, 0) if alias == "sojourn-cold-sharp" else (0.085, 1.0, 250)
    assert (given.choice.prior_width, given.choice.cost_weight, given.lesson.prior.events) == expected


def test_the_product_plays_all_turns_and_stays():
    made = table(3)
    contestant = RecordedSojourn(made, settings(made, cost_weight=0.5), cost_weight=2.0, seed=1)
    item = made.items[0]
    model = contestant.choose(item)
    contestant.learn(item, model, item.outcomes[model])
    records = contestant.sojourn.journal.episode("default", item.name)
    decisions = [record.decision for record in records if record.HasField("decision")]
    assert [d.answer.model for d in decisions] == [model] * TURNS
    assert [d.request.constraints.must_stay_because for d in decisions] == ["", *[STAYS_BECAUSE] * (TURNS - 1)]
    assert {d.inputs.cost_weight for d in decisions} == {2.0}
    assert contestant.sojourn.fold.counts.joins["learned"] == 1
    assert contestant.sojourn.fold.counts.decisions == 1, "only the choice is learned"


def test_an_import_is_learned_in_full_and_claims_no_choice():
    made = table(4)
    contestant = RecordedSojourn(made, settings(made, cost_weight=0.0), cost_weight=0.0, seed=1, imported=made.items)
    assert contestant.sojourn.fold.counts.joins["learned"] == 8
    name = trajectory(made.items[0], "dear", made.items[0].outcomes["dear"]).outcome.episode_id
    first = contestant.sojourn.journal.episode("default", name)[0].decision
    assert (first.answer.model, first.answer.propensity, first.answer.mode) == ("", 0.0, types_pb2.MODE_SHADOW)
