"""`sojourn export`: the journal as JSON lines, or its decisions as Parquet, for evaluation in any language.

A line is one `sojourn.v1.JournalRecord` in protobuf's JSON form, which `json_format.Parse` reads back without loss.
Parquet has one row per decision; `decision_rows.COLUMNS` names its columns. A file appears whole or not at all.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from typing import IO, Annotated

import typer

from sojourn.v1 import journal_pb2
from sojourn_server.cli.output import fail, progress, warn, whole_file
from sojourn_server.cli.source import Address, PlaceIfAny, Source, open_source

Records = Iterator[journal_pb2.JournalRecord]


class ExportFormat(StrEnum):
    """What is written."""

    JSONL = "jsonl"
    PARQUET = "parquet"


def export(
    *,
    format: Annotated[ExportFormat, typer.Option(help="JSON lines of records, or Parquet rows of decisions.")] = (
        ExportFormat.JSONL
    ),
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; standard output unless given.", metavar="FILE")
    ] = None,
    after: Annotated[int, typer.Option(min=0, help="Only records after this journal position.")] = 0,
    address: Address = None,
    journal: PlaceIfAny = None,
) -> None:
    """Write the journal as JSON lines, or its decisions as Parquet.

    \b
    Examples:
      sojourn export --journal sojourn-data > journal.jsonl
      sojourn export --address router.internal:50051 --after 120000 -o new.jsonl
      sojourn export --journal sojourn-data --format parquet -o decisions.parquet

    JSON lines: one sojourn.v1.JournalRecord a line, in journal order, in protobuf's JSON form with the contract's
    field names (64-bit integers are strings there). Parquet: one row per decision with what was asked, chosen,
    served and scored, and the record as JSON; needs sojourn[parquet] and --output.
    A journal's directory can be read beside a running router.
    """
    write = _write_lines if format is ExportFormat.JSONL else _parquet_writer(output)
    with open_source(address, journal) as source, whole_file(output) as file:
        count = write(_shown(source, after), file)
    warn(f"{count} {'records' if format is ExportFormat.JSONL else 'decisions'} written")


def _shown(source: Source, after: int) -> Records:
    """The records, with a bar that follows their positions."""
    with progress("journal", source.policy("").journal_position) as moved_to:
        for record in source.records(after):
            yield record
            moved_to(record.position)


def _write_lines(records: Records, file: IO[bytes]) -> int:
    from sojourn_server.exchange.decision_rows import record_json

    count = 0
    for record in records:
        file.write(record_json(record).encode() + b"\n")
        count += 1
    return count


def _parquet_writer(output: Path | None) -> Callable[[Records, IO[bytes]], int]:
    if output is None:
        raise fail("Parquet is not for a terminal or a pipe", next_step="add --output FILE.parquet")
    try:
        from sojourn_server.exchange.parquet import write_parquet
    except ModuleNotFoundError as error:
        raise fail(f"{error.name} is not installed", next_step="pip install 'sojourn[server,parquet]'") from None
    return write_parquet
