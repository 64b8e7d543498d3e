"""Rows of CSV or JSON lines as texts by column, and cells read from them without ever failing.

A file is taken as UTF-8; bytes that are not become U+FFFD. JSON objects nest: column "usage.input" is
the value under both keys. What is wrong with a cell is collected with its column, so that one row reports all of it.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import IO, Any, NamedTuple

from sojourn_server.config import ConfigError
from sojourn_server.exchange.column_map import NumberColumn
from sojourn_server.rpc.validation import MAX_TOKENS, Mistakes

MAX_MS = 4_102_444_800_000  # the year 2100
_NUMBER = re.compile(r"[-+]?[\d.]+(e[-+]?\d+)?\Z", re.IGNORECASE)
_ODD = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")


class Rejected(NamedTuple):
    """A row that was left out: file, line, column ("" = the whole row), and why."""

    file: str
    line: int
    column: str
    because: str


class Row(NamedTuple):
    """A row as texts by column; a JSON row lacks what its object lacks."""

    line: int
    cells: Mapping[str, str]


def read_rows(path: Path, needed: Collection[str]) -> Iterator[Row | Rejected]:
    """Rows of a `.csv` file, else of a file of JSON lines. Raises ConfigError if it cannot be read or lacks columns."""
    try:
        with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
            yield from _csv_rows(file, path, needed) if path.suffix.lower() == ".csv" else _json_rows(file, path)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error


def _csv_rows(file: IO[str], path: Path, needed: Collection[str]) -> Iterator[Row | Rejected]:
    reader = csv.reader(file)
    header = next(reader, [])
    missing = sorted(set(needed) - set(header))
    if missing:
        raise ConfigError([f"{path}: no column {column!r}; it has {header}" for column in missing])
    while True:
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            yield Rejected(path.name, reader.line_num, "", f"is not CSV: {error}")
            continue
        if len(values) == len(header):
            yield Row(reader.line_num, dict(zip(header, values, strict=True)))
        elif values:
            yield Rejected(path.name, reader.line_num, "", f"has {len(values)} cells, the header has {len(header)}")


def _json_rows(file: IO[str], path: Path) -> Iterator[Row | Rejected]:
    for line, text in enumerate(file, start=1):
        if not text.strip():
            continue
        try:
            yield Row(line, dict(_flattened(json.loads(text).items())))
        except (ValueError, RecursionError) as error:
            yield Rejected(path.name, line, "", f"is not JSON: {error}")
        except AttributeError:
            yield Rejected(path.name, line, "", "is not a JSON object")


def _flattened(items: Collection[tuple[str, Any]], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in items:
        if isinstance(value, dict):
            yield from _flattened(value.items(), f"{prefix}{key}.")
        elif value is not None:
            yield f"{prefix}{key}", value if isinstance(value, str) else json.dumps(value)


class Cells:
    """One row's cells under the map's words; an absent column or an empty cell is None or ""."""

    def __init__(self, row: Row) -> None:
        self._cells = row.cells
        self.mistakes = Mistakes()  # their fields are columns

    def _given(self, column: str | None) -> str:
        return self._cells.get(column, "").strip() if column else ""

    def text(self, column: str | None, *, separator: str | None = None) -> str:
        """A name of at most 128 bytes without control characters; of several names the first."""
        value = self._given(column)
        if separator:
            value = value.split(separator, 1)[0]
        if _ODD.search(value):
            self.mistakes.add(str(column), "must be text without control characters and lone surrogates")
            return _ODD.sub("?", value)
        self.mistakes.name(str(column), value)
        return value

    def part(self, column: str) -> str:
        """A part of an episode's name: as `text`, but required and of any length."""
        value = self._given(column)
        if not value or _ODD.search(value):
            self.mistakes.add(column, "is required to name the episode, without control characters and lone surrogates")
        return _ODD.sub("", value)

    def number(self, source: NumberColumn | None, *, most: float | None = None, signed: bool = False) -> float | None:
        """A finite number after scaling; at least 0 unless signed."""
        given = self._given(source.column if source else None)
        if source is None or not given:
            return None
        try:
            value = float(given) * source.scale
        except ValueError:
            self.mistakes.add(source.column, f"must be a number, is {given[:48]!r}")
            return None
        if not signed:
            self.mistakes.at_least_zero(source.column, value, most=most)
        elif not isfinite(value):
            self.mistakes.add(source.column, f"must be a finite number, is {value}")
        return value

    def whole(self, source: NumberColumn | None, *, most: int = MAX_TOKENS) -> int | None:
        """A number of things, such as tokens, rounded to the nearest whole one."""
        value = self.number(source, most=most)
        return round(value) if value is not None and 0 <= value <= most else None

    def word(self, column: str | None, words: Mapping[str, str]) -> str:
        """What the map says a text stands for, whatever its capitals; "UNSPECIFIED" if the cell is empty."""
        given = self._given(column)
        found = {text.lower(): word for text, word in words.items()}.get(given.lower())
        if given and found is None:
            self.mistakes.add(str(column), f"must be one of {sorted(words)}, is {given[:48]!r}")
        return found or "UNSPECIFIED"

    def at_ms(self, source: NumberColumn | None) -> int | None:
        """A time in ms since 1970: a number after scaling, or ISO 8601 (UTC unless it says otherwise)."""
        given = self._given(source.column if source else None)
        if source is None or not given or _NUMBER.match(given):
            return self.whole(source, most=MAX_MS)
        try:
            moment = datetime.fromisoformat(given)
        except ValueError:
            self.mistakes.add(source.column, f"must be a number or an ISO 8601 time, is {given[:48]!r}")
            return None
        return round((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp() * 1000)
