"""`sojourn demo`: live BabyAI episodes through a router of its own, and a table of how its policies fared.

The router starts in this process on a free port with a fresh SQLite journal, and the episodes reach it through the
Python client over gRPC, as an agent's would. The journal stays, so that the other commands can look at it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import asdict
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn_server.cli.output import console, fail, print_json, progress

if TYPE_CHECKING:  # the demo needs an extra of its own, and a second to import
    from sojourn_server.demo.contest import Outcome, Plan


class PromptSize(StrEnum):
    """How long the scripted prompts are: 1.5k to 8k tokens, or 8k to 60k."""

    SMALL = "small"
    LARGE = "large"


def demo(
    *,
    episodes: Annotated[int, typer.Option(min=1, help="Episodes for each of the four policies.")] = 400,
    seed: Annotated[int, typer.Option(help="Names the tasks and the luck.")] = 1,
    prompts: Annotated[PromptSize, typer.Option(help="1.5k to 8k tokens, or 8k to 60k.")] = PromptSize.SMALL,
    cost_weight: Annotated[float, typer.Option(min=0, help="Score that one USD is worth.")] = 1.0,
    data_dir: Annotated[Path | None, typer.Option(help="An empty directory for the journal.", metavar="DIR")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Play live BabyAI episodes through a router of its own, and compare policies on the same episodes.

    \b
    Examples:
      sojourn demo
      sojourn demo --episodes 600 --prompts large --data-dir demo-data
    """
    directory = _directory(data_dir)
    try:
        from sojourn_server.demo.contest import Plan
    except ModuleNotFoundError as error:
        raise fail(str(error)) from None
    plan = Plan(episodes, seed, prompts.value, cost_weight=cost_weight, directory=directory)
    outcome = _play(plan)
    if json:
        print_json(_as_json(plan, outcome))
    else:
        _print(plan, outcome)


def _directory(given: Path | None) -> Path:
    """Where the journal goes. Exits if its episodes would mix with others."""
    if given is None:
        return Path(tempfile.mkdtemp(prefix="sojourn-demo-"))
    if given.exists() and (not given.is_dir() or any(given.iterdir())):
        raise fail(f"{given} is not an empty directory", next_step="give another --data-dir, or none")
    return given


def _play(plan: Plan) -> Outcome:
    from sojourn_server.app import App
    from sojourn_server.cli.logs import configure_logs
    from sojourn_server.demo.contest import CONTESTANTS, hold

    configure_logs("error", "auto")
    total = plan.episodes * CONTESTANTS
    typer.echo(f"playing {total} live episodes; 1600 take about two minutes", err=True)
    with progress("episodes", total) as move_to:
        return hold(plan, App.open, played=_adding_up(move_to))


def _adding_up(move_to: Callable[[int], None]) -> Callable[[int], None]:
    """Takes counts from two threads and moves the bar to their sum."""
    counts: list[int] = []

    def played(count: int) -> None:
        counts.append(count)
        move_to(sum(counts))

    return played


def _print(plan: Plan, outcome: Outcome) -> None:
    from sojourn_server.demo.report import PROVENANCE, block_table, explanation, where_next

    out = console()
    out.print(PROVENANCE)
    out.print(block_table([*outcome.blocks, *outcome.totals], cost_weight=plan.cost_weight))
    if outcome.fallbacks:
        out.print(f"The client decided {outcome.fallbacks} turn(s) by itself: no answer in time.")
    if outcome.telling_switch is not None:
        out.print(explanation(outcome.telling_switch))
    out.print(where_next(plan.directory, outcome.telling_switch), soft_wrap=True)


def _as_json(plan: Plan, outcome: Outcome) -> dict[str, Any]:
    from sojourn_server.demo.report import PROVENANCE

    switch = outcome.telling_switch
    return {
        "provenance": PROVENANCE,
        "episodes": plan.episodes,
        "seed": plan.seed,
        "prompts": plan.prompts,
        "cost_weight": plan.cost_weight,
        "data_dir": str(plan.directory),
        "blocks": [asdict(row) for row in outcome.blocks],
        "totals": [asdict(row) for row in outcome.totals],
        "decided_by_client": outcome.fallbacks,
        "decision": None if switch is None else asdict(switch.decision),
    }
