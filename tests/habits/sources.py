"""Reads the repository's own Python as syntax trees, for the habits that are checked without running it.

Nothing here imports the code it reads, so a module that cannot be imported is still measured. Generated
stubs are left out: nobody writes them by hand.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
SERVER = REPOSITORY / "server"
CLIENT = REPOSITORY / "clients" / "python"


@dataclass(frozen=True)
class Module:
    """One source file: its dotted name (a package goes by its folder's) and its text."""

    name: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree; raises SyntaxError where the text is none."""
        return ast.parse(self.text)

    @property
    def line_count(self) -> int:
        """Lines of the file, blank ones and comments included."""
        return len(self.text.splitlines())

    @property
    def has_code(self) -> bool:
        """Whether anything stands beside the docstring."""
        return any(not _is_docstring(statement) for statement in self.tree.body)


def read_modules(shelf: Path) -> list[Module]:
    """Every hand-written module below a shelf (a folder on the import path), sorted by name."""
    paths = sorted(p for p in shelf.rglob("*.py") if "_pb2" not in p.name)
    return [Module(_dotted_name(p.relative_to(shelf)), p.read_text(encoding="utf-8")) for p in paths]


def is_within(name: str, *packages: str) -> bool:
    """Whether a dotted name is one of the packages or lies below one."""
    return any(f"{name}.".startswith(f"{package}.") for package in packages)


def imported_names(tree: ast.AST) -> Iterator[str]:
    """Dotted names of all that is imported, at whatever depth; `from a import b` gives `a.b`."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module or '.'}.{alias.name}" for alias in node.names)


def _dotted_name(path: Path) -> str:
    parts = path.with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _is_docstring(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant)
