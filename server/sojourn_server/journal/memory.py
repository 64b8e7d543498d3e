"""The journal in memory: the public test double. Nothing survives the process.

Records are kept serialised, so that a caller's later changes to a message cannot reach them.
"""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Collection, Sequence

from sojourn.v1 import journal_pb2
from sojourn_server.errors import JournalUnavailable
from sojourn_server.journal.journal import Appended, episode_key, key_of

Record = journal_pb2.JournalRecord


class MemoryJournal:
    """Keeps records in lists."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: list[bytes] = []  # owned under _lock, as all below
        self._bodies: list[str] = []
        self._position_of_key: dict[bytes, int] = {}
        self._positions_of_episode: dict[bytes, list[int]] = defaultdict(list)
        self._openings: dict[str, list[int]] = defaultdict(list)
        self._closed = False

    def append(self, record: Record, *, durable: bool = False, placed: bool = False) -> Appended:
        """See Journal.append; durability means nothing here, and every record is placed at once."""
        key = key_of(record)
        with self._lock:
            if self._closed:
                raise JournalUnavailable("the journal is closed")
            taken = self._position_of_key.get(key) if key else None
            if taken is not None:
                return Appended(taken, self._at(taken))
            return Appended(self._add(record, key), None)

    def _add(self, record: Record, key: bytes | None) -> int:
        self._records.append(record.SerializeToString())
        self._bodies.append(record.WhichOneof("body") or "")
        position = len(self._records)
        if key:
            self._position_of_key[key] = position
        if record.episode_id:
            positions = self._positions_of_episode[episode_key(record.policy, record.episode_id)]
            if not positions:
                self._openings[record.policy].append(position)
            positions.append(position)
        return position

    def rewrite(self, records: Sequence[Record]) -> None:
        """See Journal.rewrite."""
        with self._lock:
            for record in records:
                place = record.position
                self._records[place - 1] = record.SerializeToString()
                self._bodies[place - 1] = record.WhichOneof("body") or ""
                if not record.episode_id:
                    self._openings[record.policy] = [p for p in self._openings[record.policy] if p != place]

    def _at(self, position: int) -> Record:
        record = Record.FromString(self._records[position - 1])
        record.position = position
        return record

    def get(self, key: bytes) -> Record | None:
        """See Journal.get."""
        with self._lock:
            position = self._position_of_key.get(key)
            return self._at(position) if position else None

    def episode(self, policy: str, episode_id: str) -> list[Record]:
        """See Journal.episode."""
        with self._lock:
            return [self._at(p) for p in self._positions_of_episode.get(episode_key(policy, episode_id), ())]

    def read(self, after: int, *, bodies: Collection[str] | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.read."""
        with self._lock:
            wanted = (
                p for p in range(after + 1, len(self._records) + 1) if bodies is None or self._bodies[p - 1] in bodies
            )
            return [self._at(p) for p, _ in zip(wanted, range(limit), strict=False)]

    def openings(self, policy: str, *, after: int = 0, before: int | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.openings."""
        with self._lock:
            positions = self._openings.get(policy, [])
            if before is not None:
                positions = [p for p in reversed(positions) if p < before]
            return [self._at(p) for p in [p for p in positions if p > after][:limit]]

    def is_quick(self) -> bool:
        """See Journal.is_quick."""
        return True

    def position(self) -> int:
        """See Journal.position."""
        with self._lock:
            return len(self._records)

    def close(self) -> None:
        """Refuses appends from here on."""
        with self._lock:
            self._closed = True
