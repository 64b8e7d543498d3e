"""The service behaves as the reference model says, whatever comes in which order."""

from __future__ import annotations

import pytest
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from tests.torture.machine import Service


@pytest.mark.timeout(300)
def test_whatever_comes_in_which_order_the_answers_are_the_models_and_the_fold_is_the_policy():
    """40 random runs of up to 50 steps each, with restarts, expiry, price changes and models that come and go."""
    run_state_machine_as_test(Service, settings=settings(max_examples=40, stateful_step_count=50))
