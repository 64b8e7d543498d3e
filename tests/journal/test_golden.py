"""Journals of earlier builds, kept as files: whoever opens one finds what was learned, and goes on.

A new one is made when the schema changes or records get a new meaning; old ones stay. `schema-1`: ten episodes, one of
them by a reporter that was undone later, an open one, and a snapshot that no later build can read.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sojourn.v1 import journal_pb2
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.upkeep.comparison import compare
from sojourn_server.upkeep.erasure import erase_features
from tests.learner.workshop import POLICY, Workshop, configured, lesson, predictions

GOLDEN = Path(__file__).parent / "golden"
FIRST_SCORES = [
    -0.04144032299518585,
    0.011008256115019321,
    -0.03257650509476662,
    -0.008538283407688141,
    -0.040947891771793365,
]
TOLERANCE = 1e-3  # of another processor or another version of Vowpal Wabbit


def test_an_older_journal_is_opened_replayed_and_goes_on(tmp_path: Path):
    shutil.copytree(GOLDEN / "schema-1", tmp_path / "old")
    journal = SqliteJournal.open(tmp_path / "old")
    workshop = Workshop(
        tmp_path / "old" / "snapshots", configured(lesson_settings=lesson(weight_bits=10)), journal=journal
    )
    try:
        known = workshop.settle()
        assert known.version == journal.position() >= 79  # settings of today are added to what the file holds
        assert (known.statistics.episodes, known.statistics.joins["excluded"]) == (9, 1)
        assert predictions(known)[0][0][:5] == pytest.approx(FIRST_SCORES, abs=TOLERANCE)
        assert workshop.decide("open", 1, tool_type="search").model
        workshop.end("open", 0.5)
        assert workshop.settle().statistics.episodes == 10
        workshop.close()
        newest = workshop.store.load(POLICY, workshop.store.versions(POLICY)[0])
        assert compare(journal, newest, POLICY).same
        assert erase_features(journal, POLICY, before_ms=2**50, now_ms=2**50) == 62
    finally:
        workshop.close()
        journal.close()


def test_numbers_of_the_contract_stay_with_their_names():
    """A record's kind is stored by its place in the contract, so new kinds go behind the old ones."""
    body = journal_pb2.JournalRecord.DESCRIPTOR.oneofs_by_name["body"]
    assert [f.name for f in body.fields][:10] == [
        "decision",
        "turn",
        "outcome",
        "episode_expired",
        "settings",
        "mode",
        "model_put",
        "model_removed",
        "exclusion",
        "admin_call",
    ]
