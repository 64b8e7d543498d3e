"""Tables that a run writes into a page of docs/, between two marks, with what ran."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path


def table(rows: Iterable[Sequence[str]]) -> str:
    """Rows in Markdown; the first is the head."""
    head, *rest = rows
    return "\n".join(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rest))


def write_between(page: Path, marks: tuple[str, str], text: str, place: Mapping[str, str]) -> None:
    """Puts a text between the marks, and below it when, at which commit and by which command it was seen."""
    before, _, rest = page.read_text("utf-8").partition(marks[0])
    after = rest.partition(marks[1])[2]
    seen = f"Seen on {place['date']} at commit {place['commit']} by `{place['command']}`."
    page.write_text(f"{before}{marks[0]}\n{text}\n\n{seen}\n{marks[1]}{after}", "utf-8")
