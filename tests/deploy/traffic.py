"""What agents do to a router, so that every metric has something to tell: good episodes and bad ones, and faults."""

from __future__ import annotations

import time
from functools import partial

import grpc

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from tests.deploy.fleet import CACHE_TTL_MS, CALLS_IN_FLIGHT, Router
from tests.rpc.wire import Stubs, refusal

PROMPT_TOKENS = 40_000


def play(stubs: Stubs, name: str) -> None:
    """Episodes of every cohort, with every reason for which a choice can be open, and outcomes of several kinds."""
    for i in range(24):
        play_episode(stubs, f"{name}-{i}", ["search", "search", "code", "reasoning", "code"], score=i % 5 / 4)
    play_episode(stubs, f"{name}-long", ["code"] * 9, score=1.0)
    let_caches_expire(stubs, [f"{name}-idle-{i}" for i in range(4)])
    contradict(stubs, f"{name}-contradicted")
    stubs.decide(f"{name}-abandoned")
    abandoned = router_pb2.ReportOutcomeRequest(episode_id=f"{name}-abandoned", status=pb.OUTCOME_STATUS_ABANDONED)
    for _ in range(2):  # the second one is a duplicate
        stubs.router.ReportOutcome(abandoned, timeout=10)


def play_episode(stubs: Stubs, episode_id: str, tool_types: list[str], *, score: float) -> None:
    """One episode from its first turn to its outcome."""
    facts = None
    for turn_index, tool_type in enumerate(tool_types):
        answer = stubs.decide(
            episode_id, turn_index, tool_type=tool_type, prompt_tokens=PROMPT_TOKENS, previous_turn=facts
        )
        facts = pb.TurnFacts(
            served_model=answer.model, cost_usd=0.01, usage=pb.Usage(input_tokens=PROMPT_TOKENS, output_tokens=200)
        )
    outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score, last_turn=facts)
    stubs.router.ReportOutcome(outcome, timeout=10)


def let_caches_expire(stubs: Stubs, episode_ids: list[str]) -> None:
    """Turns that come so late that the incumbent's cache is presumed gone."""
    for episode_id in episode_ids:
        stubs.decide(episode_id, 0, tool_type="code", prompt_tokens=PROMPT_TOKENS)
    time.sleep(2 * CACHE_TTL_MS / 1000)
    for episode_id in episode_ids:
        stubs.decide(episode_id, 1, tool_type="code", prompt_tokens=PROMPT_TOKENS)
        stubs.end(episode_id, 0.5)


def contradict(stubs: Stubs, episode_id: str) -> None:
    """Facts of a turn, and then other ones."""
    stubs.decide(episode_id, 0, tool_type="code")
    facts = pb.TurnFacts(served_model="gpt-5", cost_usd=0.01)
    stubs.router.ReportTurn(router_pb2.ReportTurnRequest(episode_id=episode_id, turn_index=0, facts=facts), timeout=10)
    facts.cost_usd = 0.02
    stubs.decide(episode_id, 1, tool_type="code", previous_turn=facts)


def lose_the_disk(router: Router, stubs: Stubs, name: str) -> None:
    """Turns are decided without the journal, outcomes refused."""
    with router.without_disk():
        for i in range(3):
            answer = stubs.decide(f"{name}-{i}", tool_type="code")
            assert answer.reason == pb.REASON_JOURNAL_UNAVAILABLE
            assert refusal(partial(stubs.end, f"{name}-{i}")).code == grpc.StatusCode.UNAVAILABLE


def flood(stubs: Stubs, name: str) -> None:
    """Far more calls at once than there is room for."""
    requests = [router_pb2.DecideRequest(episode_id=f"{name}-{i}") for i in range(50 * CALLS_IN_FLIGHT)]
    futures = [stubs.router.Decide.future(request, timeout=10) for request in requests]
    refused = [future.code() for future in futures if future.exception() is not None]
    assert grpc.StatusCode.RESOURCE_EXHAUSTED in refused
