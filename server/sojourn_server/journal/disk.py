"""What a file system asks of those who want to find their files after a power loss.

Syncing a file saves its bytes, not its name: the name lies in the directory, which is synced by itself.
"""

from __future__ import annotations

import os
from pathlib import Path


def sync_directory(path: Path) -> None:
    """The names in a directory are on the disk afterwards. Raises OSError."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
