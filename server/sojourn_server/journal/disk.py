"""A journal's directory: what lies in it, and what a file system asks of those who want to find it after a power loss.

Syncing a file saves its bytes, not its name: the name lies in the directory, which is synced by itself.
"""

from __future__ import annotations

import os
from pathlib import Path

JOURNAL, SECRET, SNAPSHOTS = "journal.sqlite3", "draw.secret", "snapshots"
"""The records, the key of the draws unless one is configured, and the stored snapshots."""


def sync_directory(path: Path) -> None:
    """The names in a directory are on the disk afterwards. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
