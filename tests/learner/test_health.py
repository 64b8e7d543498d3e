"""A lesson that breaks the policy is left out and recorded, and the policy lives on; an outage only delays."""

from __future__ import annotations

import time
from collections.abc import Callable
from math import isfinite
from typing import Any

import pytest
from structlog.testing import capture_logs

from sojourn.v1 import journal_pb2, router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.config import PriorSettings
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.journal.journal import LESSON_BODIES, Appended, Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold, Join
from tests.learner.workshop import POLICY, Workshop, configured, lesson, predictions, replayed, same

Open = Callable[..., Workshop]
DIVERGING = "--sgd --l2 1e38 -l 10"
"""Options with which no weight is finite after one lesson."""


def exclusions(workshop: Workshop) -> list[tuple[int, int]]:
    """(position of the record that was left out, position of its exclusion)."""
    records = workshop.journal.read(0, bodies={"exclusion"}, limit=10**6)
    assert all(r.exclusion.because for r in records)
    return [(r.exclusion.through_position, r.position) for r in records]


def append_unreadable(workshop: Workshop, episode_id: str) -> int:
    """An episode whose decision names a registry that never was: it cannot be read as a lesson. Its outcome's place."""
    workshop.decide(episode_id, tool_type="search")
    (record,) = workshop.journal.episode(POLICY, episode_id)
    record.decision.request.turn_index = 1
    record.decision.answer.decision_point, record.decision.answer.phase = True, "nowhere"
    record.decision.inputs.registry_version = 10**9
    workshop.journal.append(record)
    workshop.end(episode_id, 1.0)
    return workshop.journal.position()


def test_a_lesson_that_leaves_no_finite_prediction_is_left_out_and_recorded(open_workshop: Open):
    diverging = lesson(vw_options=DIVERGING, prior=PriorSettings(events=0))
    workshop = open_workshop(configured(lesson_settings=diverging))
    with capture_logs() as logs:
        for i in range(3):
            workshop.play(f"e{i}", seed=i)
            workshop.wait_for(lambda n=i: len(exclusions(workshop)) > n)  # type: ignore[misc]  # bound now
        newest = workshop.wait_for(
            lambda: workshop.audience.published_versions[-1].version >= workshop.journal.position()
        )
    assert newest.statistics.joins == {"excluded": 3}
    assert workshop.audience.faults == ["policy_unhealthy"] * 3
    assert sum(entry["event"] == "lesson_excluded" for entry in logs) == 3
    assert all(isfinite(value) for scores, turns in predictions(newest) for value in (*scores, turns))
    assert workshop.decide("next", tool_type="search").reason == pb.REASON_FIRST_TURN


def test_an_episode_that_cannot_be_read_is_left_out_and_the_others_are_learned(open_workshop: Open):
    workshop = open_workshop()
    workshop.play_many(3)
    offender = append_unreadable(workshop, "bad")
    workshop.play_many(3, first=3)
    newest = workshop.settle()
    assert [position for position, _ in exclusions(workshop)] == [offender]
    assert newest.statistics.joins == {"learned": 6, "excluded": 1}
    assert same(newest, replayed(workshop.journal, newest.version))


def test_a_score_that_is_no_number_is_never_learned_as_the_best_one(workshop: Workshop):
    """Validation lets none in; should one lie in the journal, it is left out."""
    workshop.decide("e", tool_type="search")
    workshop.end("e", float("nan"))
    workshop.wait_for(lambda: len(exclusions(workshop)) == 1)
    newest = workshop.wait_for(lambda: workshop.audience.published_versions[-1].statistics.joins["excluded"] == 1)
    assert predictions(newest) == predictions(workshop.audience.published_versions[0])


def test_offenders_found_at_the_start_are_left_out_as_well(open_workshop: Open):
    """The learner was away when they came."""
    workshop = open_workshop()
    workshop.play_many(2)
    workshop.settle()
    workshop.close()
    offenders = [append_unreadable(workshop, name) for name in ("bad", "worse")]
    workshop.play("good", 1)
    workshop.open()
    newest = workshop.settle()
    assert [position for position, _ in exclusions(workshop)] == offenders
    assert newest.statistics.joins == {"learned": 3, "excluded": 2}
    assert same(newest, replayed(workshop.journal, newest.version))


def test_what_lies_behind_an_offender_is_learned_under_the_terms_it_met(open_workshop: Open):
    """The learner is behind: a model is put and used after the offender, and all is read in one go."""
    resting = Resting()
    workshop = open_workshop(journal=resting)
    workshop.play_many(2)
    workshop.settle()
    resting.asleep = True
    offender = append_unreadable(workshop, "bad")
    terms = pb.Model(name="new", model_class="small", input_usd_per_mtok=0.1, output_usd_per_mtok=0.1)
    workshop.admin.put_model(terms, workshop.call())
    only = pb.Constraints(allow=["new", "gpt-5"])
    workshop.decide("good", tool_type="search", constraints=only)
    workshop.end("good", 1.0)
    resting.asleep = False
    newest = workshop.settle()
    workshop.wait_for(lambda: len(exclusions(workshop)) == 1)
    assert [position for position, _ in exclusions(workshop)] == [offender]
    assert newest.statistics.joins["learned"] == 3
    newest = workshop.settle()
    assert same(newest, replayed(workshop.journal, newest.version))


