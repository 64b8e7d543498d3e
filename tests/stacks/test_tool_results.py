"""The tool that a turn works on is read off a conversation in each of the shapes that providers speak."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.integrations.tool_results import ToolResult, count_answers, last_tool_result

USER = {"role": "user", "content": "find it"}
DONE = {"role": "assistant", "content": "found"}
CHAT = [
    USER,
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [{"id": "1", "function": {"name": "grep"}}, {"id": "2", "function": {"name": "read_file"}}],
    },
    {"role": "tool", "tool_call_id": "1", "content": "x"},
    {"role": "tool", "tool_call_id": "2", "content": "x"},
]
ITEMS = [
    USER,
    {"type": "reasoning", "id": "r"},
    {"type": "function_call", "call_id": "1", "id": "fc", "name": "read_file"},
    {"type": "function_call_output", "call_id": "1", "output": "x"},
]
BLOCKS = [
    USER,
    {
        "role": "assistant",
        "content": [{"type": "text", "text": "x"}, {"type": "tool_use", "id": "1", "name": "read_file"}],
    },
    {
        "role": "user",
        "content": [{"type": "tool_result", "tool_use_id": "1", "content": [{"type": "text", "text": "x"}]}],
    },
]
SHAPES = pytest.mark.parametrize("conversation", [CHAT, ITEMS, BLOCKS], ids=["chat", "responses", "anthropic"])


@SHAPES
def test_the_newest_result_names_its_tool(conversation: list[Any]):
    assert last_tool_result(conversation) == ToolResult("read_file")


@SHAPES
def test_a_note_of_the_users_after_a_result_changes_nothing(conversation: list[Any]):
    assert last_tool_result([*conversation, {"role": "user", "content": "a reminder"}]) == ToolResult("read_file")


@SHAPES
def test_a_result_that_the_model_has_answered_is_no_longer_worked_on(conversation: list[Any]):
    assert last_tool_result([*conversation, DONE, USER]) is None


@pytest.mark.parametrize("conversation", [[], [USER], [{"role": "system", "content": "x"}, USER], ["text"]])
def test_a_conversation_without_a_tool_has_none(conversation: list[Any]):
    assert last_tool_result(conversation) is None


def test_a_result_whose_call_is_not_there_goes_by_its_own_name_or_none():
    orphan = {"role": "tool", "tool_call_id": "9", "content": "x"}
    assert last_tool_result([USER, orphan]) is None
    assert last_tool_result([USER, orphan | {"name": "grep"}]) == ToolResult("grep")


def test_a_failed_result_is_told_from_a_good_one_where_the_shape_says_so():
    failed = {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "1", "is_error": True}]}
    assert last_tool_result([*BLOCKS[:2], failed]) == ToolResult("read_file", failed=True)


@SHAPES
def test_an_answer_counts_once_however_many_items_it_has(conversation: list[Any]):
    assert count_answers([USER]) == 0
    assert count_answers(conversation) == 1
    assert count_answers([*conversation, DONE]) == 2
