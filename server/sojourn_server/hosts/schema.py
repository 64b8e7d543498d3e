"""The schema of several hosts' journal: numbered files of plain SQL, each applied once, in one transaction.

A lock lets one host migrate while the others wait. A schema that is newer than this release is refused, one that is
older is brought up to date by the next server that starts; readers change nothing.
"""

from __future__ import annotations

from importlib.resources import files

from sojourn_server.errors import StartRefused
from sojourn_server.hosts.database import Connection, Database, Lane

MIGRATIONS = {
    int(file.name.removesuffix(".sql")): file.read_text("utf-8")
    for file in files("sojourn_server.hosts").joinpath("migrations").iterdir()
    if file.name.endswith(".sql")
}
NEWEST = max(MIGRATIONS)
MIGRATE_S = 60.0


def migrate(database: Database, lane: Lane) -> None:
    """Brings the schema up to date. Raises StartRefused if it is of a newer release; JournalUnavailable."""
    database.run(_migrate(lane, database.schema))


async def _migrate(lane: Lane, schema: str) -> None:
    async with lane.connection(timeout_s=MIGRATE_S) as connection, connection.transaction():
        await connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('sojourn.schema', 0))")
        if await connection.fetchval("SELECT to_regnamespace(quote_ident($1)) IS NULL", schema):
            await connection.execute(f'CREATE SCHEMA "{schema}"')
        await connection.execute(
            "CREATE TABLE IF NOT EXISTS migrations (version int PRIMARY KEY, applied_at timestamptz DEFAULT now())"
        )
        found = await _version(connection)
        _refuse_newer(schema, found)
        for version in sorted(MIGRATIONS):
            if version > found:
                await connection.execute(MIGRATIONS[version])
                await connection.execute("INSERT INTO migrations (version) VALUES ($1)", version)


def check(database: Database, lane: Lane) -> None:
    """Raises StartRefused if there is no schema, or one of another version; JournalUnavailable."""
    database.run(_check(lane, database.schema))


async def _check(lane: Lane, schema: str) -> None:
    async with lane.connection() as connection:
        there = await connection.fetchval("SELECT to_regclass('migrations') IS NOT NULL")
        found = await _version(connection) if there else 0
    _refuse_newer(schema, found)
    if found < NEWEST:
        raise StartRefused(f"schema {schema!r} has version {found}, not {NEWEST}: start a router on this journal first")


async def _version(connection: Connection) -> int:
    return int(await connection.fetchval("SELECT coalesce(max(version), 0) FROM migrations"))


def _refuse_newer(schema: str, found: int) -> None:
    if found > NEWEST:
        raise StartRefused(
            f"schema {schema!r} has version {found}, this release knows {NEWEST}: start the release that made it, or "
            "point journal.dsn elsewhere"
        )
