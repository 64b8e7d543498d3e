"""Keyword arguments become the contract's messages, field by field."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.errors import InvalidRequest
from sojourn.messages import decide_request, outcome_request, turn_facts, turn_request
from sojourn.v1 import router_pb2, types_pb2

KEY: dict[str, Any] = {"policy": "default", "episode_id": "e", "turn_index": 3}


def test_every_input_reaches_its_field():
    request = decide_request(
        {
            "tool_name": "grep",
            "tool_type": "search",
            "phase": "explore",
            "language": "python",
            "error_count": 0,
            "last_error": "LOW",
            "prompt_tokens": 100,
            "expected_output_tokens": 10,
            "features": {"depth": 2.0},
            "categories": {"repo": "a"},
            "candidates": ["small", types_pb2.Candidate(model="big", features={"queue": 1.0})],
            "allow": ["small"],
            "deny": ["big"],
            "must_stay_because": "open tool call",
            "required_capabilities": ["vision"],
            "remaining_budget_usd": 0.0,
            "cost_weight": 0.0,
        },
        **KEY,
    )
    assert request == router_pb2.DecideRequest(
        policy="default",
        episode_id="e",
        turn_index=3,
        context=types_pb2.Context(
            tool_name="grep",
            tool_type="search",
            phase="explore",
            language="python",
            error_count=0,
            last_error=types_pb2.SEVERITY_LOW,
            prompt_tokens=100,
            expected_output_tokens=10,
            features={"depth": 2.0},
            categories={"repo": "a"},
        ),
        candidates=[types_pb2.Candidate(model="small"), types_pb2.Candidate(model="big", features={"queue": 1.0})],
        constraints=types_pb2.Constraints(
            allow=["small"],
            deny=["big"],
            must_stay_because="open tool call",
            required_capabilities=["vision"],
            remaining_budget_usd=0.0,
        ),
        cost_weight=0.0,
    )


def test_none_means_absent_and_zero_does_not():
    absent = decide_request({"prompt_tokens": None, "cost_weight": None}, **KEY)
    zero = decide_request({"prompt_tokens": 0, "cost_weight": 0.0, "remaining_budget_usd": 0.0}, **KEY)
    assert (absent.HasField("constraints"), zero.HasField("constraints")) == (False, True)
    assert not absent.context.HasField("prompt_tokens")
    assert not absent.HasField("cost_weight")
    assert zero.context.HasField("prompt_tokens")
    assert zero.HasField("cost_weight")


def test_facts_carry_usage_only_if_some_was_given():
    assert turn_facts({"error": "HIGH", "error_code": "E1"}) == types_pb2.TurnFacts(
        error=types_pb2.SEVERITY_HIGH, error_code="E1"
    )
    assert turn_facts({"output_tokens": 0}).usage.HasField("output_tokens")


def test_an_outcome_by_score_alone_has_no_status():
    request = outcome_request(None, {"score": 0.0, "metrics": {"tests": 3.0}}, episode_id="e")
    assert request == router_pb2.ReportOutcomeRequest(episode_id="e", score=0.0, metrics={"tests": 3.0})


def test_a_turn_is_named_by_its_decision_or_by_its_key():
    by_decision = turn_request({}, policy="p", decision_id="d", episode_id=None, turn_index=None)
    by_key = turn_request({}, policy="p", decision_id=None, episode_id="e", turn_index=0)
    assert (by_decision.decision_id, by_decision.policy) == ("d", "")
    assert (by_key.policy, by_key.episode_id, by_key.HasField("turn_index")) == ("p", "e", True)


@pytest.mark.parametrize(
    ("decision_id", "episode_id", "turn_index"), [(None, None, None), (None, "e", None), ("d", "e", 0)]
)
def test_a_turn_named_by_neither_or_both_is_refused(
    decision_id: str | None, episode_id: str | None, turn_index: int | None
):
    with pytest.raises(ValueError, match="name the turn"):
        turn_request({}, policy="p", decision_id=decision_id, episode_id=episode_id, turn_index=turn_index)


def test_a_misspelt_argument_is_a_type_error_that_names_it():
    with pytest.raises(TypeError, match="tool_nmae"):
        decide_request({"tool_nmae": "grep"}, **KEY)
    with pytest.raises(TypeError, match="served"):
        turn_facts({"served": "small"})


def test_an_unknown_severity_is_a_value_error():
    with pytest.raises(ValueError, match="FATAL"):
        turn_facts({"error": "FATAL"})


def test_a_message_above_the_limit_is_refused_before_it_is_sent():
    with pytest.raises(InvalidRequest, match="65536 are allowed"):
        turn_facts({"error_code": "x" * 65536})
    with pytest.raises(InvalidRequest, match="65536 are allowed"):
        outcome_request("FAILED", {"metrics": {f"{i:0128}": 1.0 for i in range(500)}}, episode_id="e")
