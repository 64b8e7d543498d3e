"""`sojourn erase`: takes an episode out of the journal."""

from __future__ import annotations

from typing import Annotated

import typer

from sojourn.v1 import admin_pb2
from sojourn_server.cli.source import Address, Policy, open_source


def erase(
    episode_id: Annotated[str, typer.Argument(help="The episode.", metavar="EPISODE")],
    *,
    policy: Policy = "default",
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Also fold the policy anew without it.")] = False,
    address: Address = None,
) -> None:
    """Erase all records of an ended episode: its names, features, facts and outcome.

    \b
    Examples:
      sojourn erase run-2214
      sojourn erase run-2214 --policy research --rebuild

    Its places in the journal stay, empty. What it taught stays in the weights unless --rebuild is given. Backups keep
    what they have. To erase features of all old episodes set journal.retention_days.
    Exit code 0, or 2 if the router cannot be reached or refuses.
    """
    request = admin_pb2.EraseEpisodeRequest(policy=policy, episode_id=episode_id, rebuild=rebuild)
    with open_source(address, None) as source:
        count = source.erase(request)
    typer.echo(f"{count} records of the episode are erased.")
