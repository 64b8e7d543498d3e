"""`sojourn explain`: an episode as a strip of sojourns, and why each switch or stay.

The stretches and their reasons are made in `sojourn_server.reports.stretches`; here they become a strip of letters (one
a turn, one letter a model), a table, a summary, or JSON. `sojourn show episode` has every turn with its probability.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn_server.cli.output import console, facts, print_json, table, usd
from sojourn_server.cli.source import Address, Json, PlaceIfAny, Policy, open_source

if TYPE_CHECKING:
    from rich.table import Table

    from sojourn.v1 import journal_pb2
    from sojourn_server.exchange.turns import DecidedTurn
    from sojourn_server.policy.registry import Registry
    from sojourn_server.reports.stretches import Stretch

STRIP_TURNS = 60
LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def explain(
    episode_id: Annotated[str, typer.Argument(help="The caller's name for the episode.")],
    *,
    policy: Policy = "default",
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """Explain an episode: where it stayed, where it switched, why, what went wrong and what it cost.

    \b
    Examples:
      sojourn explain ticket-4711
      sojourn explain ticket-4711 --journal sojourn-data --json

    The strip has a letter a turn, one letter a model, and a mark below each turn that went wrong: l, m or H for an
    error of low, medium or high severity. A row of the table is a decision with the turns that were held after it.
    "Forfeited" is what a switch threw away of the earlier model's prompt cache.
    """
    from sojourn_server.exchange.turns import registries_of
    from sojourn_server.reports.stretches import stretches

    with open_source(address, journal) as source:
        told = source.episode(policy, episode_id)
    registries = registries_of(told)
    found = stretches(told.records, registries)
    summary = _summary(told.records, registries, found)
    if json:
        print_json({**summary, "stretches": [_as_json(stretch) for stretch in found]})
    else:
        console().print(*_views(found, summary), sep="\n")


def _views(found: Sequence[Stretch], summary: dict[str, Any]) -> Iterator[Table | str]:
    turns = [turn for stretch in found for turn in stretch.turns]
    letters = _letters(turns)
    yield from strip(turns, letters)
    columns = ("", "turns", "model", "phase", "errors", "why", "forfeited USD", "USD")
    yield table("", columns, [_row(stretch, letters) for stretch in found], left=6)
    yield facts(_told(summary))


def _letters(turns: Sequence[DecidedTurn]) -> dict[str, str]:
    """A letter for each model, in the order in which they served."""
    return {model: LETTERS[i % len(LETTERS)] for i, model in enumerate(dict.fromkeys(t.served for t in turns))}


def strip(turns: Sequence[DecidedTurn], letters: Mapping[str, str]) -> Iterator[str]:
    """Lines of letters with a line of marks below each; nothing for no turns."""
    from sojourn_server.exchange.turns import has_error

    marks = {2: "l", 3: "m", 4: "H"}  # by Severity
    for start in range(0, len(turns), STRIP_TURNS):
        part = turns[start : start + STRIP_TURNS]
        yield f"{part[0].decision.request.turn_index:>5}  {''.join(letters[t.served] for t in part)}"
        yield f"{'':>5}  {''.join(marks.get(t.facts.error, '?') if t.facts and has_error(t) else ' ' for t in part)}"


def _row(stretch: Stretch, letters: Mapping[str, str]) -> tuple[str, ...]:
    first, last = (stretch.turns[i].decision.request.turn_index for i in (0, -1))
    return (
        "\N{RIGHTWARDS ARROW}" if stretch.switched else "",
        f"{first}" if first == last else f"{first}-{last}",
        f"{letters[stretch.model]} {stretch.model}",
        stretch.phase,
        ", ".join(f"{severity} at {turn}" for turn, severity in stretch.errors),
        stretch.why,
        usd(stretch.forfeited_usd) if stretch.switched else "",
        usd(stretch.cost_usd),
    )


def _summary(
    records: Sequence[journal_pb2.JournalRecord], registries: Mapping[int, Registry], found: Sequence[Stretch]
) -> dict[str, Any]:
    from sojourn_server.exchange.turns import ending
    from sojourn_server.learner.credit import cost_usd
    from sojourn_server.reports.stretches import staying

    end = ending(records)
    forfeited = [stretch.forfeited_usd for stretch in found if stretch.forfeited_usd is not None]
    return {
        "episode_id": records[0].episode_id,
        "policy": records[0].policy,
        "turns": sum(len(stretch.turns) for stretch in found),
        "switches": sum(stretch.switched for stretch in found),
        **staying([turn for stretch in found for turn in stretch.turns])._asdict(),
        "forfeited_usd": sum(forfeited) if forfeited else None,
        "cost_usd": cost_usd(records, registries),
        "status": (end.status or "scored") if end else "open",
        "score": end.score if end else None,
    }


def _told(summary: dict[str, Any]) -> list[tuple[str, str]]:
    """The summary, a fact a line."""
    after = summary["after_errors"]
    return [
        ("episode", f"{summary['episode_id']} (policy {summary['policy']})"),
        ("ended", summary["status"].lower() + ("" if summary["score"] is None else f", score {summary['score']:.3f}")),
        ("switches", f"{summary['switches']} in {summary['turns']} turns"),
        ("after errors", f"stayed {summary['stayed']} of {after} times" if after else "no error with a turn after it"),
        ("USD", f"{usd(summary['cost_usd'])}, of which {usd(summary['forfeited_usd'])} for caches left behind"),
    ]


def _as_json(stretch: Stretch) -> dict[str, Any]:
    return {
        "turns": [turn.decision.request.turn_index for turn in stretch.turns],
        "model": stretch.model,
        "phase": stretch.phase,
        "switched": stretch.switched,
        "why": stretch.why,
        "errors": [{"turn_index": turn, "severity": severity} for turn, severity in stretch.errors],
        "forfeited_usd": stretch.forfeited_usd,
        "cost_usd": stretch.cost_usd,
    }
