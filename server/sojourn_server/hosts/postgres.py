"""The journal in PostgreSQL: any number of hosts append, and the one that leads gives records their place in the order.

A record is committed under its key, and is found there from then on; its position comes later, from the leader (see
`leadership`), and with it the record moves into the table that is read in order. So no reader ever sees a position
appear behind one that it passed, and no append waits for a leader unless it asks for its place. Threads of a host share
commits: whoever has the writer's turn commits all that is queued, in one statement. Decisions and turns go over one
connection with synchronous_commit off, outcomes over another with it on, so that no decision waits for a disk.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from sojourn.v1 import journal_pb2
from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.hosts import schema
from sojourn_server.hosts.database import CHANNEL, Database, Lane, described
from sojourn_server.journal.journal import BODY_CODES, EPISODE_BYTES, Appended, episode_key, key_of

Record = journal_pb2.JournalRecord
MAX_GROUP = 512
READERS = 4
PLACE_S = 20.0
"""How long an append waits for its place: longer than it takes to elect another leader."""
_ASK_PLACE_S = 0.01
_ALONE_S = 60.0
_INSERT = """
INSERT INTO keys (episode, inside, body, policy, record)
SELECT * FROM unnest($1::bytea[], $2::bytea[], $3::smallint[], $4::text[], $5::bytea[])
ON CONFLICT (episode, inside) DO NOTHING RETURNING episode, inside
"""
_FOUND = """
SELECT keys.episode, keys.inside, keys.position, coalesce(keys.record, journal.record) AS record
FROM {} LEFT JOIN journal ON journal.position = keys.position AND journal.episode = keys.episode
"""
_FIND = _FOUND.format("unnest($1::bytea[], $2::bytea[]) AS wanted (episode, inside) JOIN keys USING (episode, inside)")
_FIND_EPISODE = _FOUND.format("keys") + "WHERE keys.episode = $1 ORDER BY keys.position NULLS LAST, keys.arrival"
_REWRITE = f"""
UPDATE journal SET body = given.body, record = given.record,
    opens = CASE WHEN given.body <> {BODY_CODES["episode_erased"]} THEN opens END
