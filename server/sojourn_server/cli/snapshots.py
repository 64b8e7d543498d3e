"""`sojourn snapshots`: which versions of a policy are stored, and the way back to one of them."""

from __future__ import annotations

from typing import Annotated

import typer

from sojourn_server.cli.output import as_json, console, print_json, table
from sojourn_server.cli.source import Address, Json, PlaceIfAny, Policy, open_source

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def snapshots() -> None:
    """Stored versions of a policy.

    \b
    Examples:
      sojourn snapshots list
      sojourn snapshots roll-back 120345
    """


@app.command("list")
def list_stored(
    *, policy: Policy = "default", address: Address = None, journal: PlaceIfAny = None, json: Json = False
) -> None:
    """List the stored versions, newest first; a version is the journal's position up to which it learned."""
    from sojourn_server.cli.tables import moment

    with open_source(address, journal) as source:
        found = source.snapshots(policy)
    if json:
        print_json([as_json(each) for each in found])
        return
    rows = [(str(s.policy_version), moment(s.created_at_ms), f"{s.size_bytes / 1024:,.0f} KiB") for s in found]
    console().print(table(policy, ("version", "made at", "size"), rows))


@app.command("roll-back")
def roll_back(
    version: Annotated[int, typer.Argument(min=0, help="Version to go back to; 0 forgets all lessons.")],
    *,
    policy: Policy = "default",
    address: Address = None,
) -> None:
    """Take a policy back to a version; what was learned since is left out for good, and no record is deleted."""
    with open_source(address, None) as source:
        position = source.roll_back(policy, version)
    typer.echo(f"{policy} is back at version {version}, by the record at position {position}.")
