"""On an empty journal the policy is the heuristic, give or take exploration."""

from __future__ import annotations

import pytest

from benchmarks.prior_agreement import agreement


@pytest.mark.parametrize("cost_weight", [None, 0.0])
def test_an_untaught_policy_agrees_with_the_table_on_95_of_100_first_turns(cost_weight: float | None):
    found = agreement(cost_weight, turns=300)
    assert found.argmax >= 0.95
    assert found.sampled < found.argmax, "exploration must be seen"
