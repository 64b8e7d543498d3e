"""`sojourn top`: a policy at work, drawn anew every second from the records that came since.

A frame is a plain value made of the report's figures; it becomes a table, or JSON. Off a terminal there is one frame.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn_server.cli.output import console, facts, print_json, progress, table
from sojourn_server.cli.source import Address, Json, PlaceIfAny, Policy, Source, open_source

if TYPE_CHECKING:
    from rich.console import Group

    from sojourn_server.exchange.episodes import Reading
    from sojourn_server.reports.figures import Interval


def top(
    *,
    policy: Policy = "default",
    last: Annotated[int, typer.Option(min=1, help="Figures of the newest ended episodes, this many.")] = 500,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds from frame to frame.")] = 1.0,
    once: Annotated[bool, typer.Option("--once", help="Print one frame and end.")] = False,
    address: Address = None,
    journal: PlaceIfAny = None,
    json: Json = False,
) -> None:
    """Watch a policy: decisions, models by tool type, switches, score, and money against never switching.

    \b
    Examples:
      sojourn top
      sojourn top --address router.internal:50051 --last 200 --every 5
      sojourn top --once --json

    The journal is read from its start once, then only what is new. Figures are of the newest ended episodes that the
    policy itself served. Ctrl-C ends it. With --once, with --json, or without a terminal it prints one frame.
    """
    from sojourn_server.exchange.episodes import Reading

    reading = Reading(policy, newest=last)
    with open_source(address, journal) as source:
        with progress("journal", source.policy(policy).journal_position) as moved_to:
            for record in source.records(0):
                reading.take(record)
                moved_to(record.position)
        if json:
            print_json(frame(reading, source, 0.0))
        elif once or not console().is_terminal:
            console().print(_drawn(frame(reading, source, 0.0)))
        else:
            _watch(reading, source, every)


def _watch(reading: Reading, source: Source, every: float) -> None:
    """Draws until it is interrupted."""
    from rich.live import Live

    from sojourn_server.hosts.stop import Stop

    stop = Stop()
    signal.signal(signal.SIGINT, lambda *_: stop.set())  # an exception could be lost inside gRPC
    with Live(_drawn(frame(reading, source, 0.0)), console=console(), screen=True, auto_refresh=False) as live:
        before, since = reading.decisions, time.monotonic()
        while not stop.wait(every):
            for record in source.records(reading.position):
                reading.take(record)
            rate = (reading.decisions - before) / (time.monotonic() - since)
            live.update(_drawn(frame(reading, source, rate)), refresh=True)
            before, since = reading.decisions, time.monotonic()


def frame(reading: Reading, source: Source, decisions_per_second: float) -> dict[str, Any]:
    """What one frame says."""
    from sojourn.v1 import types_pb2
    from sojourn_server.evaluation.savings import compare, sentence
    from sojourn_server.exchange.turns import short_name
    from sojourn_server.reports import figures

    stands, ended = source.policy(reading.policy), list(reading.ended)
    own, found = figures.own(ended), figures.shares(ended)
    assigned = [e.assigned for e in (*ended, *reading.still_open()) if e.assigned is not None]
    return {
        "policy": stands.policy,
        "mode": short_name(types_pb2.Mode, stands.mode),
        "policy_version": stands.policy_version,
        "journal_position": stands.journal_position,
        "decisions": reading.decisions,
        "decisions_per_second": decisions_per_second,
        "episodes_ended": reading.ended_count,
        "episodes_open": reading.open_count,
        "score": _as_json(figures.mean(e.score for e in own if e.score is not None)),
        "cost_usd": _as_json(figures.mean(e.cost_usd for e in own if e.cost_usd is not None)),
        "switches": _as_json(figures.switching(ended).own),
        "stays_after_error": _as_json(figures.staying(ended).after_error),
        "shares": {tool: {m: share.value for m, share in row.items()} for tool, row in found.share.items()},
        "against_never_switch": sentence(compare(assigned, "never-switch")),
    }


def _as_json(found: Interval | None) -> dict[str, float | None] | None:
    """JSON has no infinity: an interval that cannot tell has no ends."""
    if found is None:
        return None
    low, high = (found.low, found.high) if found.tells else (None, None)
    return {"value": found.value, "low": low, "high": high, "episodes": found.episodes}


def _drawn(shown: dict[str, Any]) -> Group:
    from rich.console import Group

    version = f"version {shown['policy_version']} (the journal is at {shown['journal_position']})"
    rate = f"{shown['decisions']}, {shown['decisions_per_second']:.1f} a second"
    pairs = [
        ("policy", f"{shown['policy']}, mode {shown['mode']}, {version}"),
        ("decisions", rate),
        ("episodes", f"{shown['episodes_ended']} ended, {shown['episodes_open']} open"),
        *((name, _told(shown[key])) for name, key in _FIGURES),
        ("money", shown["against_never_switch"]),
    ]
    return Group(facts(pairs), "", _shares(shown["shares"]))


_FIGURES = (
    ("score", "score"),
    ("USD an episode", "cost_usd"),
    ("switches an episode", "switches"),
    ("stays after an error", "stays_after_error"),
)


def _told(found: dict[str, Any] | None) -> str:
    if found is None:
        return "nothing yet"
    within = "cannot tell yet within what" if found["low"] is None else f"{found['low']:.3g} to {found['high']:.3g}"
    return f"{found['value']:.3g} ({within}; {found['episodes']} episodes)"


def _shares(shares: dict[str, dict[str, float]]) -> Any:
    models: Sequence[str] = list(next(iter(shares.values()), {}))
    rows = [(tool or "(none)", *(f"{row[m]:.0%}" for m in models)) for tool, row in shares.items()]
    return table("Share of turns by tool type", ("tool type", *models), rows)