class Resting(MemoryJournal):
    """A journal in memory that the learner cannot follow for a while; whoever reads other records can."""

    def __init__(self) -> None:
        super().__init__()
        self.asleep = False

    def read(self, *args: object, **options: object) -> list[journal_pb2.JournalRecord]:
        """As the journal in memory, unless asleep."""
        if self.asleep and options.get("bodies") == LESSON_BODIES:
            raise JournalUnavailable("asleep")
        return super().read(*args, **options)  # type: ignore[arg-type]  # passed on as they came


def test_a_change_of_the_fold_that_meets_an_outage_is_made_when_the_journal_is_back(open_workshop: Open):
    """A roll back whose episodes cannot be read yet must not be forgotten."""
    journal = Away()
    workshop = open_workshop(journal=journal, keep_snapshots=1)
    workshop.play_many(4)
    good = workshop.settle()
    workshop.play_many(2, first=4)
    workshop.settle()
    journal.away = True
    position = workshop.admin.roll_back(POLICY, good.version, workshop.call())
    workshop.wait_for(lambda: journal.refused > 2)
    journal.away = False
    back = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
    assert predictions(back) == predictions(good)


def test_while_the_journal_is_away_the_learner_asks_again_at_its_interval_and_not_all_the_time(open_workshop: Open):
    """Ten milliseconds here: some dozen attempts in a quarter of a second, not thousands."""
    journal = Away()
    workshop = open_workshop(journal=journal)
    workshop.decide("e", tool_type="search")
    journal.away = True
    workshop.end("e", 1.0)
    time.sleep(0.25)
    assert 1 < journal.refused < 50
    journal.away = False
    assert workshop.joins()["learned"] == 1


def test_an_offender_that_could_not_be_excluded_at_once_is_excluded_when_the_journal_is_back(open_workshop: Open):
    """The disk is full just then: the spoilt fold is not published, and is folded again."""
    journal = Away()
    workshop = open_workshop(journal=journal)
    workshop.play_many(2)
    workshop.settle()
    journal.full = True
    offender = append_unreadable(workshop, "bad")
    workshop.learner.wake()
    workshop.wait_for(lambda: journal.refused > 1)
    assert exclusions(workshop) == []
    journal.full = False
    newest = workshop.wait_for(lambda: workshop.audience.published_versions[-1].statistics.joins["excluded"] == 1)
    assert [position for position, _ in exclusions(workshop)] == [offender]
    assert same(newest, replayed(journal, newest.version))


class Away(MemoryJournal):
    """A journal in memory whose episodes cannot be read, or that takes no exclusion, for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.full = False
        self.refused = 0

    def append(self, record: journal_pb2.JournalRecord, *, durable: bool = False, placed: bool = False) -> Appended:
        """As the journal in memory, unless full."""
        if self.full and record.HasField("exclusion"):
            self.refused += 1
            raise JournalUnavailable("full")
        return super().append(record, durable=durable, placed=placed)

    def episode(self, policy: str, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """As the journal in memory, unless away."""
        if self.away:
            self.refused += 1
            raise JournalUnavailable("away")
        return super().episode(policy, episode_id)


@pytest.mark.parametrize("options", [DIVERGING, "--coin --beta 2", "--bfgs"])
def test_options_that_make_no_learner_refuse_the_start_and_are_named(open_workshop: Open, options: str):
    """Whether Vowpal Wabbit does not know them, cannot use them here, or goes astray on the prior."""
    with pytest.raises(StartRefused, match=r"policies\.default\.lesson\.vw_options"):
        open_workshop(configured(lesson_settings=lesson(vw_options=options)))


def test_a_learner_that_folds_anew_stops_when_told_and_the_next_start_does_it_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    """A journal of millions would hold a shutdown up for minutes."""
    workshop.play_many(6)
    before = workshop.settle()
    real, folded = Fold.take, list[int]()

    def slowly(fold: Fold, record: journal_pb2.JournalRecord, journal: Journal) -> Join:
        folded.append(record.position)
        if len(folded) == 3:
            workshop.learner._stopping = True
        return real(fold, record, journal)

    monkeypatch.setattr(Fold, "take", slowly)
    workshop.admin.roll_back("default", 0, workshop.call())
    workshop.wait_for(lambda: len(folded) == 3)
    workshop.close()
    assert len(folded) == 3
    assert workshop.audience.published_versions[-1] is before
    monkeypatch.setattr(Fold, "take", real)
    workshop.open()
    assert workshop.settle().statistics.episodes == 0


def test_a_start_reads_the_ends_of_other_policies_episodes_once(open_workshop: Open, monkeypatch: pytest.MonkeyPatch):
    """It read them again for each 10,000 rows, so that ten million rows of others held a start up for an hour."""
    journal, rows, read = MemoryJournal(), 40_000, list[int]()
    for number in range(rows):
        outcome = journal_pb2.OutcomeRecord(request=router_pb2.ReportOutcomeRequest(score=1.0))
        journal.append(journal_pb2.JournalRecord(policy="other", episode_id=str(number), outcome=outcome))
    real = MemoryJournal.read

    def noted(journal: MemoryJournal, after: int, **limits: Any) -> list[journal_pb2.JournalRecord]:
        found = real(journal, after, **limits)
        read.append(len(found))
        return found

    monkeypatch.setattr(MemoryJournal, "read", noted)
    open_workshop(configured(), journal=journal)
    assert rows <= sum(read) < 1.5 * rows
