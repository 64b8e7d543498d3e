"""What is left after a disaster, held against what callers were told: nothing lost or doubled, the fold the same."""

from __future__ import annotations

import sqlite3
from collections import Counter
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from math import inf
from pathlib import Path

from sojourn.v1 import journal_pb2
from sojourn_server.errors import BrokenSnapshot
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.learner.snapshot import SnapshotStore
from sojourn_server.upkeep.comparison import compare

POLICY = "default"
TERMINAL_JOINS = ("learned", "no_decisions", "nothing_learnable", "abandoned", "late", "quarantined")
"""What can become of an outcome."""


@dataclass(frozen=True)
class Findings:
    """Counts of what should not be, all 0 if every promise was kept, and how much was looked at."""

    outcomes: int
    lost_outcomes: int
    lost_decisions: int
    repeated: int
    replay_max_abs_difference: float
    not_learned_once: int

    @property
    def sound(self) -> bool:
        """Whether every promise was kept."""
        return not any(
            (
                self.lost_outcomes,
                self.lost_decisions,
                self.repeated,
                self.replay_max_abs_difference,
                self.not_learned_once,
            )
        )


def audit(
    data: Path, outcomes: Mapping[str, float], decisions: Mapping[tuple[str, int], str] | None = None
) -> Findings:
    """Opens a journal that no server holds and compares it with what was acknowledged.

    The newest snapshot must be the fold of the journal to the last bit, and must have counted each outcome up to its
    position once. Raises AssertionError if SQLite itself finds the file damaged.
    """
    with closing(SqliteJournal.open(data)) as journal:  # opening recovers what a crash left half done
        found_outcomes, found_decisions, positions = _recorded(journal)
        _check_file(data)
        difference, not_once = _compared(journal, data, positions)
    lost = sum(found_outcomes.get(episode) != [score] for episode, score in outcomes.items())
    changed = sum(found_decisions.get((*key, 0)) != [model] for key, model in (decisions or {}).items())
    twice = sum(len(scores) > 1 for scores in found_outcomes.values())
    twice += sum(len(models) > 1 for models in found_decisions.values())
    return Findings(len(outcomes), lost, changed, twice, difference, not_once)


def _recorded(
    journal: SqliteJournal,
) -> tuple[dict[str, list[float]], dict[tuple[str, int, int], list[str]], dict[str, int]]:
    """Scores and the position by episode, models by (episode, turn, attempt); a list of two would be two records."""
    outcomes: dict[str, list[float]] = {}
    decisions: dict[tuple[str, int, int], list[str]] = {}
    positions: dict[str, int] = {}
    position = 0
    while records := journal.read(position):
        for record in records:
            position = record.position
            if record.HasField("outcome") and record.policy == POLICY:
                outcomes.setdefault(record.episode_id, []).append(record.outcome.request.score)
                positions[record.episode_id] = position
            if record.HasField("decision"):
                decisions.setdefault(_key(record), []).append(record.decision.answer.model)
    return outcomes, decisions, positions


def _key(record: journal_pb2.JournalRecord) -> tuple[str, int, int]:
    request = record.decision.request
    return record.episode_id, request.turn_index, request.attempt


def _check_file(data: Path) -> None:
    with closing(sqlite3.connect(data / "journal.sqlite3")) as connection:
        (verdict,) = connection.execute("PRAGMA integrity_check").fetchone()
    assert verdict == "ok", verdict


def _compared(journal: SqliteJournal, data: Path, positions: Mapping[str, int]) -> tuple[float, int]:
    """How far the newest snapshot lies from the fold, and by how many outcomes its counts are wrong; 0 without one.

    A snapshot that is there is whole, whatever happened: a broken one lies infinitely far away.
    """
    store = SnapshotStore(data / "snapshots", keep=5)
    versions = store.versions(POLICY)
    if not versions:
        return 0.0, 0
    try:
        snapshot = store.load(POLICY, versions[0])
        comparison = compare(journal, snapshot, POLICY)
    except BrokenSnapshot:
        return inf, 0
    joins = Counter(dict(snapshot.statistics.joins))
    counted = sum(joins[state] for state in TERMINAL_JOINS)
    due = sum(position <= snapshot.position for position in positions.values())
    wrong = abs(counted - due) + abs(joins["learned"] + joins["nothing_learnable"] - snapshot.statistics.episodes)
    return comparison.max_abs_difference if comparison.counts_equal else inf, wrong
