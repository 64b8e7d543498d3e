"""`sojourn evaluate`: what another policy would have been worth on a journal, beside every control.

The estimates are made in `sojourn_server.evaluation`; here options become targets, and estimates a table or JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn_server.cli.output import console, fail, print_json, progress, table
from sojourn_server.cli.source import Json, Place, Policy, open_stored

if TYPE_CHECKING:
    from sojourn_server.config import ChoiceSettings
    from sojourn_server.evaluation.estimators import Estimate
    from sojourn_server.evaluation.evaluate import Evaluation
    from sojourn_server.evaluation.logged import Log
    from sojourn_server.evaluation.targets import Target
    from sojourn_server.journal.journal import Journal
    from sojourn_server.learner.fold import Fold

LOGGED, ASKED = "as logged", "as asked"
NOTES = (
    "Deployed value: had the policy served all episodes. IPS, SNIPS and DR correct for who was chosen; DM is the "
    "model's own extrapolation, without a correction. One step: the gain in score of one deviation at a phase's first "
    "visit, then as logged."
)


def evaluate(
    *,
    journal: Place = "sojourn-data",
    policy: Policy = "default",
    change: Annotated[
        list[str] | None,
        typer.Option("--set", help="A choice setting, as KEY=VALUE; several make one policy.", metavar="KEY=VALUE"),
    ] = None,
    version: Annotated[
        int | None, typer.Option(min=0, help="Serve this policy version all along; else what was known at the time.")
    ] = None,
    json: Json = False,
) -> None:
    """Estimate what a policy with other settings would have been worth, and every control beside it.

    \b
    Examples:
      sojourn evaluate --journal sojourn-data
      sojourn evaluate --set cost_weight=3 --set friction=0
      sojourn evaluate --set 'heuristic={"table": {"search": "small"}, "default": "large"}' --json
      sojourn evaluate --version 1204

    Reads only, so it can run beside the router. A policy that the journal cannot judge is refused, with the reason: no
    support, too few effective episodes, or a held turn at which it could differ.
    Exit code 0, or 2 if there is nothing to evaluate.
    """
    from sojourn_server.learner.fold import BadLesson

    try:
        with open_stored(journal) as (opened, _):
            log, found = _evaluate(opened, policy, change or (), version)
    except BadLesson as error:
        raise fail(str(error)) from None
    if json:
        print_json(
            {"episodes": len(log.episodes), "left_out": dict(log.left_out), "policies": [asdict(e) for e in found]}
        )
    else:
        _print(log, found)


def _evaluate(
    journal: Journal, policy: str, changes: Sequence[str], version: int | None
) -> tuple[Log, list[Evaluation]]:
    from sojourn_server.evaluation.evaluate import evaluate, model_shares
    from sojourn_server.evaluation.logged import read_log
    from sojourn_server.evaluation.targets import Target, controls
    from sojourn_server.learner.fold import Fold
    from sojourn_server.world import read_world

    world = read_world(journal)
    if policy not in world.policies:
        raise fail(f"the journal has no policy {policy!r}", next_step=f"there are: {sorted(world.policies)}")
    state = world.policies[policy]
    log = read_log(journal, policy, state)
    if not log.episodes:
        raise fail("there is no episode to evaluate with", next_step=f"left out: {dict(log.left_out) or 'none'}")
    settings = state.settings.choice
    targets = [Target(LOGGED, settings)]
    if changes or version is not None:
        served = None if version is None else _folded(Fold.prior(policy, world), journal, version)
        targets.append(_asked(settings, changes, served))
    targets += controls(settings, sorted(world.registry.models), model_shares(log.episodes))
    with progress("replaying", journal.position()) as moved_to:
        return log, evaluate(journal, Fold.prior(policy, world), log, targets, told=moved_to)


def _folded(fold: Fold, journal: Journal, version: int) -> Fold:
    fold.catch_up(journal, version)
    return fold


def _asked(settings: ChoiceSettings, changes: Sequence[str], served: Fold | None) -> Target:
    """The policy with changed settings; `served` is what it knows all along (None = what was known at the time)."""
    from sojourn_server.evaluation.targets import Target
    from sojourn_server.learner.snapshot import Published

    changed = _changed(settings, changes)
    weight = changed.cost_weight if changed.cost_weight != settings.cost_weight else None
    knowledge = None if served is None else Published(served.position, served.bandit, served.counts)
    return Target(ASKED, changed, cost_weight=weight, knowledge=knowledge)


def _changed(settings: ChoiceSettings, changes: Sequence[str]) -> ChoiceSettings:
    """The settings with KEY=VALUE changes; values are JSON where they can be read as such. Exits on a mistake."""
    import json

    from pydantic import ValidationError

    from sojourn_server.config import ChoiceSettings

    values = settings.model_dump()
    for change in changes:
        key, _, text = change.partition("=")
        try:
            values[key] = json.loads(text)
        except ValueError:
            values[key] = text
    try:
        return ChoiceSettings.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        raise fail(f"--set {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def _print(log: Log, found: Sequence[Evaluation]) -> None:
    columns = ("policy", "ESS", "score IPS", "SNIPS", "DR", "USD", "DM (extrapolation)", "one step", "")
    rows = [
        (
            e.target,
            f"{e.effective_sample_size:.0f}",
            *map(_shown, (e.score_ips, e.score_snips, e.score_dr, e.cost_usd, e.model_value, e.one_step_gain)),
            e.refused,
        )
        for e in found
    ]
    out = console()
    out.print(table(f"{len(log.episodes)} episodes, 95 % intervals", columns, rows))
    out.print(NOTES)
    if log.left_out:
        left = ", ".join(f"{count} {why}" for why, count in log.left_out.most_common())
        out.print(f"Left out, so the estimates are about the others only: {left}.")


def _shown(estimate: Estimate | None) -> str:
    return "" if estimate is None else f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
