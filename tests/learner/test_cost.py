"""What turns and episodes cost: as reported, else by usage at the prices of then; unknown where a turn's is unknown."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any

import pytest

from sojourn.v1 import journal_pb2, router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.learner.credit import cost_usd
from sojourn_server.policy.registry import Registry
from tests.learner.workshop import POLICY, Workshop

Record = journal_pb2.JournalRecord
USAGE = pb.Usage(input_tokens=100, cached_read_tokens=2_000, cache_write_tokens=400, output_tokens=50)
HALF, FULL = 1, 2  # positions at which the prices changed


def terms(usd_per_mtok: float, name: str = "a") -> pb.Model:
    """Output costs four times the input, a cached token a tenth of it, a written one a quarter more."""
    return pb.Model(
        name=name,
        input_usd_per_mtok=usd_per_mtok,
        output_usd_per_mtok=4.0 * usd_per_mtok,
        cache=pb.PromptCache(read_multiplier=0.1, write_multiplier=1.25),
    )


REGISTRIES = MappingProxyType({HALF: Registry.of([terms(5.0)]), FULL: Registry.of([terms(10.0)])})
AT_FULL_USD = (100 + 0.1 * 2_000 + 1.25 * 400 + 4 * 50) * 10.0 / 1e6


def decided(turn_index: int, *, at: int = FULL, attempt: int = 0, **request: Any) -> Record:
    body = journal_pb2.DecisionRecord(
        request=router_pb2.DecideRequest(turn_index=turn_index, attempt=attempt, **request),
        inputs=journal_pb2.DecisionInputs(registry_version=at),
        answer=router_pb2.DecideResponse(model="a"),
    )
    return Record(decision=body)


def reported(turn_index: int, **facts: Any) -> Record:
    request = router_pb2.ReportTurnRequest(turn_index=turn_index, facts=pb.TurnFacts(**facts))
    return Record(turn=journal_pb2.TurnRecord(request=request))


def ended(*, late: bool = False, **outcome: Any) -> Record:
    return Record(outcome=journal_pb2.OutcomeRecord(request=router_pb2.ReportOutcomeRequest(**outcome), late=late))


def cost(*records: Record) -> float | None:
    return cost_usd(records, REGISTRIES)


def test_every_kind_of_token_has_its_price():
    assert cost(decided(0), reported(0, usage=USAGE)) == pytest.approx(AT_FULL_USD)


def test_a_turn_costs_what_its_model_cost_when_it_was_decided():
    records = [decided(0, at=HALF), reported(0, usage=USAGE), decided(1, at=FULL), reported(1, usage=USAGE)]
    assert cost(*records) == pytest.approx(1.5 * AT_FULL_USD)


def test_terms_of_the_request_go_before_those_of_the_registry():
    candidates = [pb.Candidate(model="a", terms=terms(20.0)), pb.Candidate(model="b", terms=terms(1.0, "b"))]
    assert cost(decided(0, candidates=candidates), reported(0, usage=USAGE)) == pytest.approx(2.0 * AT_FULL_USD)
    served = reported(0, usage=USAGE, served_model="b")
    assert cost(decided(0, candidates=candidates), served) == pytest.approx(0.1 * AT_FULL_USD)


def test_reported_money_goes_before_prices_and_the_outcome_s_before_that_of_turns():
    turns = [decided(0), reported(0, usage=USAGE, cost_usd=0.5), decided(1), reported(1, usage=USAGE)]
    assert cost(*turns) == pytest.approx(0.5 + AT_FULL_USD)
    assert cost(*turns, ended(cost_usd=0.0)) == 0.0
    assert cost(*turns, ended(late=True, cost_usd=9.0)) == pytest.approx(0.5 + AT_FULL_USD)


@pytest.mark.parametrize(
    "unknown",
    [
        [],
        [reported(1)],
        [reported(1, usage=pb.Usage())],
        [reported(1, usage=USAGE, served_model="not in the registry")],
    ],
    ids=["not reported", "without usage", "with an empty usage", "of a model without prices"],
)
def test_a_turn_of_unknown_money_leaves_that_of_the_episode_unknown_rather_than_too_small(unknown: list[Record]):
    known = [decided(0), reported(0, usage=USAGE), decided(1)]
    assert cost(*known, *unknown) is None
    assert cost(*known, *unknown, ended(cost_usd=0.25)) == 0.25


def test_a_turn_that_used_nothing_costs_nothing():
    assert cost(decided(0), reported(0, usage=pb.Usage(output_tokens=0))) == 0.0


def test_turns_that_the_client_decided_count_and_failed_attempts_do_not():
    facts = pb.TurnFacts(usage=USAGE, served_model="a", decided_by_client=True)
    records = [decided(0), reported(0, usage=USAGE), decided(2, previous_turn=facts), decided(2, attempt=1)]
    assert cost(*records, reported(2, usage=USAGE)) == pytest.approx(3.0 * AT_FULL_USD)


def test_no_turns_cost_nothing_that_is_known():
    assert cost() is None
    assert cost(reported(0, usage=USAGE)) is None


def test_the_learner_counts_the_money_of_an_episode_that_reports_usage_alone(workshop: Workshop):
    workshop.play("e", seed=1)
    workshop.settle()
    (join,) = workshop.audience.joins
    records = workshop.journal.episode(POLICY, "e")
    assert join.cost_usd == pytest.approx(cost_usd(records, workshop.router.world.registries))
    assert join.cost_usd is not None
    assert join.cost_usd > 0.0
