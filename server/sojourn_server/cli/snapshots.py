"""`sojourn snapshots`: which versions of a policy are stored, how two of them differ, and the way back to one.

A version goes to another router as a file.
"""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from sojourn_server.cli.output import as_json, console, fail, number, print_json, progress, table, whole_file
from sojourn_server.cli.source import Address, Json, Place, PlaceIfAny, Policy, open_source, open_stored

app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@app.callback()
def snapshots() -> None:
    """Stored versions of a policy.

    \b
    Examples:
      sojourn snapshots list
      sojourn snapshots compare 118002 120345 --journal sojourn-data
      sojourn snapshots roll-back 120345
      sojourn snapshots export --address router-a:50051 -o good.snapshot
      sojourn snapshots import good.snapshot --address router-b:50051
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


@app.command()
def compare(
    old: Annotated[int, typer.Argument(help="A stored version.", show_default=False)],
    new: Annotated[int, typer.Argument(help="A later one.", show_default=False)],
    *,
    journal: Place = "sojourn-data",
    policy: Policy = "default",
    json: Json = False,
) -> None:
    """Compare what two versions expect of each model, at the newest 1,000 decision points before the later one."""
    from sojourn_server.cli.replay import stored_snapshot
    from sojourn_server.upkeep.comparison import compare_versions

    if old > new:
        raise fail(f"version {old} is later than {new}", next_step=f"sojourn snapshots compare {new} {old}")
    with open_stored(journal) as (opened, stored), progress("reading", new) as told:
        pair = [stored_snapshot(stored, policy, version) for version in (old, new)]
        found = compare_versions(opened, pair[0], pair[1], told=told)
    if json:
        print_json(asdict(found))
        return
    rows = [(m.model, str(m.decision_points), number(m.old_score), number(m.new_score)) for m in found.models]
    title = (
        f"Expected score; another favourite at {found.favourites_changed} of {found.decision_points} decision points"
    )
    console().print(table(title, ("model", "points", str(old), str(new)), rows))


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


@app.command("export")
def export_snapshot(
    version: Annotated[int | None, typer.Argument(help="A stored version; the newest unless given.")] = None,
    *,
    output: Annotated[Path, typer.Option("--output", "-o", help="File to write.", metavar="FILE")],
    policy: Policy = "default",
    address: Address = None,
    journal: PlaceIfAny = None,
) -> None:
    """Write a stored version to a file: what a policy knows, without any episode."""
    with open_source(address, journal) as source, whole_file(output) as file:
        size = file.write(source.snapshot_file(policy, version))
    typer.echo(f"{output} has {size} bytes.")


@app.command("import")
def import_snapshot(
    file: Annotated[Path, typer.Argument(help="A file that `sojourn snapshots export` wrote.", exists=True)],
    *,
    policy: Policy = "default",
    address: Address = None,
) -> None:
    """Replace all that a policy has learned by an exported version, and learn on from there.

    Both routers need the same lesson settings, prior and models. To take it back, roll back to a version before it.
    """
    with open_source(address, None) as source:
        position = source.import_snapshot(policy, file.read_bytes())
    typer.echo(f"{policy} goes on from {file}, by the record at position {position}.")
