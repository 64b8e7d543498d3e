"""The learned state is a fold over the journal: replay equals live, bit for bit, and so does every recorded answer."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from sojourn.v1 import journal_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server import records
from sojourn_server.config import ChoiceSettings
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.policy.decision import decide
from sojourn_server.policy.turn import from_record
from tests.learner.workshop import (
    HOUR_MS,
    Workshop,
    configured,
    lesson,
    predictions,
    replayed,
    same,
    versions,
    world_at,
)

Open = Callable[..., Workshop]
EPISODES = 12


@pytest.mark.parametrize("publish_outcomes", [1, 3, 100])
def test_replay_equals_live_whatever_the_batch_and_however_often_it_was_restarted(
    open_workshop: Open, publish_outcomes: int
):
    workshop = open_workshop(publish_outcomes=publish_outcomes)
    for first in range(0, EPISODES, 3):
        workshop.play_many(3, first=first)
        workshop.restart()
    newest = workshop.settle()
    assert newest.statistics.joins["learned"] == EPISODES
    assert same(newest, replayed(workshop.journal, newest.version))


@pytest.mark.parametrize("options", ["--coin", "--l2 0.001", "-l 0.05"])
def test_replay_equals_live_whatever_the_learners_options(open_workshop: Open, options: str):
    """Vowpal Wabbit does not store all of them with its weights; a restart must not lose any."""
    workshop = open_workshop(configured(lesson_settings=lesson(vw_options=options)))
    workshop.play_many(6)
    workshop.restart()
    workshop.play_many(6, first=6)
    newest = workshop.settle()
    assert same(newest, replayed(workshop.journal, newest.version))


def test_the_batch_size_does_not_show_in_what_was_learned(open_workshop: Open):
    """Two learners over one journal, one by one and all at once."""
    played = open_workshop(publish_outcomes=1)
    played.play_many(12)
    newest = played.settle()
    followed = open_workshop(journal=played.journal, publish_outcomes=1_000)
    assert same(newest, followed.settle())


def test_every_published_version_is_the_fold_up_to_its_position(open_workshop: Open):
    workshop = open_workshop(publish_outcomes=1)
    workshop.play_many(8)
    workshop.settle()
    published = workshop.audience.published_versions
    assert versions(published) == sorted(versions(published))
    assert len(published) >= 8
    for one in published:
        assert same(one, replayed(workshop.journal, one.version))


class Early(MemoryJournal):
    """A journal in memory whose episodes have a record more, which still waits for its place."""

    def episode(self, policy: str, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """As other hosts may append it while the learner reads."""
        found = super().episode(policy, episode_id)
        late = journal_pb2.JournalRecord()
        late.CopyFrom(next(r for r in found if r.HasField("decision")))
        late.position, late.decision.request.turn_index = 0, 99
        return [*found, late]


def test_what_has_no_place_yet_is_no_part_of_a_lesson(open_workshop: Open):
    played = open_workshop()
    played.play_many(6)
    newest = played.settle()
    early = Early()
    for record in played.journal.read(0):
        early.append(record)
    assert same(newest, replayed(early, newest.version))


def test_a_journal_on_disk_replays_to_the_same_bits_after_it_was_closed(open_workshop: Open, tmp_path: Path):
    journal = SqliteJournal.open(tmp_path)
    workshop = open_workshop(journal=journal)
    workshop.play_many(8)
    newest = workshop.settle()
    workshop.close()
    journal.close()
    reader = SqliteJournal.open_read_only(tmp_path)
    assert same(newest, replayed(reader, newest.version))
    reader.close()


def _mixed_run(workshop: Workshop) -> None:
    """Cohorts, guards, candidates with features and terms, attempts, reports apart, changes by administrators."""
    calls = workshop.call
    for i in range(30):
        workshop.play(f"e{i}", seed=i, turns=9)
        workshop.decide(f"e{i}+", 0, tool_type="search", cost_weight=float(i % 4), assignment_key=f"k{i}")
        stay = pb.Constraints(must_stay_because="open tool call")
        workshop.decide(f"e{i}+", 1, tool_type="code", constraints=stay)
        workshop.decide(f"e{i}+", 2, tool_type="plan", constraints=pb.Constraints(remaining_budget_usd=1e-9))
        workshop.decide(f"e{i}+", 2, tool_type="plan", attempt=1, features={"a|b": 3.5}, categories={"c": "d\u2028"})
        terms = pb.Model(name="mine", model_class="own", input_usd_per_mtok=0.3, output_usd_per_mtok=1.0)
        candidates = [pb.Candidate(model="mine", terms=terms, features={"q": 0.5}), pb.Candidate(model="gpt-5")]
        workshop.report(f"e{i}+", 2, served_model="gpt-5", error=pb.SEVERITY_LOW)
        workshop.decide(f"e{i}+", 5, tool_type="code", language="rust", candidates=candidates)
        workshop.end(f"e{i}+", (i % 5) / 4)
        if i == 10:
            model = pb.Model()
            model.CopyFrom(workshop.router.world.registry.models["gpt-5"].terms)
            model.input_usd_per_mtok = 0.01
            workshop.admin.put_model(model, calls())
        if i == 15:
            workshop.admin.remove_model("kimi-k2", calls())
            workshop.admin.drain_model("minimax-m2", True, calls())
        if i % 5 == 0:
            workshop.settle()


def _answers_differ(workshop: Workshop) -> list[str]:
    """Decision ids whose recorded answer is not what the recorded inputs and the named version give."""
    known, differ = {}, []
    for record in workshop.decisions():
        decision = record.decision
        version, inputs = decision.answer.policy_version, decision.inputs
        if version not in known:
            known[version] = replayed(workshop.journal, version)
        world = world_at(workshop.journal, inputs.settings_version)
        registry = world_at(workshop.journal, inputs.registry_version).registry
        turn = from_record(decision, registry)
        choice = decide(turn, known[version], world.policies["default"].settings.choice)
        answer = records.answer(turn, choice, decision_id=decision.answer.decision_id, policy_version=version)
        answer.previous_turn_ignored = decision.answer.previous_turn_ignored
        if answer != decision.answer:
            differ.append(answer.decision_id)
    return differ


def test_every_recorded_answer_follows_from_its_inputs_and_the_version_it_names(open_workshop: Open):
    """The law of the journal, over some hundred decisions of a run with all that can happen in it."""
    controls = ChoiceSettings(prior_width=0.5, control_share=0.15, explore_share=0.2)
    workshop = open_workshop(configured(choice=controls, live_share=0.8))
    _mixed_run(workshop)
    decisions = [record.decision.answer for record in workshop.decisions()]
    assert len(decisions) > 300
    assert len({answer.policy_version for answer in decisions}) > 5
    assert len({answer.cohort for answer in decisions}) == 3
    assert len({answer.reason for answer in decisions}) >= 7
    assert _answers_differ(workshop) == []


def test_the_law_holds_across_a_change_of_settings_and_of_the_lesson(open_workshop: Open):
    workshop = open_workshop()
    workshop.play_many(5)
    workshop.restart(configured(choice=ChoiceSettings(prior_width=1.0, control_share=0.0, friction=0.3)))
    workshop.play_many(5, first=5)
    workshop.restart(configured(lesson_settings=lesson(turns_cap=90)))
    workshop.play_many(5, first=10)
    settings = {record.decision.inputs.settings_version for record in workshop.decisions()}
    assert len(settings) == 3
    assert _answers_differ(workshop) == []


def test_another_lesson_rebuilds_the_fold_over_the_whole_journal(open_workshop: Open):
    """The version moves to the settings' position, so that one version never means two states."""
    workshop = open_workshop()
    workshop.play_many(6)
    before = workshop.settle()
    workshop.restart(configured(lesson_settings=lesson(turns_cap=110)))
    after = workshop.audience.published_versions[-1]
    assert after.version > before.version
    assert after.statistics.joins["learned"] == 6
    assert predictions(after) != predictions(before)
    assert same(after, replayed(workshop.journal, after.version))


