"""A router that goes away and comes back: the agent goes on, and the router hears everything afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import sojourn
from sojourn.v1 import types_pb2
from tests.client.cable import Cable
from tests.client.surfaces import done, either, entered
from tests.client.test_with_router import PATIENT_MS, Server, outcome, records, requests

TABLE = sojourn.FallbackTable({"*": "gpt-5"})


@pytest.fixture
def cable(server: Server) -> Iterator[Cable]:
    cable = Cable(server.address)
    yield cable
    cable.cut()


def on_line(kind: type, cable: Cable) -> Any:
    return kind(cable.address, fallback=TABLE, decide_deadline_ms=PATIENT_MS)


async def is_back(client: Any) -> bool:
    """Ask on another episode until the router answers: a channel's state lags behind the line's."""
    for _ in range(500):
        if (await done(client.episode("another").decide())).fallback is None:
            return True
        await asyncio.sleep(0.02)
    return False


@either
def test_an_outage_costs_no_turn_and_the_router_is_told_who_decided(kind: type, server: Server, cable: Cable):
    async def scenario() -> list[sojourn.Decision]:
        async with entered(on_line(kind, cable)) as client, entered(client.episode("e")) as episode:
            decisions = [await done(episode.decide(tool_type="search"))]
            episode.report(output_tokens=7)
            cable.cut()
            decisions.append(await done(episode.decide(tool_type="search")))
            decisions.append(await done(episode.decide(tool_type="search")))
            cable.mend()
            assert await is_back(client)
            decisions.append(await done(episode.decide(tool_type="search")))
            await done(episode.succeed())
            assert await done(client.flush(timeout_s=20))
            return decisions

    first, second, third, last = asyncio.run(scenario())
    assert first.fallback is None
    assert (second.model, second.fallback) == (first.model, "UNAVAILABLE")
    assert (third.model, third.fallback) == (first.model, "UNAVAILABLE")
    assert (last.turn_index, last.fallback, last.incumbent) == (3, None, first.model)
    assert [request.turn_index for request in requests(server, "e")] == [0, 3]
    assert requests(server, "e")[1].previous_turn == types_pb2.TurnFacts(
        served_model=first.model, decided_by_client=True
    )
    turns = [record.turn.request for record in records(server, "e") if record.HasField("turn")]
    assert [(turn.turn_index, turn.facts.decided_by_client) for turn in turns] == [(0, False), (1, True)]
    assert turns[0].facts.usage.output_tokens == 7


@either
def test_a_last_turn_that_the_client_decided_is_told_as_itself(kind: type, server: Server, cable: Cable):
    """Riding on the outcome it would count to the newest turn that the router decided, with its model and errors."""

    async def scenario() -> sojourn.Decision:
        async with entered(on_line(kind, cable)) as client, entered(client.episode("e")) as episode:
            await done(episode.decide(tool_type="search"))
            cable.cut()
            last: sojourn.Decision = await done(episode.decide(tool_type="search", deny=[episode.decision.model]))
            episode.report(error="HIGH")
            await done(episode.fail())
            cable.mend()
            assert await done(client.flush(timeout_s=20))
            return last

    last = asyncio.run(scenario())
    kinds = [record.WhichOneof("body") for record in records(server, "e")]
    assert kinds == ["decision", "turn", "outcome"]
    (told,) = [record.turn.request for record in records(server, "e") if record.HasField("turn")]
    assert (told.turn_index, told.facts.served_model, told.facts.error) == (1, last.model, types_pb2.SEVERITY_HIGH)
    assert told.facts.decided_by_client
    assert not outcome(server, "e").HasField("last_turn")


@either
def test_outcomes_given_during_an_outage_arrive_after_it_each_once(kind: type, server: Server, cable: Cable):
    names = [f"e{number}" for number in range(5)]

    async def scenario() -> None:
        async with entered(on_line(kind, cable)) as client:
            for name in names:
                await done(client.episode(name).decide())
            cable.cut()
            for number, name in enumerate(names):
                await done(client.report_outcome(name, score=number / 10))
            assert not await done(client.flush(timeout_s=0.3))
            cable.mend()
            assert await done(client.flush(timeout_s=20))
            assert client.counters.reports_acknowledged == 5
            assert client.counters.reports_retried > 0

    asyncio.run(scenario())
    assert [outcome(server, name).score for name in names] == [0.0, 0.1, 0.2, 0.3, 0.4]


@either
def test_the_client_finds_the_router_again_by_itself(kind: type, cable: Cable):
    async def scenario() -> bool:
        async with entered(on_line(kind, cable)) as client:
            assert await is_back(client)
            cable.cut()
            assert (await done(client.episode("e").decide())).fallback is not None
            cable.mend()
            return await is_back(client)

    assert asyncio.run(scenario())
