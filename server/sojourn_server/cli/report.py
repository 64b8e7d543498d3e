"""`sojourn report`: one HTML file that says whether a policy learns, stays, specialises, saves and drifts.

The figures and the page are made in `sojourn_server.reports`; here the journal is read, with a bar.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated

import typer

from sojourn_server.cli.output import fail, progress, warn, whole_file
from sojourn_server.cli.source import Address, PlaceIfAny, Policy, open_source


def report(
    *,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output unless given.", metavar="FILE")
    ] = None,
    policy: Policy = "default",
    last: Annotated[int, typer.Option(min=1, help="Report on the newest ended episodes only, this many.")] = 10_000,
    address: Address = None,
    journal: PlaceIfAny = None,
) -> None:
    """Write a page about a policy: learning, switches, staying, models by work, savings, cache money, drift.

    \b
    Examples:
      sojourn report -o report.html
      sojourn report --journal sojourn-data --policy research --last 2000 -o report.html

    The page is one HTML file without scripts that loads nothing; open it in a browser or print it. Each section begins
    with what to conclude, or says that the data cannot tell yet. docs/reports.md explains the figures.
    Reads only, so it can run beside the router. Exit code 0, or 2 if no episode has ended yet.
    """
    from sojourn.v1 import types_pb2
    from sojourn_server.exchange.episodes import Reading
    from sojourn_server.exchange.turns import short_name
    from sojourn_server.reports.page import Facts, page

    reading = Reading(policy, newest=last)
    with open_source(address, journal) as source:
        found = source.policy(policy)
        with progress("journal", found.journal_position) as moved_to:
            for record in source.records(0):
                reading.take(record)
                moved_to(record.position)
    if not reading.ended:
        raise fail(f"no episode of policy {policy!r} has ended yet", next_step="report outcomes (ReportOutcome)")
    about = Facts(
        policy=policy,
        mode=short_name(types_pb2.Mode, found.mode),
        journal_position=reading.position,
        made_at_ms=time.time_ns() // 1_000_000,
        left_out=reading.ended_count - len(reading.ended),
    )
    with whole_file(output) as file:
        file.write(page(reading.ended, about).encode())
    warn(f"{len(reading.ended)} episodes reported on")