def test_choice_settings_that_the_prior_does_not_use_leave_the_fold_alone(open_workshop: Open):
    workshop = open_workshop()
    workshop.play_many(6)
    before = workshop.settle()
    workshop.restart(configured(choice=ChoiceSettings(prior_width=0.02, control_share=0.0)))
    assert same(before, workshop.audience.published_versions[-1])
    assert before.version == workshop.audience.published_versions[-1].version


def test_the_same_settings_again_after_others_come_back_to_the_same_state(open_workshop: Open):
    workshop = open_workshop()
    workshop.play_many(6)
    before = workshop.settle()
    workshop.restart(configured(lesson_settings=lesson(turns_cap=110)))
    workshop.restart(configured())
    after = workshop.audience.published_versions[-1]
    assert same(before, after)
    assert after.version > before.version


def test_what_came_after_an_episodes_end_changes_nothing_in_a_replay(open_workshop: Open):
    """Learned by its default score when its window passed; a late outcome then tells of an error."""
    workshop = open_workshop(configured(lesson_settings=lesson(expired_score=0.5)))
    workshop.decide("e", tool_type="search")
    workshop.now_ms += 25 * HOUR_MS
    workshop.learner.wake()
    workshop.wait_for(lambda: workshop.audience.expired_episodes == ["e"])
    live = workshop.settle()
    workshop.end("e", 1.0, last_turn=pb.TurnFacts(error=pb.SEVERITY_HIGH, served_model="kimi-k2"))
    after = workshop.settle()
    assert predictions(replayed(workshop.journal, after.version)) == predictions(live)
    assert same(after, replayed(workshop.journal, after.version))


def test_policies_learn_apart(open_workshop: Open):
    config = configured()
    both = config.model_copy(update={"policies": {**config.policies, "other": config.policies["default"]}})
    workshop = open_workshop(both)
    workshop.play_many(4)
    workshop.settle()
    other = workshop.router.knowledge("other")
    assert other.statistics.episodes == 0
    assert predictions(other) == predictions(replayed(workshop.journal, other.version, "other"))
