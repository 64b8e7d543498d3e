"""Which host leads, and what the leader does to the journal: it gives every committed record its place.

A leader holds an advisory lock on the connection over which it works, so the two end together; a session that stands
still is ended by the server. The lock alone is no fence: a leader that lost it unawares might still write. So each
election raises the term in `head`, and whoever places records or stores a snapshot does so in a transaction that finds
its own term there. Places are counted in that row, under its lock: without gaps, in the order of commits, and synced
before anybody sees them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import suppress

import structlog

from sojourn_server.errors import JournalUnavailable
from sojourn_server.hosts.database import CHANNEL, Connection, Database
from sojourn_server.journal.journal import BODY_CODES
from sojourn_server.world import ADMINISTRATIVE_BODIES

log = structlog.get_logger(__name__)
POLL_S = 0.1
CAMPAIGN_S = 0.5
STANDSTILL = "15s"
"""A leader whose process is frozen, or whose host is gone, is out after this long."""
MAX_PLACED = 1_000
PLACE_S = 30.0
PARTITION_POSITIONS = 10_000_000
"""Positions in one partition of the journal."""
_SETTINGS = {"idle_session_timeout": STANDSTILL, "idle_in_transaction_session_timeout": STANDSTILL}
_ELECT = """
UPDATE head SET term = term + 1, leader = $1
WHERE pg_try_advisory_lock(hashtextextended('sojourn.leader.' || current_schema(), 0)) RETURNING term
"""
_PLACE = """
WITH waiting AS MATERIALIZED (
    SELECT episode, inside, body, policy, record, arrival FROM keys WHERE position IS NULL ORDER BY arrival LIMIT $2
), placed AS MATERIALIZED (
    SELECT *, $1 + row_number() OVER (ORDER BY arrival) AS place,
        row_number() OVER (PARTITION BY episode ORDER BY arrival) = 1
            AND NOT EXISTS (SELECT FROM keys WHERE keys.episode = waiting.episode AND position IS NOT NULL) AS opens
    FROM waiting
), entered AS (
    INSERT INTO journal (position, episode, inside, body, opens, record)
    SELECT place, episode, inside, body, CASE WHEN opens THEN policy END, record FROM placed
)
UPDATE keys SET position = placed.place, record = NULL
FROM placed WHERE keys.episode = placed.episode AND keys.inside = placed.inside RETURNING keys.body
"""
_TEACHES_FROM = 3  # the body codes behind decision and turn
_ADMINISTRATIVE = {BODY_CODES[name] for name in ADMINISTRATIVE_BODIES}


class Leadership:
    """One host's candidacy. `term` is above 0 while it leads."""

    def __init__(self, database: Database, name: str) -> None:
        """`name` is for people: which host it is."""
        self._name = name
        self._database = database
        self._lane = database.lane(self._greet, synchronous_commit="on", **_SETTINGS)
        self.term = 0  # owned by the thread below
        self.on_news: Callable[[], None] = lambda: None
        """Called when the term changes, when records that teach were placed, and when another host has news."""
        self._wake = threading.Event()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="leadership", daemon=True)

    def start(self) -> None:
        """Campaigns in a thread from now on."""
        self._thread.start()

    def wake(self) -> None:
        """Something was committed that wants its place."""
        self._wake.set()

    def close(self) -> None:
        """Stops, and lets another host lead."""
        self._stopping = True
        self._wake.set()
        self._thread.join()
        with suppress(JournalUnavailable):
            self._database.run(self._lane.close())

    async def _greet(self, connection: Connection) -> None:
        await connection.add_listener(CHANNEL, self._heard)

    def _heard(self, *_: object) -> None:
        self._wake.set()
        self.on_news()

    def _run(self) -> None:
        while not self._stopping:
            try:
                more = self.place() if self.term else self._campaign()
            except JournalUnavailable as error:
                more = False
                self._resign(str(error))
            except Exception:  # a leader that stops placing quietly stops all learning: say it, begin anew
                log.exception("leadership_failed")
                more = False
                self._resign("an inner fault")
            if not more:
                self._wake.wait(POLL_S if self.term else CAMPAIGN_S)
                self._wake.clear()

    def _campaign(self) -> bool:
        """Asks for the lock; True if it is ours now."""
        self.term = self._database.run(self._elect())
        if self.term:
            log.info("leading", term=self.term)
            self.on_news()
        return bool(self.term)

    async def _elect(self) -> int:
        rows = await self._lane.fetch(_ELECT, self._name)
        return int(rows[0]["term"]) if rows else 0

    def _resign(self, why: str) -> None:
        if not self.term:
            return
        log.warning("no_longer_leading", term=self.term, because=why)
        self.term = 0
        with suppress(JournalUnavailable):
            self._database.run(self._let_go())
        self.on_news()

    async def _let_go(self) -> None:
        self._lane.drop()  # with the session goes its lock

    def place(self) -> bool:
        """Gives waiting records their places; True if there may be more. Raises JournalUnavailable at a term's end."""
        bodies = self._database.run(self._place(self.term))
        if any(body >= _TEACHES_FROM for body in bodies):
            self.on_news()
        return len(bodies) == MAX_PLACED

    async def _place(self, term: int) -> list[int]:
        async with self._lane.connection(timeout_s=PLACE_S) as connection:
            if not await connection.fetchval("SELECT EXISTS (SELECT FROM keys WHERE position IS NULL)"):
                return []
            async with connection.transaction():
                head = await connection.fetchrow(
                    "SELECT position, partitioned_until FROM head WHERE term = $1 FOR UPDATE", term
                )
                if head is None:
                    raise JournalUnavailable(f"term {term} is over: another host leads")
                if head["position"] + MAX_PLACED > head["partitioned_until"]:
                    await _add_partition(connection, head["partitioned_until"])
                rows = await connection.fetch(_PLACE, head["position"], MAX_PLACED)
                bodies = [row["body"] for row in rows]
                await connection.execute("UPDATE head SET position = position + $1", len(bodies))
                if _ADMINISTRATIVE.intersection(bodies):
                    await connection.execute(f"NOTIFY {CHANNEL}")
        return bodies


async def _add_partition(connection: Connection, after: int) -> None:
    until = after + PARTITION_POSITIONS
    await connection.execute(
        f"CREATE TABLE journal_{after // PARTITION_POSITIONS} PARTITION OF journal "
        f"FOR VALUES FROM ({after + 1}) TO ({until + 1})"
    )
    await connection.execute("UPDATE head SET partitioned_until = $1", until)
