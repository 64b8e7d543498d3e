"""The journal in SQLite: one writer at a time, natural group commit.

A thread that appends queues its record and takes the writing lock. Whoever gets it first commits all that is queued, in
one transaction; the others find their record committed. Nobody waits for a timer, and an idle journal commits at once.
Write-ahead logging with synchronous=NORMAL survives a killed process; a group that holds an outcome is committed with
synchronous=FULL, which syncs the log and with it everything before. A lock file refuses a second server.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import deque
from collections.abc import Collection, Sequence
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import IO, Any

from sojourn.v1 import journal_pb2
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.journal.disk import JOURNAL, connect, connect_for_reading, create, lock
from sojourn_server.journal.journal import BODY_CODES, EPISODE_BYTES, Appended, episode_key, key_of

Record = journal_pb2.JournalRecord
MAX_GROUP = 512
PATIENCE_S = 5.0
PAST_EPISODE = b"\x7f"  # sorts behind the letters that follow an episode's key
_INSERT = """
INSERT OR IGNORE INTO records (body, key, opens, record)
VALUES (?1, ?2, CASE WHEN NOT EXISTS (SELECT 1 FROM records WHERE key >= ?3 AND key < ?4) THEN ?5 END, ?6)
"""  # SQLite gives the next position, whichever process took the one before
_REWRITE = "UPDATE records SET body = ?1, record = ?2, opens = CASE WHEN ?3 THEN opens END WHERE position = ?4"
_CLOSED = "the journal is closed, or open for reading only"


class _Pending:
    """One append on its way; whoever commits it fills in `outcome`."""

    __slots__ = ("durable", "outcome", "row")

    def __init__(self, row: tuple[Any, ...], durable: bool) -> None:
        self.row = row
        self.durable = durable
        self.outcome: Appended | JournalUnavailable | None = None  # set under the journal's _writing


class SqliteJournal:
    """Keeps records in one file. Open with `SqliteJournal.open`, or beside its server with `open_read_only`."""

    def __init__(self, path: Path, *, read_only: bool, lock_file: IO[str] | None = None) -> None:
        """Takes a path whose schema exists, and the lock if it is held here. See `open`."""
        self._path = path
        self._lock_file = lock_file
        self._queue: deque[_Pending] = deque()
        self._writing = threading.Lock()  # held by the one thread that writes
        self._closed = read_only  # owned under _writing, as _connection
        self._reader = connect_for_reading(path) if read_only else connect(path)
        self._reader_lock = threading.Lock()
        if not read_only:
            self._connection = _connect_to_write(path)

    @classmethod
    def open(cls, directory: Path, *, lock_is_held: bool = False) -> SqliteJournal:
        """Opens or creates `journal.sqlite3` in a directory; `lock_is_held`: by whoever started this process.

        Raises StartRefused if another server holds the journal, or if it cannot be opened.
        """
        path = directory / JOURNAL
        with ExitStack() as until_open:
            try:
                directory.mkdir(parents=True, exist_ok=True)
                lock_file = None if lock_is_held else until_open.enter_context(lock(directory))
                create(path)
                journal = cls(path, read_only=False, lock_file=lock_file)
            except (OSError, sqlite3.Error) as error:
                raise StartRefused(f"cannot open the journal {path}: {error}") from error
            until_open.pop_all()
            return journal

    @classmethod
    def open_read_only(cls, directory: Path) -> SqliteJournal:
        """Opens a journal without its lock, also beside its server; appends are refused. Raises StartRefused."""
        path = directory / JOURNAL
        try:
            return cls(path, read_only=True)
        except (OSError, sqlite3.Error) as error:
            raise StartRefused(f"cannot read the journal {path}: {error}") from error

    def append(self, record: Record, *, durable: bool = False, placed: bool = False) -> Appended:
        """See Journal.append; every record is placed with its commit."""
        body = BODY_CODES[record.WhichOneof("body") or ""]
        pending = _Pending((body, *_names(record), record.SerializeToString()), durable)
        self._queue.append(pending)
        with self._writing:
            if self._closed:
                raise JournalUnavailable(_CLOSED)
            while pending.outcome is None:
                self._commit([self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))])
        if isinstance(pending.outcome, Appended):
            return pending.outcome
        raise JournalUnavailable(str(pending.outcome)) from pending.outcome

    def _commit(self, group: Sequence[_Pending]) -> None:
        """Commits a group; if that fails, nobody in it was acknowledged and everybody is told."""
        try:
            outcomes: Sequence[Appended | JournalUnavailable] = self._insert(group)
        except Exception as error:  # noqa: BLE001 - whatever it is, everybody waiting must be told
            self._undo()
            outcomes = [JournalUnavailable(f"the journal cannot be written: {error}")] * len(group)
        for pending, outcome in zip(group, outcomes, strict=True):
            pending.outcome = outcome

    def _insert(self, group: Sequence[_Pending]) -> list[Appended]:
        connection = self._connection
        durable = any(pending.durable for pending in group)
        if durable:
            connection.execute("PRAGMA synchronous=FULL")
        alone = len(group) == 1  # a single statement is a transaction by itself
        if not alone:
            self._patiently("BEGIN IMMEDIATE")
        outcomes = []
        for pending in group:
            done = self._patiently(_INSERT, pending.row)
            outcomes.append(
                Appended(done.lastrowid or 0, None) if done.rowcount else _taken(connection, pending.row[1])
            )
        if not alone:
            connection.execute("COMMIT")
        if durable:
            connection.execute("PRAGMA synchronous=NORMAL")
        return outcomes

    def _patiently(self, sql: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Begins a write. SQLite itself would sleep for milliseconds where another process needs microseconds."""
        give_up_at = time.monotonic() + PATIENCE_S
        while True:
            try:
                return self._connection.execute(sql, values)
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > give_up_at:
                    raise
            time.sleep(0.00005)

    def _undo(self) -> None:
        try:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            self._connection.execute("PRAGMA synchronous=NORMAL")
        except sqlite3.Error:
            with suppress(sqlite3.Error):  # if even that fails, the next group is refused by the broken one
                self._connection = _connect_to_write(self._path)

    def rewrite(self, records: Sequence[Record]) -> None:
        """See Journal.rewrite. The bytes leave the file's free space and the log as well."""
        rows = [
            (BODY_CODES[r.WhichOneof("body") or ""], r.SerializeToString(), bool(r.episode_id), r.position)
            for r in records
        ]
        with self._writing:
            if self._closed:
                raise JournalUnavailable(_CLOSED)
            try:
                with self._connection as connection:
                    self._patiently("BEGIN IMMEDIATE")
                    connection.executemany(_REWRITE, rows)
                with closing(connect(self._path)) as patient:  # a reader may be in the way for a moment
                    patient.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            except sqlite3.Error as error:
                self._undo()
                raise JournalUnavailable(f"the journal cannot be written: {error}") from error

    def get(self, key: bytes) -> Record | None:
        """See Journal.get."""
        return next(iter(self._select("WHERE key = ?", (key,))), None)

    def episode(self, policy: str, episode_id: str) -> list[Record]:
        """See Journal.episode."""
        first = episode_key(policy, episode_id)
        return self._select("WHERE key >= ? AND key < ? ORDER BY position", (first, first + PAST_EPISODE))

    def read(self, after: int, *, bodies: Collection[str] | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.read."""
        if bodies is None:
            return self._select("WHERE position > ? ORDER BY position LIMIT ?", (after, limit))
        codes = sorted(BODY_CODES[name] for name in bodies)
        condition = f"WHERE body IN ({','.join('?' * len(codes))}) AND position > ? ORDER BY position LIMIT ?"
        if bodies and not {"decision", "turn"} & set(bodies):
            # Without the hint SQLite walks over all decisions by position.
            condition = condition.replace("WHERE", "INDEXED BY records_that_teach WHERE body > 2 AND")
        return self._select(condition, (*codes, after, limit))

    def openings(self, policy: str, *, after: int = 0, before: int | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.openings."""
        if before is None:
            condition = "WHERE opens = ? AND position > ? ORDER BY position LIMIT ?"
            return self._select(condition, (policy, after, limit))
        condition = "WHERE opens = ? AND position > ? AND position < ? ORDER BY position DESC LIMIT ?"
        return self._select(condition, (policy, after, before, limit))

    def size_of_episode(self, policy: str, episode_id: str) -> int:
        """How many records an episode has now, whichever process appended them. Raises JournalUnavailable."""
        first = episode_key(policy, episode_id)
        [(count,)] = self._rows(
            "SELECT count(*) FROM records WHERE key >= ? AND key < ?", (first, first + PAST_EPISODE)
        )
        return int(count)

    def is_quick(self) -> bool:
        """See Journal.is_quick: nobody is writing, nor reading, which may take as long."""
        return not (self._writing.locked() or self._reader_lock.locked())

    def position(self) -> int:
        """See Journal.position."""
        newest = self._select("ORDER BY position DESC LIMIT 1", ())
        return newest[0].position if newest else 0

    def _select(self, condition: str, values: Sequence[Any]) -> list[Record]:
        return [_record(*row) for row in self._rows(f"SELECT position, record FROM records {condition}", values)]

    def _rows(self, sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
        with self._reader_lock:
            try:
                return self._reader.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                raise JournalUnavailable(f"the journal cannot be read: {error}") from error

    def copy_to(self, path: Path) -> None:
        """Writes what is committed into a new file, and reads that once. Raises JournalUnavailable, also if damaged."""
        try:
            with closing(sqlite3.connect(path)) as copy, self._reader_lock:
                self._reader.backup(copy)  # all pages in one step: in several, each commit would begin it anew
                (verdict,) = copy.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.Error as error:
            raise JournalUnavailable(f"the journal cannot be copied: {error}") from error
        if verdict != "ok":
            raise JournalUnavailable(f"the journal is damaged: {verdict}")

    def close(self) -> None:
        """Waits for the group that is being committed, then closes the file and lets go of the lock."""
        with self._writing:
            was_open, self._closed = not self._closed, True
            if was_open:
                self._connection.close()
        with self._reader_lock:
            self._reader.close()
        if self._lock_file is not None:
            self._lock_file.close()


def _connect_to_write(path: Path) -> sqlite3.Connection:
    connection = connect(path)
    connection.execute("PRAGMA busy_timeout=0")  # see _patiently
    return connection


def _names(record: Record) -> tuple[bytes | None, bytes | None, bytes | None, str | None]:
    """(key, bounds of the episode's keys, policy) of a record of an episode; nothing for others, which open none."""
    key = key_of(record)
    if key is None:
        return None, None, None, None
    first = key[:EPISODE_BYTES]
    return key, first, first + PAST_EPISODE, record.policy


def _record(position: int, data: bytes) -> Record:
    record = Record.FromString(data)
    record.position = position
    return record


def _taken(connection: sqlite3.Connection, key: bytes) -> Appended:
    row = connection.execute("SELECT position, record FROM records WHERE key = ?", (key,)).fetchone()
    return Appended(row[0], _record(*row))
