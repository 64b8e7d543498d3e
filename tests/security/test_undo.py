"""Law: undoing a reporter gives, bit for bit, the policy of a journal whose outcomes by it were never learned."""

from __future__ import annotations

from pathlib import Path

from sojourn.v1 import admin_pb2, journal_pb2
from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.router import DEFAULT_POLICY, Call
from sojourn_server.world import read_world
from tests.learner.workshop import Workshop, predictions


def _folded(journal: Journal) -> Published:
    fold = Fold.prior(DEFAULT_POLICY, read_world(journal))
    fold.catch_up(journal, journal.position())
    return Published(fold.position, fold.bandit, fold.counts)


def _play(workshop: Workshop, episode_id: str, seed: int, reporter: str) -> None:
    workshop.reporter = reporter
    workshop.play(episode_id, seed)


def _copied(journal: Journal, *, quarantine: str) -> Journal:
    """The same records, as if that reporter had never been trusted; without the exclusion."""
    copy = MemoryJournal()
    for record in journal.read(0, limit=10**6):
        if record.HasField("exclusion"):
            continue
        again = journal_pb2.JournalRecord()
        again.CopyFrom(record)
        if again.HasField("outcome") and again.reporter == quarantine:
            again.outcome.quarantined = True
        copy.append(again)
    return copy


def test_undo_equals_never_having_learned(tmp_path: Path):
    workshop = Workshop(tmp_path)
    try:
        for i in range(12):
            _play(workshop, f"e{i}", i, "forger" if i % 3 == 0 else "judge")
        workshop.settle()
        before = predictions(_folded(workshop.journal))
        position = workshop.admin.undo_reporter(admin_pb2.UndoReporterRequest(reporter="forger"), Call(workshop.now_ms))
        live = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
        undone, untrusting = _folded(workshop.journal), _folded(_copied(workshop.journal, quarantine="forger"))
        assert predictions(undone) == predictions(untrusting) == predictions(live)
        assert predictions(undone) != before
        assert dict(undone.statistics.joins)["excluded"] == dict(untrusting.statistics.joins)["quarantined"] == 4
        assert undone.statistics.episodes == untrusting.statistics.episodes == 8
    finally:
        workshop.close()


def test_an_undo_from_a_position_on_keeps_what_was_reported_before(tmp_path: Path):
    workshop = Workshop(tmp_path)
    try:
        _play(workshop, "early", 1, "judge")
        middle = workshop.journal.position()
        _play(workshop, "late", 2, "judge")
        workshop.admin.undo_reporter(
            admin_pb2.UndoReporterRequest(reporter="judge", after_position=middle), Call(workshop.now_ms)
        )
        joins = dict(_folded(workshop.journal).statistics.joins)
        assert (joins["learned"], joins["excluded"]) == (1, 1)
    finally:
        workshop.close()
