"""Connections to one PostgreSQL, used from ordinary threads through one event loop; the one module that knows asyncpg.

A `Lane` is one connection with settings of its own. It is made when it is first needed, thrown away at the first error
and made anew at the next use, but not sooner than RETRY_S after an attempt that failed: while PostgreSQL is away,
callers are told so at once instead of waiting for each other. Every query here has its index, so the planner is kept
from guessing by statistics that a young table does not have yet.
"""

from __future__ import annotations

import asyncio
import re
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode, urlsplit, urlunsplit

import asyncpg

from sojourn_server.errors import JournalUnavailable, StartRefused

T = TypeVar("T")
Connection = Any  # asyncpg ships no annotations
AWAY = (asyncpg.PostgresError, asyncpg.InterfaceError, asyncpg.InternalClientError, OSError, TimeoutError)
"""What a broken, slow or refusing server raises."""
RETRY_S = 0.5
CONNECT_S = 3.0
STATEMENT_S = 3.0
OLDEST_SERVER = 14
CHANNEL = "sojourn"
_SETTINGS = {
    "application_name": "sojourn",
    "default_transaction_isolation": "read committed",
    "jit": "off",
    **{f"enable_{node}": "off" for node in ("seqscan", "bitmapscan", "sort", "hashjoin", "mergejoin")},
    **{f"tcp_keepalives_{name}": value for name, value in (("idle", "5"), ("interval", "2"), ("count", "3"))},
}
_SET = "SELECT set_config(name, value, false) FROM unnest($1::text[], $2::text[]) AS settings (name, value)"


class Database:
    """One PostgreSQL and the thread that talks to it. Open with `Database.open`."""

    def __init__(self, dsn: str) -> None:
        """Takes a `postgresql://` URL; its `search_path` names the schema, "sojourn" unless given."""
        url = urlsplit(dsn)
        options = dict(parse_qsl(url.query))
        self.schema = options.pop("search_path", "sojourn")  # set later: poolers refuse it when one connects
        self._dsn = urlunsplit(url._replace(query=urlencode(options)))
        if not re.fullmatch("[a-z_][a-z0-9_]*", self.schema):
            raise StartRefused(f"journal.dsn: search_path {self.schema!r} must be one schema in small letters")
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="postgres", daemon=True)
        self._entering = threading.Lock()
        self._closed = False  # owned under _entering
        self._lanes: list[Lane] = []

    @classmethod
    def open(cls, dsn: str) -> Database:
        """Starts the thread. Raises StartRefused if no usable server answers, or a pooler that shares sessions."""
        try:
            database = cls(dsn)
        except ValueError as error:
            raise StartRefused("journal.dsn is not a URL such as postgresql://user@host/database") from error
        database._thread.start()
        try:
            database.run(_check(database._dsn))
        except (*AWAY, JournalUnavailable, ValueError) as error:
            database.close()
            raise StartRefused(f"cannot use PostgreSQL: {described(error)}") from error
        except StartRefused:
            database.close()
            raise
        return database

    def lane(self, greet: Callable[[Connection], Awaitable[None]] | None = None, /, **settings: str) -> Lane:
        """A connection of its own, made when it is needed; `greet` is called on each that is made."""
        lane = Lane(self._dsn, {"search_path": self.schema, **_SETTINGS, **settings}, greet)
        self._lanes.append(lane)
        return lane

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Runs a coroutine in the loop and waits for it. Raises JournalUnavailable once it is closed."""
        with self._entering:
            if self._closed:
                work.close()
                raise JournalUnavailable("the journal is closed")
            running = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return running.result()
        except CancelledError:
            raise JournalUnavailable("the journal is closed") from None

    def close(self) -> None:
        """Lets statements that are under way finish, refuses the rest, closes all connections. Twice is no error."""
        with self._entering:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._shut(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _shut(self) -> None:
        for lane in self._lanes:
            await lane.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)


class Lane:
    """One connection, used by one caller at a time; made anew after an error."""

    def __init__(
        self, dsn: str, settings: dict[str, str], greet: Callable[[Connection], Awaitable[None]] | None
    ) -> None:
        """See Database.lane."""
        self._dsn = dsn
        self._settings = settings
        self._greet = greet
        self._turn = asyncio.Lock()
        self._connection: Connection = None  # owned under _turn, as _retry_at
        self._retry_at = 0.0
        self._closed = False

    @asynccontextmanager
    async def connection(self, *, timeout_s: float = STATEMENT_S) -> AsyncIterator[Connection]:
        """The connection, alone, for at most so long. Raises JournalUnavailable; whatever fails drops it."""
        async with self._turn:
            try:
                async with asyncio.timeout(timeout_s):
                    yield await self._connected()
            except AWAY as error:
                self.drop()
                raise JournalUnavailable(f"PostgreSQL: {described(error)}") from error
            except asyncio.CancelledError:
                self.drop()
                raise

    async def fetch(self, sql: str, *values: Any) -> list[Any]:
        """The rows of one statement, which is a transaction by itself."""
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(sql, *values)
            return rows

    async def _connected(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        loop = asyncio.get_running_loop()
        if self._closed or loop.time() < self._retry_at:
            raise JournalUnavailable("PostgreSQL is away")
        try:
            self._connection = await self._connect()
        except BaseException:
            self._retry_at = loop.time() + RETRY_S
            raise
        return self._connection

    async def _connect(self) -> Connection:
        connection = await asyncpg.connect(self._dsn, timeout=CONNECT_S)
        try:
            names, values = zip(*self._settings.items(), strict=True)
            await connection.execute(_SET, names, values)
            if self._greet is not None:
                await self._greet(connection)
        except BaseException:
            connection.terminate()
            raise
        return connection

    def drop(self) -> None:
        """Throws the connection away, and with it all that its session held."""
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None

    async def close(self) -> None:
        """Waits for the statement under way; nothing is connected after it."""
        async with self._turn:
            self._closed = True
            if self._connection is not None:
                try:
                    await self._connection.close(timeout=1.0)
                except AWAY:
                    self.drop()


def described(error: BaseException) -> str:
    """An error's text, or its name where it has none."""
    return str(error) or type(error).__name__


async def _check(dsn: str) -> None:
    """Raises StartRefused if the server is too old, or a pooler shares its sessions between clients."""
    first = await asyncpg.connect(dsn, timeout=CONNECT_S, statement_cache_size=0)
    try:
        if first.get_server_version().major < OLDEST_SERVER:
            raise StartRefused(f"PostgreSQL {first.get_server_version().major}: {OLDEST_SERVER} or newer is needed")
        if await _session(first) != first.get_server_pid():  # a pooler made up the number that it gave to its client
            second = await asyncpg.connect(dsn, timeout=CONNECT_S, statement_cache_size=0)
            try:
                await _check_sessions(first, second)
            finally:
                second.terminate()
    finally:
        first.terminate()


async def _check_sessions(first: Connection, second: Connection) -> None:
    """Sessions of one's own stay the same and differ; in transaction mode a quiet pool lends both the same one."""
    seen = {(i, await _session(c)) for _ in range(5) for i, c in enumerate((first, second))}
    if len({session for _, session in seen}) != 2 or len(seen) != 2:
        raise StartRefused(
            "a connection pooler (PgBouncer?) lends sessions by transaction, so the learner's lock and LISTEN would be "
            "lost: point journal.dsn at PostgreSQL itself, or at a pool with pool_mode = session"
        )


async def _session(connection: Connection) -> int:
    async with connection.transaction():
        number: int = await connection.fetchval("SELECT pg_backend_pid()")
        return number
