"""`sojourn undo`: takes back what a token's outcomes have taught."""

from __future__ import annotations

from typing import Annotated

import typer

from sojourn.v1 import admin_pb2
from sojourn_server.cli.source import Address, Policy, open_source


def undo(
    reporter: Annotated[str, typer.Argument(help="Id of the token whose outcomes are to be left out.")],
    *,
    policy: Policy = "default",
    after: Annotated[int, typer.Option(min=0, help="Only outcomes after this position of the journal.")] = 0,
    because: Annotated[str, typer.Option(help="Why, for those who read the journal later.")] = "",
    address: Address = None,
) -> None:
    """Leave a token's outcomes out of what is learned; the policy is folded anew without them.

    \b
    Examples:
      sojourn undo judge-7 --because "scored everything 1 since Tuesday"
      sojourn undo judge-7 --after 120345

    Nothing is deleted: the records stay, and the exclusion is a record too.
    Exit code 0, or 2 if the router cannot be reached or refuses.
    """
    request = admin_pb2.UndoReporterRequest(policy=policy, reporter=reporter, after_position=after, because=because)
    with open_source(address, None) as source:
        position = source.undo(request)
    typer.echo(f"Outcomes of {reporter} are left out, by the record at position {position}.")
