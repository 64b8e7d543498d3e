"""Retention takes features out and nothing else: weights, replay, savings and repeats stay what they were."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sojourn.v1 import admin_pb2, journal_pb2
from sojourn_server.errors import BrokenSnapshot, EpisodeEnded, JournalUnavailable, LessonsErased, UnknownSnapshot
from sojourn_server.evaluation.answer import answer
from sojourn_server.evaluation.savings import read_assigned
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.upkeep import erasure
from sojourn_server.upkeep.comparison import compare
from sojourn_server.upkeep.erasure import erase_features
from sojourn_server.upkeep.retention import DAY_MS, Retention
from sojourn_server.world import PolicyState, read_world
from tests.learner.workshop import POLICY, Workshop, configured, lesson, predictions, same
from tests.upkeep.conftest import OLD_EPISODES

WAIT_S = 20.0


def retain(workshop: Workshop, before_ms: int | None = None) -> int:
    before_ms = workshop.now_ms + 1 if before_ms is None else before_ms
    return erase_features(workshop.journal, POLICY, before_ms=before_ms, now_ms=workshop.now_ms)


def state(workshop: Workshop) -> PolicyState:
    return read_world(workshop.journal).policies[POLICY]


def folded(workshop: Workshop) -> Published:
    """The policy from its journal alone."""
    journal = workshop.journal
    fold = Fold.begin(POLICY, read_world(journal), journal, until=journal.position())
    fold.catch_up(journal, journal.position())
    return Published.of(fold.snapshot(created_at_ms=0), fold.state.settings.lesson)


def without_snapshots(workshop: Workshop) -> None:
    """A restart that has nothing but the journal."""
    workshop.close()
    for version in workshop.store.versions(POLICY):
        workshop.store._path(POLICY, version).unlink()
    workshop.open()


def ended_at(workshop: Workshop, episode_id: str) -> int:
    return workshop.journal.episode(POLICY, episode_id)[-1].position


def test_features_go_and_what_was_chosen_stays(workshop: Workshop):
    before = workshop.decisions()
    assert retain(workshop) == 6 * OLD_EPISODES
    after = workshop.decisions()
    assert [r.features_erased for r in after] == [True] * 6 * OLD_EPISODES + [False]
    assert after[-1] == before[-1]
    for old, new in zip(before, after, strict=True):
        assert new.decision.answer == old.decision.answer
        assert new.decision.inputs.cohort == old.decision.inputs.cohort
        assert new.position == old.position
    context = after[0].decision.request.context
    assert before[0].decision.request.context.tool_type
    assert (context.task_type, context.tool_type, context.prompt_tokens) == ("t", "", 0)
    assert not after[0].decision.inputs.candidates


def test_what_was_learned_is_rebuilt_bit_for_bit_from_the_journal_alone(workshop: Workshop):
    before = workshop.settle()
    retain(workshop)
    assert same(folded(workshop), before)
    workshop.play_many(6, first=100)
    live = workshop.settle()
    assert same(folded(workshop), live)
    without_snapshots(workshop)
    assert same(workshop.settle(), live)


def test_an_episode_that_was_open_keeps_its_features_and_teaches_as_ever(workshop: Workshop, tmp_path: Path):
    other = Workshop(tmp_path / "other")
    try:
        other.play_many(OLD_EPISODES)
        other.decide("open", tool_type="code", features={"secret_feature": 1.0}, tool_name="secret_tool")
        other.settle()
        retain(workshop)
        for each in (workshop, other):
            each.end("open", 0.0)
        assert predictions(workshop.settle()) == predictions(other.settle())
        assert folded(workshop).statistics == other.settle().statistics
    finally:
        other.close()


def test_nothing_of_it_is_left_in_the_files(workshop: Workshop, tmp_path: Path):
    workshop.end("open", 1.0)
    workshop.settle()
    files = tmp_path / "journal"
    assert any(b"secret_tool" in path.read_bytes() for path in files.iterdir())
    retain(workshop)
    for path in files.iterdir():
        assert b"secret_tool" not in path.read_bytes(), path
        assert b"secret_feature" not in path.read_bytes(), path


def test_only_episodes_that_ended_before_the_time_lose_features_and_the_next_pass_goes_on(workshop: Workshop):
    ends = [ended_at(workshop, f"e{i}") for i in range(OLD_EPISODES)]
    times = [workshop.journal.episode(POLICY, f"e{i}")[-1].received_at_ms for i in range(OLD_EPISODES)]
    assert retain(workshop, times[4]) == 6 * 4
    assert state(workshop).erased_through == ends[3]
    assert retain(workshop, times[4]) == 0
    assert retain(workshop, times[7]) == 6 * 3
    assert state(workshop).erased_through == ends[6]
    assert same(folded(workshop), workshop.settle())


def test_a_newer_base_empties_the_older_ones(workshop: Workshop):
    retain(workshop, workshop.journal.episode(POLICY, "e4")[-1].received_at_ms)
    retain(workshop)
    old, new = workshop.journal.read(0, bodies={"base"})
    assert (len(old.base.snapshot.score_regressor), old.base.snapshot.HasField("statistics")) == (0, False)
    assert len(new.base.snapshot.score_regressor) > 0


def test_a_pass_that_was_cut_off_is_finished_by_the_next(workshop: Workshop, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(erasure, "GROUP", 10)
    rewrite, calls = workshop.journal.rewrite, list[int]()

    def dying(records: Any) -> None:
        calls.append(len(records))
        if len(calls) == 2:
            raise JournalUnavailable("power went")
        rewrite(records)

    monkeypatch.setattr(workshop.journal, "rewrite", dying)
    with pytest.raises(JournalUnavailable):
        retain(workshop)
    monkeypatch.setattr(workshop.journal, "rewrite", rewrite)
    left = [r for r in workshop.decisions()[:-1] if not r.features_erased]
    assert 0 < len(left) < 6 * OLD_EPISODES
    assert same(folded(workshop), workshop.settle())
    assert retain(workshop) == len(left)
    assert len(workshop.journal.read(0, bodies={"base"})) == 1
    assert same(folded(workshop), workshop.settle())


def test_repeats_are_answered_as_far_as_there_is_something_to_compare(workshop: Workshop):
    retain(workshop)
    with pytest.raises(EpisodeEnded, match="features of its turns are erased"):
        workshop.decide("e1", 2, tool_type="code")
    with pytest.raises(EpisodeEnded):
        workshop.decide("e1", 9)
    last = workshop.journal.episode(POLICY, "e1")[-1].outcome.request
    assert workshop.router.report_outcome(last, workshop.call()).joined_decisions == 6


def test_savings_read_the_same_afterwards(workshop: Workshop):
    before = list(read_assigned(workshop.journal, POLICY))
    retain(workshop)
    assert list(read_assigned(workshop.journal, POLICY)) == before
    assert len(before) == OLD_EPISODES + 1


def test_exclusions_reach_back_to_what_still_has_features_and_not_further(workshop: Workshop):
    middle = ended_at(workshop, "e3")
    retain(workshop, workshop.journal.episode(POLICY, "e4")[-1].received_at_ms)
    with pytest.raises(LessonsErased, match=f"policy_version: must be at least {middle}"):
        workshop.admin.roll_back(POLICY, middle - 1, workshop.call())
    undo = admin_pb2.UndoReporterRequest(reporter="forger", after_position=middle - 1)
    with pytest.raises(LessonsErased, match="after_position"):
        workshop.admin.undo_reporter(undo, workshop.call())
    position = workshop.admin.roll_back(POLICY, middle, workshop.call())
    live = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
    assert live.statistics.episodes == 4
    assert predictions(folded(workshop)) == predictions(live)


def test_a_base_that_missed_an_exclusion_is_no_base_and_nothing_is_erased_for_it(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    middle, append = ended_at(workshop, "e3"), workshop.journal.append

    def overtaken(record: journal_pb2.JournalRecord, **options: bool) -> Any:
        if record.HasField("base"):
            monkeypatch.setattr(workshop.journal, "append", append)
            workshop.admin.roll_back(POLICY, middle, workshop.call())
        return append(record, **options)

    monkeypatch.setattr(workshop.journal, "append", overtaken)
    assert retain(workshop) == 0
    assert state(workshop).erased_through == 0
    assert folded(workshop).statistics.episodes == 4
    assert retain(workshop) == 6 * OLD_EPISODES
    assert folded(workshop).statistics.episodes == 4


def test_replay_is_exact_from_the_base_on_and_says_so_before(workshop: Workshop):
    workshop.play_many(3, first=50)
    versions = [workshop.settle().version, *workshop.store.versions(POLICY)]
    retain(workshop, workshop.journal.episode(POLICY, "e6")[-1].received_at_ms)
    begins_at = state(workshop).begins_at(10**9)
    assert min(versions) < begins_at < max(versions)
    for version in versions:
        snapshot = workshop.store.load(POLICY, version)
        if version < begins_at:
            with pytest.raises(BrokenSnapshot, match=f"exact from version {begins_at} on"):
                compare(workshop.journal, snapshot, POLICY)
        else:
            found = compare(workshop.journal, snapshot, POLICY)
            assert found.same
            assert found.predictions > 0


def test_evaluation_leaves_out_what_it_cannot_rebuild_and_counts_it(workshop: Workshop):
    workshop.play_many(3, first=50)
    workshop.settle()
    whole = answer(workshop.journal, admin_pb2.EvaluatePolicyRequest())
    retain(workshop, workshop.journal.episode(POLICY, "e6")[-1].received_at_ms)
    found = answer(workshop.journal, admin_pb2.EvaluatePolicyRequest())
    lost = found.left_out["decided by a version that cannot be rebuilt any more"]
    assert found.episodes + lost == whole.episodes
    assert 6 <= lost < whole.episodes
    [logged] = [e for e in found.evaluations if e.name == "as logged"]
    assert logged.mean_weight == pytest.approx(1.0)
    with pytest.raises(UnknownSnapshot, match="cannot be rebuilt"):
        answer(workshop.journal, admin_pb2.EvaluatePolicyRequest(policy_version=5))
    assert answer(workshop.journal, admin_pb2.EvaluatePolicyRequest(policy_version=0)).episodes == found.episodes


def test_another_lesson_begins_at_the_base_with_its_prior(workshop: Workshop):
    retain(workshop)
    begins_at = state(workshop).begins_at(10**9)
    workshop.restart(configured(lesson_settings=lesson(turns_cap=90)))
    fresh = workshop.settle()
    assert (fresh.version >= begins_at, fresh.statistics.episodes) == (True, 0)
    workshop.play_many(3, first=200)
    assert workshop.settle().statistics.episodes == 3
    assert same(folded(workshop), workshop.settle())


@pytest.mark.parametrize(
    ("change", "episodes"),
    [
        (lambda s: s.__setattr__("platform", "vowpalwabbit 8 on vax"), OLD_EPISODES),
        (lambda s: s.probes.__setitem__(0, s.probes[0] + 1e-9), 0),
        (lambda s: s.__setattr__("score_regressor", b""), 0),
    ],
    ids=["another platform", "probes that differ", "no weights"],
)
def test_a_base_of_another_platform_will_do_and_a_broken_one_leaves_the_prior(
    workshop: Workshop, change: Callable[[Any], None], episodes: int
):
    retain(workshop)
    [record] = workshop.journal.read(0, bodies={"base"})
    change(record.base.snapshot)
    workshop.journal.rewrite([record])
    without_snapshots(workshop)
    assert workshop.settle().statistics.episodes == episodes
    workshop.play_many(3, first=300)
    assert workshop.settle().statistics.episodes == episodes + 3


def test_the_thread_erases_by_itself_and_a_fault_is_counted_and_tried_again(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("sojourn_server.upkeep.retention.PASS_S", 0.01)
    failures = list[str]()
    real, broken = erasure.erase_features, [True]

    def now_and_then(*args: Any, **options: Any) -> int:
        if broken.pop() if broken else False:
            raise ValueError("a fault inside")
        return real(*args, **options)

    monkeypatch.setattr("sojourn_server.upkeep.retention.erase_features", now_and_then)
    retention = Retention(workshop.journal, days=1, now_ms=lambda: workshop.now_ms + DAY_MS + 1, fault=failures.append)
    retention.start()
    deadline = time.monotonic() + WAIT_S
    while sum(r.features_erased for r in workshop.decisions()) < 6 * OLD_EPISODES:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    retention.close()
    assert failures == ["retention_failed"]
