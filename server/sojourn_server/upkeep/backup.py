"""A copy of a journal's directory on which a router can start, taken while another router serves from it.

SQLite copies its file in one read transaction, so the copy is the journal as it was at one commit, and nobody waits for
it. Snapshots and the key of the draws are copied before it: a snapshot must not lie ahead of its journal. The copy is
read once, and renamed when all of it is on the disk, so it is whole or not there.
"""

from __future__ import annotations

import os
import shutil
from contextlib import closing, suppress
from pathlib import Path

from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.journal.disk import JOURNAL, SECRET, SNAPSHOTS, sync_directory
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.learner.snapshot import SUFFIX


def back_up(directory: Path, output: Path) -> int:
    """Copies `directory` to `output`, which must not be there yet; the position of the copy's last record.

    Raises StartRefused if there is no journal, if `output` is there, or if the copy cannot be made or is damaged.
    """
    if not (directory / JOURNAL).exists():
        raise StartRefused(f"there is no journal in {directory}")
    if output.exists():
        raise StartRefused(f"{output} is there already: name a new directory for each backup")
    part = output.with_name(f"{output.name}.part")
    try:
        shutil.rmtree(part, ignore_errors=True)  # of an attempt that was cut off
        part.mkdir(parents=True)
        _copy_snapshots(directory, part)
        with suppress(FileNotFoundError):  # the key is configured, then
            shutil.copy(directory / SECRET, part / SECRET)
        with closing(SqliteJournal.open_read_only(directory)) as journal:
            journal.copy_to(part / JOURNAL)
        _sync(part)
        part.replace(output)
        sync_directory(output.absolute().parent)
    except (OSError, JournalUnavailable) as error:
        raise StartRefused(f"cannot back up {directory} to {output}: {error}") from error
    with closing(SqliteJournal.open_read_only(output)) as journal:
        return journal.position()


def _copy_snapshots(directory: Path, part: Path) -> None:
    for path in sorted((directory / SNAPSHOTS).rglob(f"*{SUFFIX}")):
        target = part / path.relative_to(directory)
        target.parent.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):  # the router keeps the newest few only
            shutil.copy(path, target)


def _sync(part: Path) -> None:
    """All that lies below is on the disk afterwards."""
    for path in part.rglob("*"):
        if path.is_dir():
            sync_directory(path)
        else:
            with path.open("rb") as file:
                os.fsync(file.fileno())
    sync_directory(part)
