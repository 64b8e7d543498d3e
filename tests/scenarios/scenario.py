"""Scenarios as data: a rule in a sentence, and the steps that show it, from the JSON files of this folder.

What a step expects is a part of what it must find. An object matches if each of its keys does, a list if it has as
many items and each matches; null stands for "absent", `"$name.key"` for a value of the step that was saved under
that name, and `{"at_least": n}` and `{"not": value}` for what they say. README.md beside this file lists the steps.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent
SMOKE = "first_decision"
"""The scenario that a short run plays."""

Found = Mapping[str, Any]


@dataclass(frozen=True)
class Scenario:
    """One file: its stem, its rule, its steps in order."""

    name: str
    rule: str
    steps: tuple[Mapping[str, Any], ...]


def read_scenarios() -> list[Scenario]:
    """All scenarios by name."""
    return [_read(path) for path in sorted(FOLDER.glob("*.json"))]


def differences(expected: Any, found: Any, saved: Mapping[str, Found], at: str = "") -> Iterator[str]:
    """What of `expected` is not `found`, a line each."""
    if isinstance(expected, str) and expected.startswith("$"):
        name, _, key = expected[1:].partition(".")
        expected = saved[name].get(key)
    if isinstance(expected, dict) and expected.keys() <= {"at_least", "not"}:
        yield from _misses(expected, found, saved, at)
    elif isinstance(expected, dict) and isinstance(found, Mapping):
        for key, value in expected.items():
            yield from differences(value, found.get(key), saved, f"{at}.{key}" if at else key)
    elif isinstance(expected, list) and isinstance(found, list) and len(expected) == len(found):
        for index, (value, item) in enumerate(zip(expected, found, strict=True)):
            yield from differences(value, item, saved, f"{at}[{index}]")
    elif expected != found:
        yield f"{at or 'answer'}: expected {expected!r}, found {found!r}"


def _misses(wish: Mapping[str, Any], found: Any, saved: Mapping[str, Found], at: str) -> Iterator[str]:
    if "at_least" in wish and not (isinstance(found, int | float) and found >= wish["at_least"]):
        yield f"{at}: expected at least {wish['at_least']}, found {found!r}"
    if "not" in wish and not list(differences(wish["not"], found, saved)):
        yield f"{at}: expected anything but {found!r}"


def _read(path: Path) -> Scenario:
    content = json.loads(path.read_text(encoding="utf-8"))
    return Scenario(path.stem, content["rule"], tuple(content["steps"]))
