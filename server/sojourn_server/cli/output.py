"""What commands say, and where: results on standard output, everything else on standard error.

Texts from outside (model names, episode ids, error messages) are never read as markup. Off a terminal tables get
room enough that nothing is cut.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import typer
from google.protobuf import json_format
from google.protobuf.message import Message
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

WIDTH_OFF_TERMINAL = 200
CANNOT_RUN = 2


def fail(message: str, *, next_step: str = "", code: int = CANNOT_RUN) -> typer.Exit:
    """Says on standard error what is wrong and what to do; returns the exit to raise."""
    typer.echo(f"sojourn: {message}", err=True)
    if next_step:
        typer.echo(f"  next: {next_step}", err=True)
    return typer.Exit(code)


def warn(message: str) -> None:
    """Says something on standard error and goes on."""
    typer.echo(f"sojourn: {message}", err=True)


@contextmanager
def whole_file(output: Path | None) -> Iterator[IO[bytes]]:
    """Standard output, or a file that takes its name once it is complete."""
    if output is None:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    partial = output.with_name(f"{output.name}.partial")
    try:
        with partial.open("wb") as file:
            yield file
        partial.replace(output)
    except OSError as error:
        raise fail(f"cannot write {output}: {error.strerror or error}") from None
    finally:
        partial.unlink(missing_ok=True)


def console(*, error: bool = False) -> Console:
    """A console for standard output (or error) that takes texts as they are."""
    made = Console(stderr=error, markup=False, emoji=False, highlight=False, soft_wrap=False)
    if not made.is_terminal:
        made.width = WIDTH_OFF_TERMINAL
    return made


def print_json(value: Any) -> None:
    """One JSON document on standard output."""
    typer.echo(json.dumps(value, indent=2, ensure_ascii=False))


def as_json(message: Message) -> Any:
    """A message in protobuf's JSON form with the contract's field names; 64-bit integers are strings there."""
    return json_format.MessageToDict(message, preserving_proto_field_name=True)


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[str]], *, left: int = 1) -> Table:
    """A table whose first `left` columns are texts and whose others are numbers."""
    made = Table(title=title, title_justify="left", box=None, pad_edge=False, header_style="bold")
    for i, column in enumerate(columns):
        made.add_column(column, justify="left" if i < left else "right", overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


def facts(pairs: Iterable[tuple[str, str]]) -> Table:
    """Names and values, one pair a line; pairs without a value are left out."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(style="dim")
    made.add_column(overflow="fold")
    for name, value in pairs:
        if value:
            made.add_row(name, value)
    return made


def number(value: float | None, digits: int = 3) -> str:
    """A number with as many decimals; "-" for None."""
    return "-" if value is None else f"{value:.{digits}f}"


def usd(value: float | None) -> str:
    """Money to four significant digits; "-" for None."""
    return "-" if value is None else f"{value:.4g}"


@contextmanager
def progress(description: str, total: int | None) -> Iterator[Callable[[int], None]]:
    """A bar on standard error where that is a terminal; yields the function that moves it to a count."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    shown = console(error=True)
    with Progress(*columns, console=shown, transient=True, disable=not shown.is_terminal) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.update(task, completed=done)
