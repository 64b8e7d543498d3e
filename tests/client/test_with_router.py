"""Both clients against a real router: what they ask, tell and raise, read back from the router's journal."""

from __future__ import annotations

import asyncio
import doctest
import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import Any, Protocol

import grpc
import pytest

import sojourn
from sojourn.v1 import admin_pb2, admin_pb2_grpc, journal_pb2, router_pb2, types_pb2
from tests.client.surfaces import done, either, entered

PATIENT_MS = 5_000  # a loaded machine must not turn these into tests of the fallback


class Server(Protocol):
    """The running router that `conftest.py` offers."""

    address: str


def records(server: Server, episode_id: str) -> list[journal_pb2.JournalRecord]:
    """What the router has written down about an episode, in order."""
    with grpc.insecure_channel(server.address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        return list(stub.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id=episode_id)).records)


def requests(server: Server, episode_id: str) -> list[router_pb2.DecideRequest]:
    """The decide requests of an episode."""
    return [record.decision.request for record in records(server, episode_id) if record.HasField("decision")]


def outcome(server: Server, episode_id: str) -> router_pb2.ReportOutcomeRequest:
    """The one outcome of an episode."""
    (found,) = [record.outcome.request for record in records(server, episode_id) if record.HasField("outcome")]
    return found


def patient(kind: type, server: Server) -> Any:
    """A client that waits long enough for a loaded machine."""
    return kind(server.address, decide_deadline_ms=PATIENT_MS)


