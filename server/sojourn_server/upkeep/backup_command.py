"""`sojourn backup`: a copy of the journal's directory, also beside the router that serves from it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from sojourn_server.cli.output import fail


def backup(
    output: Annotated[Path, typer.Argument(help="A new directory.")],
    journal: Annotated[Path, typer.Option(help="The journal's directory.", metavar="DIR")] = Path("sojourn-data"),
) -> None:
    """Copy a journal, its snapshots and the key of its draws, while a router serves from them.

    \b
    Example:
      sojourn backup /backups/sojourn-$(date +%F) --journal sojourn-data

    To restore, start a router on the copy. PostgreSQL has tools of its own (docs/operations.md). Exit code 0, or 2.
    """
    from sojourn_server.errors import StartRefused
    from sojourn_server.upkeep.backup import back_up

    try:
        typer.echo(f"{output}: a copy up to position {back_up(journal, output)}")
    except StartRefused as error:
        raise fail(str(error)) from None
