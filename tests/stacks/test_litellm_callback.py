"""What LiteLLM's callback does that no agent's loop shows for sure: events that come in another order."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

import sojourn
from sojourn_server.app import App
from tests.stacks.fake_models import NAMES
from tests.stacks.test_laws import PATIENT_MS, decisions

pytestmark = pytest.mark.filterwarnings("default")
DEPLOYMENTS = [{"litellm_params": {"model": f"openai/{name}"}} for name in NAMES]


@pytest.fixture
def kind() -> Any:
    """The callback's class; skips where LiteLLM is not installed."""
    return pytest.importorskip(
        "sojourn.integrations.litellm", reason="SKIPPED: litellm is not installed"
    ).SojournCallback


def test_a_retry_that_overtakes_the_news_of_its_failure_is_an_attempt_at_the_same_turn(kind: Any, server: App):
    with sojourn.Client(server.address, decide_deadline_ms=PATIENT_MS) as client:
        callback = kind(client, group="agent")

        def left(**metadata: Any) -> list[Any]:
            request = {"metadata": {"session_id": "e", **metadata}}
            return asyncio.run(
                callback.async_filter_deployments(
                    model="agent", healthy_deployments=DEPLOYMENTS, messages=[], request_kwargs=request
                )
            )

        first, second = left(), left(previous_models=[{}])
    assert [(d.request.turn_index, d.request.attempt) for d in decisions(server, "e")] == [(0, 0), (0, 1)]
    assert len(first) == len(second) == 1
    assert first != second


def test_other_groups_and_calls_without_a_session_are_left_alone(kind: Any, server: App):
    with sojourn.Client(server.address) as client:
        callback = kind(client, group="agent")
        for group, metadata in (("other", {"session_id": "e"}), ("agent", {})):
            left = asyncio.run(
                callback.async_filter_deployments(
                    model=group, healthy_deployments=DEPLOYMENTS, messages=[], request_kwargs={"metadata": metadata}
                )
            )
            assert left == DEPLOYMENTS
        assert client.counters.decisions == 0
