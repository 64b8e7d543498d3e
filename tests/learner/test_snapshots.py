"""Snapshots on disk: only a sound one is used, a broken one costs nothing but time, and the log says so."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from structlog.testing import capture_logs

from sojourn.v1 import snapshot_pb2
from sojourn_server.config import LessonSettings
from sojourn_server.errors import BrokenSnapshot, UnknownSnapshot
from sojourn_server.learner.snapshot import Published, SnapshotStore, decode, encode
from tests.learner.workshop import POLICY, Workshop, predictions, replayed, same, versions

Open = Callable[..., Workshop]
MAGIC_BYTES = 8


@pytest.fixture
def learned(open_workshop: Open) -> Workshop:
    """Closed after five episodes, with several snapshots on disk."""
    workshop = open_workshop(publish_outcomes=2)
    workshop.play_many(5)
    workshop.settle()
    workshop.close()
    return workshop


def newest_file(workshop: Workshop) -> Path:
    """The file of the newest version."""
    version = workshop.store.versions(POLICY)[0]
    (found,) = workshop.store._directory.glob(f"*/{version:020d}.snapshot")
    return found


def truncated(data: bytes) -> bytes:
    return data[: len(data) // 2]


def flipped(data: bytes) -> bytes:
    return data[:-100] + bytes([data[-100] ^ 1]) + data[-99:]


def of_another_format(data: bytes) -> bytes:
    return b"SOJOURN9" + data[MAGIC_BYTES:]


def changed(data: bytes, **fields: Any) -> bytes:
    """A file whose digest is right but whose contents are not ours."""
    snapshot = decode(data)
    snapshot.MergeFrom(snapshot_pb2.Snapshot(**fields))
    return encode(snapshot)


def with_other_weights(data: bytes) -> bytes:
    snapshot = decode(data)
    swapped = snapshot_pb2.Snapshot()
    swapped.CopyFrom(snapshot)
    swapped.score_regressor, swapped.turns_regressor = snapshot.turns_regressor, snapshot.score_regressor
    return encode(swapped)


BREAKAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda _: b"",
    "truncated": truncated,
    "one bit flipped": flipped,
    "another format": of_another_format,
    "another platform": lambda data: changed(data, platform="vowpalwabbit 8 on vax"),
    "probes that differ": lambda data: changed(data, probes=[0.0]),
    "other weights": with_other_weights,
}


@pytest.mark.parametrize("breakage", BREAKAGES.values(), ids=BREAKAGES)
def test_a_broken_newest_snapshot_gives_way_to_the_one_before_and_the_log_says_so(
    learned: Workshop, breakage: Callable[[bytes], bytes]
):
    """With the same predictions: what lies between is folded again."""
    before = learned.audience.published_versions[-1]
    file = newest_file(learned)
    file.write_bytes(breakage(file.read_bytes()))
    with capture_logs() as logs:
        learned.open()
    rejected = [entry["version"] for entry in logs if entry["event"] == "snapshot_rejected"]
    assert rejected == [before.version]
    assert "policy_starts_from_prior" not in {entry["event"] for entry in logs}
    assert learned.audience.faults == ["snapshot_rejected"]
    assert same(before, learned.audience.published_versions[-1])


def test_a_snapshot_of_another_lesson_is_passed_by_without_alarm(learned: Workshop):
    before = learned.audience.published_versions[-1]
    file = newest_file(learned)
    file.write_bytes(changed(file.read_bytes(), lesson_digest="another"))
    with capture_logs() as logs:
        learned.open()
    assert "snapshot_of_another_lesson" in {entry["event"] for entry in logs}
    assert learned.audience.faults == []
    assert same(before, learned.audience.published_versions[-1])


def test_without_any_sound_snapshot_the_policy_is_folded_from_its_prior_and_the_log_says_so(learned: Workshop):
    before = learned.audience.published_versions[-1]
    for version in learned.store.versions(POLICY):
        learned.store._path(POLICY, version).write_bytes(b"garbage")
    with capture_logs() as logs:
        learned.open()
    assert "policy_starts_from_prior" in {entry["event"] for entry in logs}
    assert same(before, learned.audience.published_versions[-1])


def test_a_snapshot_of_records_that_the_journal_does_not_have_is_not_used(learned: Workshop, open_workshop: Open):
    """As when the journal was restored from an older copy than the snapshots."""
    fresh = open_workshop()
    fresh.close()
    for version in learned.store.versions(POLICY):
        fresh.store.save(learned.store.load(POLICY, version))
    fresh.open()
    assert fresh.audience.published_versions[-1].version == 0
    assert same(fresh.audience.published_versions[-1], replayed(fresh.journal, 0))


def test_a_half_written_file_of_a_crash_is_no_snapshot(learned: Workshop):
    leftover = newest_file(learned).with_suffix(".tmp")
    leftover.write_bytes(b"half")
    before = learned.audience.published_versions[-1]
    with capture_logs() as logs:
        learned.open()
    assert [entry for entry in logs if entry["event"] == "snapshot_rejected"] == []
    assert same(before, learned.audience.published_versions[-1])


def test_only_the_newest_snapshots_are_kept(open_workshop: Open):
    workshop = open_workshop(publish_outcomes=1, keep_snapshots=3)
    workshop.play_many(8)
    newest = workshop.settle()
    stored = workshop.store.list(POLICY)
    assert [s.version for s in stored] == sorted((s.version for s in stored), reverse=True)
    assert len(stored) == 3
    assert stored[0].version == newest.version
    assert all(s.size_bytes > 0 and s.created_at_ms > 0 for s in stored)


def test_a_store_that_cannot_be_written_costs_the_stored_copy_and_not_the_lesson(open_workshop: Open):
    """The directory is a file: every save fails, the policy learns on, and the log says so."""
    workshop = open_workshop()
    workshop.store._directory = workshop.store._directory.with_name("taken")
    workshop.store._directory.write_text("a file")
    with capture_logs() as logs:
        workshop.play_many(3)
        newest = workshop.settle()
    assert newest.statistics.joins["learned"] == 3
    assert "snapshot_not_stored" in {entry["event"] for entry in logs}


def test_a_snapshot_that_is_not_there_is_broken(tmp_path: Path):
    with pytest.raises(BrokenSnapshot, match="cannot be read"):
        SnapshotStore(tmp_path, keep=1).load(POLICY, 7)


def test_policies_with_odd_names_keep_their_snapshots_apart_and_inside_the_directory(learned: Workshop, tmp_path: Path):
    store = SnapshotStore(tmp_path / "odd", keep=2)
    snapshot = learned.store.load(POLICY, learned.store.versions(POLICY)[0])
    for name in ("../evil", "a/b", "a b", "."):
        snapshot.policy = name
        store.save(snapshot)
        assert store.load(name, snapshot.position) == snapshot
    assert len(list((tmp_path / "odd").glob("*/*.snapshot"))) == 4
    assert not list(tmp_path.glob("*evil*"))


def test_a_published_version_is_a_copy_that_later_lessons_do_not_touch(open_workshop: Open):
    workshop = open_workshop()
    workshop.play_many(3)
    published = workshop.settle()
    before, counted = predictions(published), published.statistics.episodes
    workshop.play_many(5, first=3)
    workshop.settle()
    assert predictions(published) == before
    assert published.statistics.episodes == counted


def test_a_stored_snapshot_opens_to_what_was_published(learned: Workshop):
    stored = learned.store.load(POLICY, learned.store.versions(POLICY)[0])
    lesson: LessonSettings = learned.router.world.policies[POLICY].settings.lesson
    assert same(Published.of(stored, lesson), learned.audience.published_versions[-1])


# --- Roll back ---


def test_rolling_back_gives_the_predictions_of_that_version_and_learns_on_from_there(open_workshop: Open):
    workshop = open_workshop(publish_outcomes=1)
    workshop.play_many(6)
    good = workshop.settle()
    workshop.play_many(6, first=6)
    worse = workshop.settle()
    position = workshop.admin.roll_back(POLICY, good.version, workshop.call())
    back = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
    assert predictions(back) == predictions(good) != predictions(worse)
    assert back.version == position
    assert back.statistics.joins == {**good.statistics.joins, "excluded": 6}
    workshop.play_many(3, first=12)
    learned_on = workshop.settle()
    assert learned_on.statistics.joins["learned"] == 9
    assert same(learned_on, replayed(workshop.journal, learned_on.version))
    workshop.restart()
    assert same(learned_on, workshop.audience.published_versions[-1])


def test_decisions_that_were_rolled_back_are_not_learned_by_an_outcome_that_comes_later(workshop: Workshop):
    """Rolling back to p leaves out (p, here], also of episodes that are still open."""
    workshop.play("before", 1)
    good = workshop.settle()
    workshop.decide("straddles", tool_type="search")
    position = workshop.admin.roll_back(POLICY, good.version, workshop.call())
    workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
    workshop.end("straddles", 0.0)
    settled = workshop.settle()
    assert settled.statistics.joins["no_decisions"] == 1
    assert predictions(settled) == predictions(good)


@pytest.mark.parametrize("keep_snapshots", [1, 50])
def test_rolling_back_needs_no_stored_snapshot(open_workshop: Open, keep_snapshots: int):
    """To the untaught prior, and to a version between two publications."""
    workshop = open_workshop(keep_snapshots=keep_snapshots)
    workshop.play_many(8)
    workshop.settle()
    for version in (workshop.journal.position() // 2, 0):
        position = workshop.admin.roll_back(POLICY, version, workshop.call())
        back = workshop.wait_for(lambda at=position: workshop.audience.published_versions[-1].version >= at)  # type: ignore[misc]  # of a default argument
        assert predictions(back) == predictions(replayed(workshop.journal, version))


def test_rolling_back_twice_leaves_out_what_either_left_out(open_workshop: Open):
    workshop = open_workshop(publish_outcomes=1)
    workshop.play_many(4)
    first = workshop.settle()
    workshop.play_many(4, first=4)
    second = workshop.settle()
    for version in (second.version, first.version):
        workshop.play(f"r{version}", seed=version)
        workshop.settle()
        position = workshop.admin.roll_back(POLICY, version, workshop.call())
        workshop.wait_for(lambda at=position: workshop.audience.published_versions[-1].version >= at)  # type: ignore[misc]  # of a default argument
    assert predictions(workshop.audience.published_versions[-1]) == predictions(first)
    workshop.restart()
    assert predictions(workshop.audience.published_versions[-1]) == predictions(first)


def test_versions_only_ever_grow_even_where_a_policy_goes_back(open_workshop: Open):
    workshop = open_workshop(publish_outcomes=1)
    workshop.play_many(6)
    workshop.settle()
    workshop.admin.roll_back(POLICY, 0, workshop.call())
    workshop.play_many(3, first=6)
    workshop.settle()
    numbers = versions(workshop.audience.published_versions)
    assert numbers == sorted(numbers)
    assert numbers[-1] > numbers[0]


def test_a_version_ahead_of_the_journal_is_unknown(workshop: Workshop):
    with pytest.raises(UnknownSnapshot, match="lies ahead of the journal"):
        workshop.admin.roll_back(POLICY, workshop.journal.position() + 1, workshop.call())
