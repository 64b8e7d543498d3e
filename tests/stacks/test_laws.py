"""What holds for every stack, with its real package and fake models, read back from the journal of a real router.

A stack whose package is not installed is skipped; `python -m tests.stacks` installs each, oldest and newest.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Protocol

import grpc
import pytest

import sojourn
from sojourn.v1 import admin_pb2, admin_pb2_grpc, journal_pb2, types_pb2
from sojourn_server.config import ModeName
from sojourn_server.learner.credit import played_turns
from tests.stacks.agents_under_test import STACKS, Agent, agent_class
from tests.stacks.fake_models import (
    CACHED_TOKENS,
    COST_USD,
    INPUT_TOKENS,
    MEDIUM,
    NAMES,
    OUTPUT_TOKENS,
    OWN,
    SECRET,
    SMALL,
    TOOL,
    Models,
)

PATIENT_MS = 5_000  # a loaded machine must not turn these into tests of the fallback

pytestmark = [
    pytest.mark.parametrize("stack", STACKS),
    pytest.mark.filterwarnings("default"),  # the stacks' own
    pytest.mark.timeout(300),  # the first test of a stack imports it, which takes long on a cold disk
]


class Server(Protocol):
    """The running router that `conftest.py` offers."""

    address: str


@pytest.fixture
def mode() -> ModeName:
    """The table decides, so that searches go to the small model in every run."""
    return "HEURISTIC"


@asynccontextmanager
async def agent(stack: str, address: str, fallback: dict[str, str] | None = None) -> AsyncIterator[Agent]:
    """An agent of the stack with a client of its own; skips where the package is missing."""
    try:
        kind = agent_class(stack)
    except ImportError as error:
        pytest.skip(f"SKIPPED: {stack} is not installed ({error}); run python -m tests.stacks")
    table = sojourn.FallbackTable(fallback or {})
    client = sojourn.Client(address, decide_deadline_ms=PATIENT_MS, fallback=table)
    made = kind(client, Models())
    try:
        yield made
    finally:
        await made.close()
        with contextlib.suppress(sojourn.DroppedReports):  # where the router is away
            client.close(timeout_s=0.2)


def play(stack: str, address: str, act: Callable[[Agent], Awaitable[None]], **options: dict[str, str]) -> list[str]:
    """Has an agent do something; the models that it called."""

    async def scenario() -> list[str]:
        async with agent(stack, address, **options) as made:
            await act(made)
            return made.models.called

    return asyncio.run(scenario())


def records(server: Server, episode_id: str) -> list[journal_pb2.JournalRecord]:
    """What the router has written down about an episode, in order."""
    with grpc.insecure_channel(server.address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        return list(stub.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id=episode_id)).records)


def decisions(server: Server, episode_id: str) -> list[journal_pb2.DecisionRecord]:
    """The decisions of an episode."""
    return [record.decision for record in records(server, episode_id) if record.HasField("decision")]


def models_of(server: Server, episode_id: str) -> list[str]:
    """The models that the router chose, attempt for attempt."""
    return [decision.answer.model for decision in decisions(server, episode_id)]


def last_facts(server: Server, episode_id: str) -> types_pb2.TurnFacts:
    """The facts of the last turn, which ride on the outcome."""
    (facts,) = [r.outcome.request.last_turn for r in records(server, episode_id) if r.HasField("outcome")]
    return facts


async def do_and_end(made: Agent) -> None:
    """One task, and its outcome."""
    await made.run("e")
    receipt = await made.end("e", 0.75)
    assert receipt == sojourn.Acknowledgement("RECORDED", 2)


def assert_usage(facts: types_pb2.TurnFacts) -> None:
    """The usage of one call of a fake, split as the router counts."""
    usage = facts.usage
    assert (usage.input_tokens, usage.cached_read_tokens) == (INPUT_TOKENS - CACHED_TOKENS, CACHED_TOKENS)
    assert usage.output_tokens == OUTPUT_TOKENS
    assert facts.error == types_pb2.SEVERITY_NONE
    assert facts.HasField("latency_ms")


def test_the_model_that_the_router_chooses_is_the_one_that_is_called(stack: str, server: Server):
    called = play(stack, server.address, do_and_end)
    assert called == models_of(server, "e")
    assert called[1] == SMALL  # the table's for searches; the first is another, so a switch was followed
    assert called[0] != SMALL
    for decision in decisions(server, "e"):
        assert set(decision.request.constraints.allow) == set(NAMES)


def test_a_turns_tool_is_recognised_and_the_first_turn_has_none(stack: str, server: Server):
    play(stack, server.address, do_and_end)
    assert [decision.request.context.tool_name for decision in decisions(server, "e")] == ["", TOOL]
    assert [decision.answer.phase for decision in decisions(server, "e")][1] == "search"


def test_usage_and_latency_flow_back_turn_by_turn(stack: str, server: Server):
    play(stack, server.address, do_and_end)
    told = decisions(server, "e")[1].request.previous_turn
    alone = [r.turn.request.facts for r in records(server, "e") if r.HasField("turn")]  # where facts came late
    assert_usage(alone[0] if alone else told)
    assert_usage(last_facts(server, "e"))


def test_cost_flows_back_where_the_stack_knows_it(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await do_and_end(made)
        costs.append(made.tells_cost)

    costs: list[bool] = []
    play(stack, server.address, act)
    facts = last_facts(server, "e")
    assert facts.HasField("cost_usd") == costs[0]
    if costs[0]:
        assert facts.cost_usd == pytest.approx(COST_USD)


def test_the_outcome_joins_the_decisions(stack: str, server: Server):
    play(stack, server.address, do_and_end)
    (outcome,) = [record.outcome for record in records(server, "e") if record.HasField("outcome")]
    assert outcome.request.score == 0.75


def test_nothing_that_a_prompt_a_tool_or_an_answer_says_reaches_the_router(stack: str, server: Server):
    play(stack, server.address, do_and_end)
    assert len(records(server, "e")) >= 3
    assert all(SECRET.encode() not in record.SerializeToString() for record in records(server, "e"))


def test_another_conversation_is_another_episode(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await asyncio.gather(made.run("e"), made.run("f"))

    called = play(stack, server.address, act)
    assert sorted(called) == sorted(models_of(server, "e") + models_of(server, "f"))
    assert len(models_of(server, "e")) == len(models_of(server, "f")) == 2


def test_a_conversation_that_goes_on_after_its_outcome_begins_another_episode(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await do_and_end(made)
        await made.run("e")
        receipt = await made.end("e", 0.5)
        assert receipt == sojourn.Acknowledgement("RECORDED", 2)

    called = play(stack, server.address, act)
    assert len(called) == 4
    assert called[:2] == models_of(server, "e")


def test_a_call_that_is_tried_again_is_served_by_another_model(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await made.run("probe")
        made.models.out_of_order = {made.models.called[0]}
        made.models.called.clear()
        await made.run("e", retries=1)
        await made.end("e", 1)

    called = play(stack, server.address, act)
    chosen = decisions(server, "e")
    assert called == [decision.answer.model for decision in chosen]
    assert [(d.request.turn_index, d.request.attempt) for d in chosen] == [(0, 0), (0, 1), (1, 0)]
    assert called[0] != called[1]


def test_a_call_that_nobody_tries_again_is_an_error_of_its_turn(stack: str, server: Server):
    async def act(made: Agent) -> None:
        made.models.out_of_order = set(NAMES)
        with pytest.raises(Exception, match="out of order"):
            await made.run("e")
        await made.end("e", 0)

    play(stack, server.address, act)
    facts = last_facts(server, "e")
    assert facts.error == types_pb2.SEVERITY_HIGH
    assert facts.error_code


def test_a_tool_that_failed_is_an_error_of_the_turn_that_called_it(stack: str, server: Server):
    async def act(made: Agent) -> None:
        made.tool_fails = True
        if not made.tells_tool_errors:
            pytest.skip(f"{stack} does not say that a tool failed")
        await made.run("e")
        await made.end("e", 1)

    play(stack, server.address, act)
    assert decisions(server, "e")[1].request.previous_turn.error == types_pb2.SEVERITY_MEDIUM


def test_streaming_is_routed_and_reported_too(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await made.run_streamed("e")
        assert await made.end("e", 1) == sojourn.Acknowledgement("RECORDED", 2)

    called = play(stack, server.address, act)
    assert called == models_of(server, "e")
    facts = last_facts(server, "e")
    assert min(facts.usage.input_tokens, facts.usage.output_tokens) > 0  # some fakes count a stream by themselves
    assert facts.error == types_pb2.SEVERITY_NONE


def test_without_an_event_loop_all_is_the_same(stack: str, server: Server):
    async def act(made: Agent) -> None:
        if not made.is_sync:
            pytest.skip(f"{stack} has asynchronous hooks only")
        await asyncio.to_thread(made.run_sync, "e")
        assert await made.end("e", 1) == sojourn.Acknowledgement("RECORDED", 2)

    assert play(stack, server.address, act) == models_of(server, "e")


@pytest.mark.parametrize("mode", ["SHADOW"])
def test_in_shadow_the_stacks_own_model_serves_and_is_told_as_what_served(stack: str, server: Server):
    episodes = [f"e{number}" for number in range(8)]  # LiteLLM draws its own choice from the group

    async def act(made: Agent) -> None:
        for episode_id in episodes:
            await made.run(episode_id)
            assert await made.end(episode_id, 1) == sojourn.Acknowledgement("RECORDED", 2)

    called = play(stack, server.address, act)
    turns = [turn for episode_id in episodes for turn in played_turns(records(server, episode_id))]
    assert called != [turn.decision.answer.model for turn in turns]
    assert set(called) <= {OWN, *NAMES}
    assert [turn.facts and turn.served for turn in turns] == called


def test_without_a_router_the_fallback_table_serves(stack: str, unused_port: int):
    async def act(made: Agent) -> None:
        await made.run("e")

    assert play(stack, f"127.0.0.1:{unused_port}", act, fallback={"*": MEDIUM}) == [MEDIUM, MEDIUM]


def test_without_a_router_or_a_table_the_stacks_own_model_serves(stack: str, unused_port: int):
    async def act(made: Agent) -> None:
        await made.run("e")

    called = play(stack, f"127.0.0.1:{unused_port}", act)
    assert len(called) == 2
    assert set(called) <= {OWN, *NAMES}  # LiteLLM's own choice is one of the group


def test_an_episode_that_the_router_refuses_leaves_the_stack_alone(stack: str, server: Server):
    async def act(made: Agent) -> None:
        await made.run("e" * 129)  # longer than an id may be

    assert len(play(stack, server.address, act)) == 2
