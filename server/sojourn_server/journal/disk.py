"""A journal's directory: what lies in it, and what a file system asks of those who want to find it after a power loss.

Syncing a file saves its bytes, not its name: the name lies in the directory, which is synced by itself.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from sojourn_server.errors import StartRefused

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
