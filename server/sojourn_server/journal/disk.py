"""A journal's directory: what lies in it, who may have it, and what the file of records looks like.

Syncing a file saves its bytes, not its name: the name lies in the directory, which is synced by itself.
"""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import IO

from sojourn_server.errors import StartRefused

SCHEMA_VERSION = 1
CHECKPOINT_PAGES = 16_000
"""Pages of log (64 MiB) that a commit carries over, while all wait; SQLite's 1,000 would be every 350 decisions."""
_SCHEMA = """
CREATE TABLE records (
    position INTEGER PRIMARY KEY,
    body INTEGER NOT NULL,
    key BLOB UNIQUE,
    opens TEXT,
    record BLOB NOT NULL
) STRICT;
CREATE INDEX records_that_open ON records (opens, position) WHERE opens IS NOT NULL;
CREATE INDEX records_that_teach ON records (position) WHERE body > 2;
"""
JOURNAL, SECRET, SNAPSHOTS = "journal.sqlite3", "draw.secret", "snapshots"
"""The records, the key of the draws unless one is configured, and the stored snapshots."""


def sync_directory(path: Path) -> None:
    """The names in a directory are on the disk afterwards. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def lock(directory: Path) -> IO[str]:
    """The open file whose lock keeps other servers off the directory until it is closed. Raises StartRefused."""
    file = (directory / "lock").open("a+", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        file.close()
        raise StartRefused(
            f"another server holds the journal in {directory}; stop it, or point journal.directory elsewhere"
        ) from error
    return file


def connect(path: Path) -> sqlite3.Connection:
    """A connection of the journal's settings. Raises sqlite3.Error."""
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=5.0)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("PRAGMA secure_delete=ON")  # what is rewritten is overwritten
    connection.execute(f"PRAGMA wal_autocheckpoint={CHECKPOINT_PAGES}")
    return connection


def connect_for_reading(path: Path) -> sqlite3.Connection:
    """Changes nothing. In a folder that can hold no side files, and has none, nobody can be writing.

    Raises sqlite3.Error, StartRefused.
    """
    may_change = os.access(path.parent, os.W_OK) or path.with_name(f"{path.name}-wal").exists()
    uri = f"{path.absolute().as_uri()}?mode=ro{'' if may_change else '&immutable=1'}"
    connection = sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False, timeout=5.0)
    _check_schema(path, connection)
    return connection


def create(path: Path) -> None:
    """Makes the schema if the file is new; the directory is synced so that the file itself survives power loss."""
    with closing(connect(path)) as connection:
        if connection.execute("PRAGMA user_version").fetchone() == (0,):
            connection.execute("PRAGMA synchronous=FULL")
            connection.executescript(f"BEGIN;{_SCHEMA};PRAGMA user_version={SCHEMA_VERSION};COMMIT;")
        _check_schema(path, connection)
    sync_directory(path.parent)


def _check_schema(path: Path, connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version != SCHEMA_VERSION:
        raise StartRefused(
            f"the journal {path} has schema version {version}, this release reads {SCHEMA_VERSION}: "
            "start the release that wrote it, or point journal.directory elsewhere"
        )