FROM unnest($1::bigint[], $2::smallint[], $3::bytea[]) AS given (position, body, record)
WHERE journal.position = given.position
"""
_READ_ONLY = "the journal is open for reading only"
_READ = "SELECT position, record FROM journal WHERE position > $1"


class _Row(NamedTuple):
    """A record as the table `keys` takes it."""

    episode: bytes
    inside: bytes
    body: int
    policy: str | None
    record: bytes

    @property
    def key(self) -> tuple[bytes, bytes]:
        return self.episode, self.inside


def _row(record: Record) -> _Row:
    """Records without a natural key get one by chance, outside every episode."""
    body, data = BODY_CODES[record.WhichOneof("body") or ""], record.SerializeToString()
    key = key_of(record)
    if key is None:
        return _Row(b"", secrets.token_bytes(16), body, None, data)
    return _Row(key[:EPISODE_BYTES], key[EPISODE_BYTES:], body, record.policy, data)


class _Writer:
    """Commits what callers queue, in groups, over one connection."""

    def __init__(self, lane: Lane) -> None:
        self._lane = lane
        self._queue: deque[tuple[_Row, asyncio.Future[Appended]]] = deque()
        self._turn = asyncio.Lock()

    async def append(self, row: _Row) -> Appended:
        done: asyncio.Future[Appended] = asyncio.get_running_loop().create_future()
        self._queue.append((row, done))
        async with self._turn:
            while not done.done():
                await self._commit([self._queue.popleft() for _ in range(min(len(self._queue), MAX_GROUP))])
        return done.result()

    async def _commit(self, group: Sequence[tuple[_Row, asyncio.Future[Appended]]]) -> None:
        try:
            outcomes = await self._insert([row for row, _ in group])
        except Exception as error:  # noqa: BLE001 - whatever it is, everybody waiting must be told
            for _, done in group:
                done.set_exception(JournalUnavailable(f"the journal cannot be written: {described(error)}"))
                done.exception()  # it is seen: a caller that was cancelled does not look
            return
        for (_, done), outcome in zip(group, outcomes, strict=True):
            done.set_result(outcome)

    async def _insert(self, rows: Sequence[_Row]) -> list[Appended]:
        """Of rows with one key the first is taken; in the order of keys, so that two hosts never block each other."""
        first: dict[tuple[bytes, bytes], _Row] = {}
        for row in rows:
            first.setdefault(row.key, row)
        async with self._lane.connection() as connection:
            added = await connection.fetch(_INSERT, *zip(*sorted(first.values()), strict=True))
            won = {id(first[tuple(key)]) for key in added}
            lost = {row.key for row in rows if id(row) not in won}
            standing = await connection.fetch(_FIND, *zip(*lost, strict=True)) if lost else ()
        found = {(r["episode"], r["inside"]): _record(r) for r in standing}
        return [
            Appended(0, None) if id(row) in won else Appended(found[row.key].position, found[row.key]) for row in rows
        ]


class PostgresJournal:
    """Keeps records for all hosts. Open with `PostgresJournal.open`, or beside its servers with `open_read_only`."""

    def __init__(self, database: Database, *, read_only: bool) -> None:
        """Takes a database whose schema is there; see `open`."""
        self.database = database
        self._writers: dict[bool, _Writer] = {}
        self._rewriter = None if read_only else database.lane(synchronous_commit="on")
        if not read_only:
            self._writers = {
                durable: _Writer(database.lane(synchronous_commit="on" if durable else "off"))
                for durable in (False, True)
            }
        reading = {"synchronous_commit": "off", "default_transaction_read_only": "on" if read_only else "off"}
        self._readers: asyncio.LifoQueue[Lane] = asyncio.LifoQueue()
        for _ in range(READERS):
            self._readers.put_nowait(database.lane(**reading))

    @classmethod
    def open(cls, dsn: str) -> PostgresJournal:
        """Connects, and makes or updates the schema. Raises StartRefused."""
        return cls._open(dsn, read_only=False)

    @classmethod
    def open_read_only(cls, dsn: str) -> PostgresJournal:
        """Connects for reading; appends are refused. Raises StartRefused."""
        return cls._open(dsn, read_only=True)

    @classmethod
    def _open(cls, dsn: str, *, read_only: bool) -> PostgresJournal:
        database = Database.open(dsn)
        try:
            lane = database.lane()
            (schema.check if read_only else schema.migrate)(database, lane)
            database.run(lane.close())
        except JournalUnavailable as error:
            database.close()
            raise StartRefused(f"cannot open the journal: {error}") from error
        except StartRefused:
            database.close()
            raise
        return cls(database, read_only=read_only)

    def append(self, record: Record, *, durable: bool = False, placed: bool = False) -> Appended:
        """See Journal.append."""
        if not self._writers:
            raise JournalUnavailable(_READ_ONLY)
        return self.database.run(self._append(_row(record), durable=durable, placed=placed))

    async def _append(self, row: _Row, *, durable: bool, placed: bool) -> Appended:
        appended = await self._writers[durable].append(row)
        if not placed or appended.position:
            return appended
        position = await self._placed(row)
        if appended.first is not None:
            appended.first.position = position
        return appended._replace(position=position)

    async def _placed(self, row: _Row) -> int:
        """Tells the leader that somebody waits, and waits."""
        give_up_at = time.monotonic() + PLACE_S
        await self._fetch("SELECT pg_notify($1, '')", CHANNEL)
        while time.monotonic() < give_up_at:
            rows = await self._fetch("SELECT position FROM keys WHERE episode = $1 AND inside = $2", *row.key)
            if rows and rows[0]["position"]:
                return int(rows[0]["position"])
            await asyncio.sleep(_ASK_PLACE_S)
        raise JournalUnavailable("the record is committed, but no leader has given it a place yet")

    def rewrite(self, records: Sequence[Record]) -> None:
        """See Journal.rewrite. Old row versions go with the next VACUUM."""
        if not self._rewriter:
            raise JournalUnavailable(_READ_ONLY)
        rows = [(r.position, BODY_CODES[r.WhichOneof("body") or ""], r.SerializeToString()) for r in records]
        self.database.run(self._rewriter.fetch(_REWRITE, *zip(*rows, strict=True)))

    def get(self, key: bytes) -> Record | None:
        """See Journal.get."""
        found = self._select(_FIND, [key[:EPISODE_BYTES]], [key[EPISODE_BYTES:]])
        return found[0] if found else None

    def episode(self, policy: str, episode_id: str) -> list[Record]:
        """See Journal.episode."""
        return self._select(_FIND_EPISODE, episode_key(policy, episode_id))

    def size_of_episode(self, policy: str, episode_id: str) -> int:
        """How many records an episode has now, whoever appended them. Raises JournalUnavailable."""
        sql = "SELECT count(*) AS size FROM keys WHERE episode = $1"
        return int(self.database.run(self._fetch(sql, episode_key(policy, episode_id)))[0]["size"])

    def read(self, after: int, *, bodies: Collection[str] | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.read."""
        if bodies is None:
            return self._select(f"{_READ} ORDER BY position LIMIT $2", after, limit)
        codes = [BODY_CODES[name] for name in bodies]
        rare = next((f"AND body > {code}" for code in (4, 2) if min(codes, default=0) > code), "")  # as an index has it
        return self._select(f"{_READ} {rare} AND body = ANY($3) ORDER BY position LIMIT $2", after, limit, codes)

    def openings(self, policy: str, *, after: int = 0, before: int | None = None, limit: int = 1000) -> list[Record]:
        """See Journal.openings."""
        if before is None:
            return self._select(f"{_READ} AND opens = $3 ORDER BY position LIMIT $2", after, limit, policy)
        newest_first = f"{_READ} AND opens = $3 AND position < $4 ORDER BY position DESC LIMIT $2"
        return self._select(newest_first, after, limit, policy, before)

    def is_quick(self) -> bool:
        """See Journal.is_quick: a network lies between."""
        return False

    def position(self) -> int:
        """See Journal.position."""
        return int(self.database.run(self._fetch("SELECT position FROM head"))[0]["position"])

    def draw_secret(self) -> bytes:
        """The key of all hosts' draws, made with the schema. Raises JournalUnavailable."""
        return bytes(self.database.run(self._fetch("SELECT draw_secret FROM head"))[0]["draw_secret"])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Meanwhile no other host is in here. Raises JournalUnavailable."""
        lane = self.database.lane(synchronous_commit="off")
        self.database.run(_take_turn(lane))
        try:
            yield
        finally:
            self.database.run(lane.close())

    def _select(self, sql: str, *values: Any) -> list[Record]:
        return [_record(row) for row in self.database.run(self._fetch(sql, *values))]

    async def _fetch(self, sql: str, *values: Any) -> list[Any]:
        lane = await self._readers.get()
        try:
            return await lane.fetch(sql, *values)
        finally:
            self._readers.put_nowait(lane)

    def close(self) -> None:
        """Commits what is queued, then closes all connections, those of others on this database too."""
        self.database.close()


def _record(row: Any) -> Record:
    record = Record.FromString(row["record"])
    record.position = row["position"] or 0
    return record


async def _take_turn(lane: Lane) -> None:
    async with lane.connection(timeout_s=_ALONE_S) as connection:
        await connection.execute("SELECT pg_advisory_lock(hashtextextended('sojourn.alone', 0))")