@either
def test_an_episode_reaches_the_journal_turn_by_turn_with_its_facts(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client:
            async with entered(client.episode("e", task_type="research")) as episode:
                first = await done(episode.decide(tool_type="search", prompt_tokens=3000))
                episode.report(input_tokens=3000, output_tokens=200, error="NONE")
                second = await done(episode.decide(tool_type="search", prompt_tokens=3300))
                episode.report(cached_read_tokens=3000, input_tokens=300, output_tokens=50)
                await done(episode.succeed(score=0.9, metrics={"tests": 3}))
            assert await done(client.flush())
            assert client.counters.reports_acknowledged == 1
        assert (first.turn_index, first.fallback, first.incumbent) == (0, None, None)
        assert (second.turn_index, second.fallback, second.incumbent) == (1, None, first.model)
        assert first.model in {candidate.model for candidate in first.ranked}
        assert 0 < first.propensity <= 1
        assert first.decision_id != second.decision_id

    asyncio.run(scenario())
    asked, ended = requests(server, "e"), outcome(server, "e")
    assert [(request.turn_index, request.context.task_type) for request in asked] == [(0, "research"), (1, "research")]
    assert asked[1].previous_turn.usage == types_pb2.Usage(input_tokens=3000, output_tokens=200)
    assert asked[1].previous_turn.error == types_pb2.SEVERITY_NONE
    assert (ended.score, ended.status) == (0.9, types_pb2.OUTCOME_STATUS_SUCCEEDED)
    assert ended.last_turn.usage.cached_read_tokens == 3000


@either
def test_waiting_gives_the_routers_acknowledgement(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client:
            async with entered(client.episode("e")) as episode:
                await done(episode.decide())
                await done(episode.decide())
                recorded = await done(episode.finish(score=0.5, wait=True))
            again = await done(client.report_outcome("e", score=0.5, wait=True))
        assert recorded == sojourn.Acknowledgement("RECORDED", 2)
        assert again == sojourn.Acknowledgement("DUPLICATE", 2)

    asyncio.run(scenario())


@either
@pytest.mark.parametrize("breaks", [False, True])
def test_a_block_that_ends_without_an_outcome_abandons_the_episode(kind: type, server: Server, breaks: bool):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client:
            with pytest.raises(ZeroDivisionError) if breaks else nullcontext():
                async with entered(client.episode("e")) as episode:
                    await done(episode.decide())
                    _ = 1 / (0 if breaks else 1)

    asyncio.run(scenario())
    assert outcome(server, "e").status == types_pb2.OUTCOME_STATUS_ABANDONED


@either
def test_an_episode_left_open_ends_by_an_outcome_from_elsewhere(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client, entered(client.episode("e")) as episode:
            await done(episode.decide())
            episode.report(output_tokens=7)
            await done(episode.leave_open())
        async with entered(patient(kind, server)) as elsewhere:
            receipt = await done(elsewhere.report_outcome("e", "FAILED", wait=True))
        assert receipt == sojourn.Acknowledgement("RECORDED", 1)

    asyncio.run(scenario())
    (turn,) = [record.turn.request for record in records(server, "e") if record.HasField("turn")]
    assert (turn.turn_index, turn.facts.usage.output_tokens) == (0, 7)


@either
def test_late_facts_are_recorded_once_and_contradicted_never(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client, entered(client.episode("e")) as episode:
            decision = await done(episode.decide())

            async def tell(**facts: Any) -> Any:
                return await done(client.report_turn(decision_id=decision.decision_id, wait=True, **facts))

            assert (await tell(output_tokens=7)).state == "RECORDED"
            assert (await tell(output_tokens=7)).state == "DUPLICATE"
            with pytest.raises(sojourn.Conflict) as raised:
                await tell(output_tokens=8)
            assert raised.value.reason == "PAYLOAD_CONFLICT"

    asyncio.run(scenario())


@either
def test_a_malformed_field_is_named_and_the_turn_can_be_asked_again(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client, entered(client.episode("e")) as episode:
            with pytest.raises(sojourn.InvalidRequest) as raised:
                await done(episode.decide(features={"depth": math.nan}))
            assert raised.value.reason == "INVALID_FIELD"
            assert "depth" in raised.value.violations[0].field
            assert (await done(episode.decide(features={"depth": 1.0}))).turn_index == 0
            assert client.counters.fallbacks == {}

    asyncio.run(scenario())


@either
def test_the_callers_other_mistakes_are_raised_with_their_reasons(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client:
            with pytest.raises(sojourn.NotFound) as unknown:
                await done(client.episode("e", policy="reserch").decide())
            with pytest.raises(sojourn.UnmetPrecondition) as nobody:
                await done(client.episode("e").decide(candidates=["gpt-5"], deny=["gpt-5"]))
            await done(client.episode("e").decide(prompt_tokens=1))
            with pytest.raises(sojourn.Conflict) as conflict:
                await done(client.episode("e").decide(prompt_tokens=2))
            await done(client.report_outcome("e", "FAILED", wait=True))
            with pytest.raises(sojourn.UnmetPrecondition) as ended:
                await done(client.episode("e", first_turn_index=1).decide())
        reasons = [raised.value.reason for raised in (unknown, nobody, conflict, ended)]
        assert reasons == ["UNKNOWN_POLICY", "NO_ELIGIBLE_CANDIDATE", "PAYLOAD_CONFLICT", "EPISODE_ENDED"]

    asyncio.run(scenario())


@either
def test_a_retry_is_served_by_another_model(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client, entered(client.episode("e")) as episode:
            first = await done(episode.decide(tool_type="search"))
            second = await done(episode.retry())
            assert (second.turn_index, second.attempt) == (0, 1)
            assert second.model != first.model
            await done(episode.succeed())

    asyncio.run(scenario())


@either
def test_a_report_that_is_refused_in_the_background_stays_visible(kind: type, server: Server):
    async def scenario() -> None:
        async with entered(patient(kind, server)) as client:
            async with entered(client.episode("e")) as episode:
                await done(episode.decide())
                await done(episode.succeed(score=2.0))
            assert await done(client.flush())
            (refused,) = client.refused_reports
        assert refused.refusal.code == "INVALID_ARGUMENT"
        assert [violation.field for violation in refused.refusal.violations] == ["score"]

    asyncio.run(scenario())


@either
def test_the_callers_own_exception_is_not_hidden_by_dropped_reports(kind: type, server: Server):
    client = patient(kind, server)

    async def break_off() -> None:
        async with entered(client):
            await done(client.close())
            with pytest.raises(sojourn.DroppedReports):
                await done(client.report_outcome("e", "FAILED"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        asyncio.run(break_off())
    assert client.counters.reports_dropped == 1


def test_one_client_serves_many_threads(server: Server):
    def play(client: sojourn.Client, name: str) -> list[int]:
        with client.episode(name) as episode:
            turns = [episode.decide(tool_type="search").turn_index for _ in range(5)]
            episode.succeed()
        return turns

    names = [f"e{number}" for number in range(16)]
    with patient(sojourn.Client, server) as client, ThreadPoolExecutor(8) as pool:
        played = list(pool.map(lambda name: play(client, name), names))
        assert client.flush()
        counters = client.counters
    assert played == [[0, 1, 2, 3, 4]] * 16
    assert (counters.decisions, counters.fallbacks, counters.reports_acknowledged) == (80, {}, 16)
    assert {outcome(server, name).status for name in names} == {types_pb2.OUTCOME_STATUS_SUCCEEDED}


def test_one_asyncio_client_serves_many_tasks(server: Server):
    async def play(client: sojourn.AsyncClient, name: str) -> None:
        async with client.episode(name) as episode:
            for _ in range(5):
                await episode.decide(tool_type="search")
            await episode.succeed()

    async def scenario() -> sojourn.Counters:
        async with patient(sojourn.AsyncClient, server) as client:
            await asyncio.gather(*(play(client, f"e{number}") for number in range(16)))
            assert await client.flush()
            counters: sojourn.Counters = client.counters
            return counters

    counters = asyncio.run(scenario())
    assert (counters.decisions, counters.fallbacks, counters.reports_acknowledged) == (80, {}, 16)


def test_the_packages_own_example_runs(server: Server):
    text = (sojourn.__doc__ or "").replace("127.0.0.1:50051", server.address)
    example = doctest.DocTestParser().get_doctest(text, {}, "sojourn", None, 0)
    result = doctest.DocTestRunner().run(example)
    assert (result.attempted, result.failed) == (4, 0)
    assert outcome(server, "docs-1").status == types_pb2.OUTCOME_STATUS_SUCCEEDED
