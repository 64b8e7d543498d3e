"""ParetoBandit's prompts as tables: whole, priced as the wheel prices them, and with the features that are named."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("pareto_bandit", reason="the arena's dependencies are not installed")

from benchmarks.arena.recorded.prompts import CLUSTERS, LSA_DIMENSIONS, Features, prompt_table
from benchmarks.arena.recorded.tables import best_single

LLAMA, MISTRAL, GEMINI = "meta-llama/llama-3.1-8b-instruct", "mistralai/mistral-large-2512", "google/gemini-2.5-pro"


def test_all_prompts_are_there_and_the_best_single_model_changes_with_the_cost_weight():
    made = prompt_table("kind")
    assert len(made.items) == 3_609
    best = [made.model_names[best_single(made.utilities(weight))] for weight in (0.0, 50.0, 500.0)]
    assert best == [GEMINI, MISTRAL, LLAMA]
    assert [model.model_class for model in made.models] == ["small", "medium", "large"]


def test_tokens_come_to_the_price_that_was_paid():
    made = prompt_table("kind")
    for item in made.items[:50]:
        for model in made.models:
            facts = item.outcomes[model.name].turns[0].facts
            input_usd = facts.usage.input_tokens * model.input_usd_per_mtok
            usd = (input_usd + facts.usage.output_tokens * model.output_usd_per_mtok) / 1e6
            assert usd == pytest.approx(facts.cost_usd, abs=model.output_usd_per_mtok / 1e6)


@pytest.mark.parametrize(
    ("features", "kinds", "numbers"),
    [("kind", 9, 0), ("numbers", 1, LSA_DIMENSIONS + 4), ("kind+numbers", 9, LSA_DIMENSIONS + 4),
     ("clusters+numbers", CLUSTERS, LSA_DIMENSIONS + 4)],
)  # fmt: skip
def test_features_are_those_that_are_named(features: Features, kinds: int, numbers: int):
    made = prompt_table(features)
    assert (len(made.kinds), len(made.numbers)) == (kinds, numbers)
    if numbers:
        values = np.array([[item.context.features[name] for name in made.numbers] for item in made.items])
        assert np.allclose(values.mean(axis=0), 0.0)
        assert np.allclose(values.std(axis=0), values.std())
