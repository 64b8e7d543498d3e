"""`sojourn evaluate`: what another policy would have been worth on a journal, beside every control.

The estimates are made in `sojourn_server.evaluation`; here options become targets, and estimates a table or JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from json import dumps, loads
from typing import Annotated, Any

import typer

from sojourn.v1 import admin_pb2
from sojourn_server.cli.output import as_json, console, fail, print_json, table
from sojourn_server.cli.source import Json, PlaceIfAny, Policy, open_source
from sojourn_server.evaluation.request import ESTIMATES

NOTES = (
    "Deployed value: had the policy served all episodes. IPS, SNIPS and DR correct for who was chosen; DM is the "
    "model's own extrapolation, without a correction. One step: the gain in score of one deviation at a phase's first "
    "visit, then as logged."
)


def evaluate(
    *,
    journal: PlaceIfAny = None,
    policy: Policy = "default",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="A choice setting, as KEY=VALUE; several make one policy.", metavar="KEY=VALUE"),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="Serve this policy version all along; else what was known at the time.")
    ] = None,
    address: Annotated[str | None, typer.Option(help="A running router that is to do it.", metavar="HOST:PORT")] = None,
    json: Json = False,
) -> None:
    """Estimate what a policy with other settings would have been worth, and every control beside it.

    \b
    Examples:
      sojourn evaluate --journal sojourn-data
      sojourn evaluate --set cost_weight=3 --set friction=0
      sojourn evaluate --set 'heuristic={"table": {"search": "small"}, "default": "large"}' --json
      sojourn evaluate --version 1204

    Without --journal and --address it reads sojourn-data. It reads only, so it can run beside the router. A policy that
    the journal cannot judge is refused, with the reason: no support, too few effective episodes, or a held turn at
    which it could differ. Exit code 0, or 2 if there is nothing to evaluate.
    """
    request = admin_pb2.EvaluatePolicyRequest(
        policy=policy, choice_settings_json=_as_json(change or ()), policy_version=version
    )
    with open_source(address, journal or (None if address else "sojourn-data")) as source:
        found = source.evaluate(request)
    if not found.episodes:
        raise fail("there is no episode to evaluate with", next_step=f"left out: {dict(found.left_out) or 'none'}")
    if json:
        print_json(as_json(found))
    else:
        _print(found)


def _as_json(changes: Sequence[str]) -> str:
    """KEY=VALUE changes as a JSON object; values are JSON where they can be read as such, else texts."""
    values = dict[str, Any]()
    for change in changes:
        key, _, text = change.partition("=")
        try:
            values[key] = loads(text)
        except ValueError:
            values[key] = text
    return dumps(values) if values else ""


def _print(found: admin_pb2.EvaluatePolicyResponse) -> None:
    columns = ("policy", "ESS", "score IPS", "SNIPS", "DR", "USD", "DM (extrapolation)", "one step", "")
    rows = [
        (
            e.name,
            f"{e.effective_sample_size:.0f}",
            *(_shown(getattr(e, name)) if e.HasField(name) else "" for name in ESTIMATES),
            e.refused,
        )
        for e in found.evaluations
    ]
    out = console()
    out.print(table(f"{found.episodes} episodes, 95 % intervals", columns, rows))
    out.print(NOTES)
    if found.left_out:
        left = ", ".join(f"{count} {why}" for why, count in sorted(found.left_out.items()))
        out.print(f"Left out, so the estimates are about the others only: {left}.")
    if found.without_cost_usd:
        out.print(f"No USD: {found.without_cost_usd} of the {found.episodes} episodes have no known money.")


def _shown(estimate: admin_pb2.Estimate) -> str:
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
