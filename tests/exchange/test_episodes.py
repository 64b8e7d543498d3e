"""A journal's records as episodes: what a router wrote down is read back, and agrees with `sojourn savings`."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.evaluation.savings import read_assigned
from sojourn_server.exchange.episodes import Reading
from sojourn_server.journal.journal import Journal
from sojourn_server.upkeep.erasure import without_features
from tests.learner.workshop import POLICY, configured


def read(
    source: Journal | Sequence[journal_pb2.JournalRecord], *, newest: int = 1_000, policy: str = POLICY
) -> Reading:
    reading = Reading(policy, newest=newest)
    for record in source if isinstance(source, Sequence) else source.read(0, limit=10**6):
        reading.take(record)
    return reading


def test_turns_money_and_score_are_those_that_were_reported(open_workshop):
    workshop = open_workshop(configured())
    first = workshop.decide("e", 0, tool_type="search", prompt_tokens=2_000)
    facts = types_pb2.TurnFacts(error=types_pb2.SEVERITY_HIGH, cost_usd=0.25)
    other = next(c.model for c in first.ranked if c.model != first.model)
    second = workshop.decide("e", 1, tool_type="code", previous_turn=facts)
    workshop.report("e", 1, served_model=other, cost_usd=0.5)
    workshop.end("e", 0.75)
    (episode,) = read(workshop.journal).ended
    assert (episode.score, episode.cost_usd, episode.ended, episode.imported) == (0.75, 0.75, True, False)
    assert [t.tool_type for t in episode.turns] == ["search", "code"]
    assert [t.model for t in episode.turns] == [first.model, other]
    assert [t.error for t in episode.turns] == [types_pb2.SEVERITY_HIGH, types_pb2.SEVERITY_UNSPECIFIED]
    assert [t.stayed for t in episode.turns] == [None, False]
    assert (episode.turns[1].left, episode.switches) == (first.model, 1)
    assert (episode.turns[1].forfeited_usd is None) == (second.model != other)


def test_a_switch_forfeits_what_its_decision_says(open_workshop):
    workshop = open_workshop(configured())
    workshop.play_many(20)
    episodes = read(workshop.journal).ended
    priced = [t for e in episodes for t in e.turns if t.forfeited_usd is not None]
    assert len(priced) > 10
    assert all(t.stayed is False for t in priced)
    logged = {
        c.switching_cost_usd
        for record in workshop.journal.read(0, bodies={"decision"}, limit=10**6)
        for c in record.decision.answer.ranked
        if c.model == record.decision.answer.model
    }
    assert {t.forfeited_usd for t in priced} <= logged


def test_episodes_are_assigned_as_savings_read_them(open_workshop):
    choice = configured().policies[POLICY].choice.model_copy(update={"control_share": 0.25})
    workshop = open_workshop(configured(choice=choice))
    for i in range(40):
        workshop.decide(f"e{i}", tool_type="search", task_type="t")
        if i == 20:
            workshop.admin.set_mode(POLICY, types_pb2.MODE_LIVE, workshop.call())
        if i % 3:
            workshop.end(f"e{i}", cost_usd=0.25)
    reading = read(workshop.journal)
    episodes = [*reading.ended, *reading.still_open()]
    by_key = {a.assignment_key: a for a in read_assigned(workshop.journal, POLICY)}
    assert {e.assigned.assignment_key: e.assigned for e in episodes if e.assigned} == by_key
    assert len({a.stratum for a in by_key.values()}) == 2
    assert {e.is_control for e in episodes} == {True, False}
    assert (len(reading.ended), reading.open_count, reading.decisions) == (26, 14, 40)


def test_retention_leaves_the_figures_as_they_were(open_workshop):
    workshop = open_workshop(configured())
    workshop.play_many(3)
    own = types_pb2.Model(name="own", model_class="large", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    workshop.decide("priced by itself", tool_type="code", candidates=[types_pb2.Candidate(model="own", terms=own)])
    workshop.report("priced by itself", 0, usage=types_pb2.Usage(output_tokens=1_000_000))
    workshop.end("priced by itself")
    records = workshop.journal.read(0, limit=10**6)
    assert read(records).ended[-1].cost_usd == pytest.approx(2.0)
    left = [without_features(record) if record.HasField("decision") else record for record in records]
    assert read(left).ended == read(records).ended


def test_only_the_newest_are_kept_and_all_are_counted(open_workshop):
    workshop = open_workshop(configured())
    workshop.play_many(10)
    reading = read(workshop.journal, newest=3)
    assert [e.episode_id for e in reading.ended] == ["e7", "e8", "e9"]
    assert (reading.ended_count, reading.position) == (10, workshop.journal.position())


def test_another_policy_s_records_are_passed_over(open_workshop):
    workshop = open_workshop(configured())
    workshop.play_many(2)
    reading = read(workshop.journal, policy="other")
    assert (list(reading.ended), reading.decisions) == ([], 0)


def test_what_comes_after_the_end_opens_nothing():
    reading = Reading(POLICY, newest=10)
    for body in (
        {"turn": journal_pb2.TurnRecord(late=True)},
        {"outcome": journal_pb2.OutcomeRecord(late=True)},
        {"episode_erased": journal_pb2.EpisodeErasedRecord()},
    ):
        reading.take(journal_pb2.JournalRecord(position=1, policy=POLICY, episode_id="e", **body))
    assert (reading.open_count, list(reading.still_open())) == (0, [])
