"""Conversations become episodes, against a real router, with no stack at all."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import sojourn
from sojourn.integrations.conversations import Conversations
from sojourn.integrations.tool_results import ToolResult
from sojourn.v1 import types_pb2
from sojourn_server.app import App
from tests.stacks.test_laws import decisions, last_facts, records

PATIENT_MS = 5_000


@pytest.fixture
def client(server: App) -> Iterator[sojourn.Client]:
    with sojourn.Client(server.address, decide_deadline_ms=PATIENT_MS) as client:
        yield client


def test_facts_that_come_after_the_next_call_are_told_of_their_own_turn(client: sojourn.Client, server: App):
    conversations = Conversations(client)
    first, second = conversations.choose("c"), conversations.choose("c")
    conversations.report(first, output_tokens=1)
    conversations.report(second, output_tokens=2)
    conversations.end("c", "SUCCEEDED", wait=True)
    (late,) = [record.turn.request for record in records(server, "c") if record.HasField("turn")]
    assert (late.turn_index, late.facts.usage.output_tokens) == (0, 1)
    assert last_facts(server, "c").usage.output_tokens == 2


def test_has_told_waits_for_the_newest_call(client: sojourn.Client):
    conversations = Conversations(client)
    assert conversations.has_told("c")
    call = conversations.choose("c")
    assert not conversations.has_told("c")
    conversations.report(call, output_tokens=1)
    assert conversations.has_told("c")


def test_a_served_call_is_never_tried_again_whatever_the_stack_says(client: sojourn.Client, server: App):
    conversations = Conversations(client)
    conversations.report(conversations.choose("c"), error="NONE")
    conversations.choose("c", again=True)
    assert [decision.request.turn_index for decision in decisions(server, "c")] == [0, 1]


def test_a_failure_that_comes_after_its_retry_changes_nothing(client: sojourn.Client, server: App):
    conversations = Conversations(client)
    first = conversations.choose("c")
    second = conversations.choose("c", again=True)
    conversations.could_not_serve(first, TimeoutError())
    conversations.report(second, error="NONE")
    conversations.end("c", "SUCCEEDED", wait=True)
    assert [(d.request.turn_index, d.request.attempt) for d in decisions(server, "c")] == [(0, 0), (0, 1)]
    assert last_facts(server, "c").error == types_pb2.SEVERITY_NONE


@pytest.mark.parametrize("mode", ["SHADOW"])
def test_in_shadow_a_call_that_is_tried_again_keeps_its_decision(client: sojourn.Client, server: App):
    conversations = Conversations(client)
    call = conversations.choose("c", own="mine")
    conversations.could_not_serve(call, TimeoutError())
    assert conversations.choose("c", own="mine") == call
    conversations.report(call, error="NONE")
    conversations.end("c", "SUCCEEDED", wait=True)
    facts = last_facts(server, "c")
    assert (facts.served_model, facts.error, facts.error_code) == ("mine", types_pb2.SEVERITY_NONE, "")
    assert len(decisions(server, "c")) == 1


@pytest.mark.parametrize("mode", ["SHADOW"])
def test_in_shadow_a_failure_is_told_of_the_stacks_own_model(client: sojourn.Client, server: App):
    conversations = Conversations(client)
    conversations.could_not_serve(conversations.choose("c"), TimeoutError())
    conversations.end("c", "FAILED", wait=True)
    facts = last_facts(server, "c")
    assert (facts.served_model, facts.error_code) == ("own", "TimeoutError")


def test_a_conversation_that_began_in_another_process_goes_on_where_it_was(client: sojourn.Client, server: App):
    Conversations(client).choose("c")
    assert Conversations(client).choose("c", answers_before=1) is not None
    assert [decision.request.turn_index for decision in decisions(server, "c")] == [0, 1]


def test_a_conversation_of_another_process_can_be_ended(client: sojourn.Client):
    Conversations(client).choose("c")
    assert Conversations(client).end("c", score=0.5, wait=True) == sojourn.Acknowledgement("RECORDED", 1)


def test_a_conversation_that_ended_in_another_process_begins_another_episode(client: sojourn.Client, server: App):
    Conversations(client).choose("c")
    Conversations(client).end("c", score=0.5, wait=True)
    call = Conversations(client).choose("c", answers_before=1)
    assert call is not None
    assert call.episode_id.startswith("c/")
    assert len(decisions(server, call.episode_id)) == 1


def test_the_conversation_that_was_quiet_for_longest_is_forgotten_and_left_open(client: sojourn.Client, server: App):
    conversations = Conversations(client, most=2)
    conversations.report(conversations.choose("a"), output_tokens=1)
    conversations.choose("b")
    conversations.choose("c")
    assert client.flush()
    assert [r.turn.request.facts.usage.output_tokens for r in records(server, "a") if r.HasField("turn")] == [1]
    assert conversations.end("a", "SUCCEEDED", wait=True) == sojourn.Acknowledgement("RECORDED", 1)


def test_a_tools_name_is_cut_to_what_the_router_takes(client: sojourn.Client, server: App):
    Conversations(client).choose("c", ToolResult("ö" * 100))
    assert decisions(server, "c")[0].request.context.tool_name == "ö" * 64


def test_what_cannot_be_reported_does_not_raise(server: App):
    client = sojourn.Client(server.address, decide_deadline_ms=PATIENT_MS)
    conversations = Conversations(client)
    first = conversations.choose("c")
    conversations.choose("c")
    client.close()
    conversations.report(first, output_tokens=1)
    assert conversations.choose("c") is not None  # the incumbent
