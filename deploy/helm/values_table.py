"""The table of the chart's values: `python -m deploy.helm.values_table` puts it into docs/deploy.md.

It is made from deploy/helm/sojourn/values.yaml, where each value stands on a line of its own with its words behind it.
A test compares the two.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
VALUES = ROOT / "deploy" / "helm" / "sojourn" / "values.yaml"
PAGE = ROOT / "docs" / "deploy.md"
BEGIN, END = "<!-- values: made by `python -m deploy.helm.values_table` -->\n", "<!-- end of values -->\n"
_LINE = re.compile(r"^(?P<indent> *)(?P<key>[A-Za-z]\w*):(?: (?P<default>[^#].*?))?(?: +# (?P<words>.*))?$")


class Value(NamedTuple):
    """A value: its dotted name, its default as YAML ("" = it has parts), and what is said of it."""

    name: str
    default: str
    words: str


def values(text: str) -> Iterator[Value]:
    """Every value of the file, those with parts too, in its order."""
    path: list[str] = []
    for line in text.splitlines():
        if found := _LINE.match(line):
            path[len(found["indent"]) // 2 :] = [found["key"]]
            yield Value(".".join(path), found["default"] or "", found["words"] or "")


def table(text: str) -> str:
    """The rows of what can be set by itself, and of parts that something is said of."""
    rows = [f"| `{v.name}` | {f'`{v.default}`' if v.default else ''} | {v.words} |" for v in values(text) if v.words]
    return "\n".join(["| value | default | what it does |", "| --- | --- | --- |", *rows]) + "\n"


def page(text: str) -> str:
    """The page with its table made anew."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return before + BEGIN + table(VALUES.read_text(encoding="utf-8")) + END + after


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
