"""A router that is slow or away never stops an agent, and nothing is lost in silence."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Iterator

import grpc
import pytest

import sojourn
from tests.client.surfaces import done, either, entered

TABLE = sojourn.FallbackTable({"search": "small", "*": "big"})


@pytest.fixture
def silent_address() -> Iterator[str]:
    """A port that accepts connections and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield f"127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture
def closed_address() -> str:
    """A port on which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return f"127.0.0.1:{listener.getsockname()[1]}"


async def discard(client: sojourn.Client | sojourn.AsyncClient) -> int:
    """Close the client at once and return the number of reports that it says it dropped."""
    try:
        await done(client.close(timeout_s=0.01))
    except sojourn.DroppedReports as error:
        return error.count
    return 0


@either
def test_a_decision_takes_no_longer_than_its_deadline(kind: type, silent_address: str):
    async def scenario() -> None:
        client = kind(silent_address, fallback=TABLE)
        async with entered(client.episode("e")) as episode:
            begun = time.monotonic()
            decision = await done(episode.decide(tool_type="search"))
            assert 0.04 < time.monotonic() - begun < 1
            assert (decision.model, decision.fallback) == ("small", "DEADLINE_EXCEEDED")
        await discard(client)

    asyncio.run(scenario())


@either
def test_a_router_that_is_away_is_found_out_at_once_and_every_fallback_is_counted(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address, fallback=TABLE, decide_deadline_ms=2_000)
        async with entered(client.episode("e")) as episode:
            first = await done(episode.decide(tool_type="code"))
            second = await done(episode.decide(tool_type="search"))
        assert [(d.turn_index, d.model, d.switched) for d in (first, second)] == [(0, "big", False), (1, "big", False)]
        assert client.counters.decisions == 2
        assert client.counters.fallbacks == {"UNAVAILABLE": 2}
        await discard(client)

    asyncio.run(scenario())


@either
def test_without_table_and_incumbent_the_caller_is_told_why(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address)
        with pytest.raises(sojourn.NoFallback, match="UNAVAILABLE"):
            await done(client.episode("e").decide())
        assert await discard(client) == 0

    asyncio.run(scenario())


@either
def test_close_raises_with_the_number_of_reports_that_were_never_acknowledged(kind: type, closed_address: str):
    """Two an episode: its only turn, which the client decided, and its outcome."""

    async def scenario() -> None:
        client = kind(closed_address, fallback=TABLE)
        for name in ("a", "b", "c"):
            async with entered(client.episode(name)) as episode:
                await done(episode.decide())
                await done(episode.succeed())
        assert not await done(client.flush(timeout_s=0.05))
        assert await discard(client) == 6
        assert client.counters.reports_dropped == 6

    asyncio.run(scenario())


@either
def test_reports_beyond_the_queue_are_dropped_counted_and_raised_at_the_end(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address, queue_size=2)
        for name in ("a", "b", "c", "d"):
            await done(client.report_outcome(name, "FAILED"))
        assert client.counters.reports_dropped == 2
        with pytest.raises(sojourn.DroppedReports):
            await done(client.report_outcome("e", "FAILED", wait=True))
        assert await discard(client) == 5

    asyncio.run(scenario())


@either
def test_waiting_for_an_acknowledgement_ends_at_the_report_deadline_and_the_report_stays_queued(
    kind: type, closed_address: str
):
    async def scenario() -> None:
        client = kind(closed_address, report_deadline_ms=50)
        with pytest.raises(sojourn.RouterUnavailable, match="stays queued"):
            await done(client.report_outcome("e", "FAILED", wait=True))
        assert await discard(client) == 1

    asyncio.run(scenario())


@either
def test_closing_twice_tells_the_same_number_twice(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address)
        await done(client.report_outcome("e", "FAILED"))
        assert [await discard(client), await discard(client)] == [1, 1]

    asyncio.run(scenario())


@either
def test_connecting_to_nobody_is_told_within_its_timeout(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address)
        begun = time.monotonic()
        with pytest.raises(sojourn.RouterUnavailable, match=closed_address):
            await done(client.connect(timeout_s=0.1))
        assert time.monotonic() - begun < 1
        assert await discard(client) == 0

    asyncio.run(scenario())


@either
def test_a_decision_after_close_falls_back_and_a_report_after_close_is_raised(kind: type, closed_address: str):
    async def scenario() -> None:
        client = kind(closed_address, fallback=TABLE)
        episode = client.episode("e")
        await discard(client)
        assert (await done(episode.decide())).fallback == "CANCELLED"
        with pytest.raises(sojourn.DroppedReports):
            await done(episode.succeed())

    asyncio.run(scenario())


@either
def test_a_secure_channel_does_not_talk_to_a_plaintext_port(kind: type, silent_address: str):
    async def scenario() -> None:
        client = kind(silent_address, credentials=grpc.ssl_channel_credentials())
        with pytest.raises(sojourn.RouterUnavailable):
            await done(client.connect(timeout_s=0.1))
        await discard(client)

    asyncio.run(scenario())


@either
def test_settings_out_of_range_or_unknown_are_refused(kind: type):
    with pytest.raises(ValueError, match="above 0"):
        kind("127.0.0.1:1", decide_deadline_ms=0)
    with pytest.raises(TypeError, match="deadline"):
        kind("127.0.0.1:1", deadline=50)
