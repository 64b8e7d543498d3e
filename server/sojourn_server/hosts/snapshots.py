"""Snapshots in PostgreSQL: stored by the learner of one term, refused once another host leads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from sojourn.v1 import snapshot_pb2
from sojourn_server.errors import BrokenSnapshot, JournalUnavailable
from sojourn_server.hosts.database import CHANNEL, Database, Lane
from sojourn_server.learner.snapshot import Stored, decode, encode

SAVE_S = 30.0
# FOR SHARE holds an election up until the snapshot is stored, so a term has either ended before or ends after.
_SAVE = """
INSERT INTO snapshots (term, policy, position, created_at_ms, snapshot)
SELECT $1, $2, $3, $4, $5 FROM (SELECT FROM head WHERE term = $1 FOR SHARE) AS ours
ON CONFLICT (policy, position) DO UPDATE
SET term = excluded.term, created_at_ms = excluded.created_at_ms, snapshot = excluded.snapshot RETURNING position
"""
_KEEP = """
DELETE FROM snapshots WHERE policy = $1
AND position NOT IN (SELECT position FROM snapshots WHERE policy = $1 ORDER BY position DESC LIMIT $2)
"""


class PostgresSnapshots:
    """The snapshots of all policies, for reading with `over`, for the leader of a term with `of_term`."""

    def __init__(self, database: Database, lane: Lane, *, keep: int, term: int) -> None:
        """Keeps the newest `keep` (>= 1) of each policy. Nobody leads in term 0."""
        self._database = database
        self._lane = lane
        self._keep = keep
        self._term = term

    @classmethod
    def over(cls, database: Database, *, keep: int) -> PostgresSnapshots:
        """The snapshots for reading."""
        return cls(database, database.lane(synchronous_commit="on"), keep=keep, term=0)

    def of_term(self, term: int) -> PostgresSnapshots:
        """The same snapshots, as the leader of a term may store them."""
        return PostgresSnapshots(self._database, self._lane, keep=self._keep, term=term)

    def save(self, snapshot: snapshot_pb2.Snapshot) -> None:
        """See Snapshots.save. Raises JournalUnavailable, also if the term is over."""
        self._database.run(self._save(snapshot))

    async def _save(self, snapshot: snapshot_pb2.Snapshot) -> None:
        values = (self._term, snapshot.policy, snapshot.position, snapshot.created_at_ms, encode(snapshot))
        async with self._lane.connection(timeout_s=SAVE_S) as connection, connection.transaction():
            if not await connection.fetch(_SAVE, *values):
                raise JournalUnavailable(f"term {self._term} is over: another host leads, and stores its snapshots")
            await connection.execute(_KEEP, snapshot.policy, self._keep)
            await connection.execute(f"NOTIFY {CHANNEL}")

    def load(self, policy: str, version: int) -> snapshot_pb2.Snapshot:
        """See Snapshots.load. Raises JournalUnavailable."""
        rows = self._fetch("SELECT snapshot FROM snapshots WHERE policy = $1 AND position = $2", policy, version)
        if not rows:
            raise BrokenSnapshot(f"there is no version {version}")
        return decode(rows[0]["snapshot"])

    def newest(self, policies: Iterable[str]) -> Mapping[str, int]:
        """See SharedSnapshots.newest."""
        sql = "SELECT policy, max(position) AS version FROM snapshots WHERE policy = ANY($1) GROUP BY policy"
        rows = self._fetch(sql, list(policies))
        return {row["policy"]: row["version"] for row in rows}

    def versions(self, policy: str) -> list[int]:
        """See Snapshots.versions. Raises JournalUnavailable."""
        return [stored.version for stored in self.list(policy)]

    def list(self, policy: str) -> Sequence[Stored]:
        """See Snapshots.list. Raises JournalUnavailable."""
        rows = self._fetch(
            "SELECT position, octet_length(snapshot), created_at_ms FROM snapshots WHERE policy = $1 "
            "ORDER BY position DESC",
            policy,
        )
        return [Stored(*row) for row in rows]

    def _fetch(self, sql: str, *values: Any) -> Sequence[Any]:
        return self._database.run(self._lane.fetch(sql, *values))
