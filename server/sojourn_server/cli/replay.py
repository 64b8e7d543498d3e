"""`sojourn replay`: folds the journal anew, from the prior, and compares with a stored snapshot.

The comparison is made in `sojourn_server.upkeep.comparison`; here it becomes a verdict.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.v1 import snapshot_pb2
from sojourn_server.cli.output import console, facts, fail, print_json, progress
from sojourn_server.cli.source import Json, Place, Policy, open_stored

if TYPE_CHECKING:  # these bring Vowpal Wabbit, which `sojourn health` must not wait for
    from sojourn_server.learner.snapshot import Snapshots
    from sojourn_server.upkeep.comparison import Comparison


def replay(
    journal: Place = "sojourn-data",
    policy: Policy = "default",
    version: Annotated[
        int | None, typer.Option(min=0, help="Snapshot to compare with; the newest unless given.")
    ] = None,
    json: Json = False,
) -> None:
    """Rebuild a policy from its journal alone and compare it with a stored snapshot, prediction by prediction.

    \b
    Examples:
      sojourn replay --journal sojourn-data
      sojourn replay --journal sojourn-data --policy research --version 1204 --json

    Reads only, so it can run beside the router. Exit code 0 if every prediction is equal to the last bit, 1 if one
    differs, 2 if there is nothing to compare.
    """
    from sojourn_server.errors import BrokenSnapshot
    from sojourn_server.learner.fold import BadLesson
    from sojourn_server.upkeep.comparison import compare

    try:
        with open_stored(journal) as (opened, snapshots):
            snapshot = stored_snapshot(snapshots, policy, version)
            with progress("replaying", 2 * snapshot.position) as told:
                result = compare(opened, snapshot, policy, told=told)
    except BrokenSnapshot as error:
        raise fail(f"the snapshot cannot be compared: {error}") from None
    except BadLesson as error:
        raise fail(str(error)) from None
    _print(result, json)
    if not result.same:
        raise typer.Exit(1)


def stored_snapshot(store: Snapshots, policy: str, version: int | None) -> snapshot_pb2.Snapshot:
    """The stored snapshot. Exits if there is none; raises BrokenSnapshot."""
    stored = store.versions(policy)
    if not stored or version not in {None, *stored}:
        what = f"policy {policy!r} has no snapshot" + ("" if version is None else f" of version {version}")
        next_step = f"stored versions: {stored}" if stored else "start the router on this journal once"
        raise fail(what, next_step=next_step)
    return store.load(policy, stored[0] if version is None else version)


def _print(result: Comparison, json: bool) -> None:
    if json:
        print_json(asdict(result) | {"same": result.same})
        return
    what = "predictions" if result.max_abs_difference else "counts"
    pairs = {
        "policy": f"{result.policy}, version {result.version}",
        "replayed": f"{result.episodes} learned episodes",
        "compared": f"{result.predictions} predictions",
        "largest difference": f"{result.max_abs_difference:g}",
        "verdict": "the same, bit for bit" if result.same else f"DIFFERENT {what}",
    }
    console().print(facts(pairs.items()))
