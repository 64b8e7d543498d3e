"""What the client chooses by itself."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sojourn.fallback import FallbackTable, choose
from sojourn.messages import decide_request
from sojourn.v1 import router_pb2

TABLE = FallbackTable({"search": "small", "*": "big"})


def request(tool_type: str = "search", /, **limits: Sequence[str]) -> router_pb2.DecideRequest:
    return decide_request({"tool_type": tool_type, **limits}, policy="default", episode_id="e")


def chosen(asked: router_pb2.DecideRequest, *, incumbent: str | None = None, failed: Sequence[str] = ()) -> str | None:
    return choose(asked, incumbent=incumbent, table=TABLE, failed_models=failed)


def test_the_incumbent_goes_before_the_table():
    assert chosen(request(), incumbent="mid") == "mid"


@pytest.mark.parametrize(("tool_type", "model"), [("search", "small"), ("code", "big"), ("", "big")])
def test_without_an_incumbent_the_table_answers_by_tool_type_then_for_any(tool_type: str, model: str):
    assert chosen(request(tool_type)) == model


@pytest.mark.parametrize("limits", [{"deny": ["mid"]}, {"allow": ["small", "big"]}, {"candidates": ["small", "big"]}])
def test_what_the_caller_forbade_stays_forbidden(limits: dict[str, Sequence[str]]):
    assert chosen(request(**limits), incumbent="mid") == "small"


def test_a_model_that_just_failed_is_not_tried_again():
    assert chosen(request(), incumbent="mid", failed=["mid", "small"]) == "big"


def test_nothing_is_chosen_when_nothing_may_serve():
    assert chosen(request(deny=["small", "big"])) is None
    assert choose(request(), incumbent=None, table=FallbackTable({}), failed_models=()) is None
