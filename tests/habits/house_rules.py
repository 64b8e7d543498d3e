"""Measures the house rules: how long modules and functions are, how they are named, why a check is silenced.

Each measure is a plain function from modules to numbers or findings, so the tests can show that it fails on a
bad sample. `python -m tests.habits.house_rules` prints the numbers. The core is what serves a decision and
learns from it; what stands beside it (views for people, import and export, security, upkeep, the demo's world) has
budgets of its own.
"""

from __future__ import annotations

import ast
import re
import statistics
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from tests.habits.sources import SERVER, Module, is_within, read_modules

CORE_LINES = 4_500
CORE_MODULES = 32
BESIDE_LINES = {
    ("sojourn_server.cli", "sojourn_server.evaluation", "sojourn_server.reports"): 3_000,
    ("sojourn_server.exchange",): 1_300,
    ("sojourn_server.security",): 600,
    ("sojourn_server.upkeep",): 1_000,
    ("sojourn_server.hosts",): 1_400,
    ("sojourn_server.demo",): 1_500,
}
"""Packages beside the core, and the lines that they may have together."""
MODULE_LINES = 300
FUNCTION_LINES_MEDIAN = 8
FUNCTION_LINES_P95 = 35
FUNCTION_LINES = 60
POSITIONAL_PARAMETERS = 4
DOCSTRING_LINES = (3, 10)
SMALL_MODULE_LINES = 100
BANNED_NAMES = {"util", "utils", "helper", "helpers", "common", "core", "manager", "managers", "impl"}

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class FunctionSize:
    """One function, method or inner function; decorators and `self` are not counted, docstrings are."""

    where: str
    line_count: int
    positional_count: int


def is_core(module: Module) -> bool:
    """Whether a server module serves decisions or learns from them, rather than standing beside those that do."""
    return not any(is_within(module.name, *packages) for packages in BESIDE_LINES)


def lines_of(modules: Iterable[Module], packages: tuple[str, ...]) -> int:
    """Lines of some packages."""
    return total_lines(module for module in modules if is_within(module.name, *packages))


def total_lines(modules: Iterable[Module]) -> int:
    """Lines that say something, of all modules together: blank ones are the formatter's, not ours."""
    return sum(bool(line.strip()) for module in modules for line in module.text.splitlines())


def function_sizes(modules: Iterable[Module]) -> list[FunctionSize]:
    """Every function of the modules, longest first."""
    sizes = [
        FunctionSize(
            where=f"{module.name}:{function.lineno} {function.name}",
            line_count=(function.end_lineno or function.lineno) - function.lineno + 1,
            positional_count=_positional_count(function, is_method=is_method),
        )
        for module in modules
        for function, is_method in _functions(module.tree)
    ]
    return sorted(sizes, key=lambda size: -size.line_count)


def percentile_95(values: Iterable[int]) -> int:
    """The value below which 95 of 100 values lie; raises IndexError on no values."""
    ordered = sorted(values)
    return ordered[int(0.95 * (len(ordered) - 1))]


def has_banned_name(module: Module) -> bool:
    """Whether any part of a dotted name is, or ends like, a word that says nothing (`_utils`, `_impl`)."""
    return any(part.rpartition("_")[2] in BANNED_NAMES for part in module.name.split("."))


def tells_its_theory(module: Module) -> bool:
    """Whether the docstring has 3 to 10 lines; a module of up to 100 lines may say it in one."""
    fewest, most = DOCSTRING_LINES
    if module.line_count <= SMALL_MODULE_LINES:
        fewest = 1
    return fewest <= len((ast.get_docstring(module.tree) or "").splitlines()) <= most


def silenced_without_reason(module: Module) -> list[int]:
    """Line numbers where a check is silenced and no reason follows, as in `# noqa: BLE001 - it goes on`."""
    return [
        number
        for number, line in enumerate(module.text.splitlines(), start=1)
        if (silencer := _SILENCER.search(line)) and not re.search(r"[a-z]{3}", line[silencer.end() :])
    ]


_SILENCER = re.compile(r"#\s*(?:noqa|type:\s*ignore)\b(?::\s*[A-Z]+\d+(?:,\s*[A-Z]+\d+)*|\[[\w, -]+\])?")


def _functions(tree: ast.Module) -> Iterator[tuple[Function, bool]]:
    """Every function with whether it is a method."""
    for parent in ast.walk(tree):
        for child in ast.iter_child_nodes(parent):
            if isinstance(child, Function):
                yield child, isinstance(parent, ast.ClassDef)


def _positional_count(function: Function, *, is_method: bool) -> int:
    static = any(isinstance(d, ast.Name) and d.id == "staticmethod" for d in function.decorator_list)
    arguments = [*function.args.posonlyargs, *function.args.args]
    return len(arguments) - (1 if is_method and not static else 0)


def report() -> str:
    """The numbers of the server as it stands, beside their limits."""
    modules = [module for module in read_modules(SERVER) if module.has_code]
    core = [module for module in modules if is_core(module)]
    sizes = function_sizes(modules)
    lengths = [size.line_count for size in sizes]
    longest = max(modules, key=lambda module: module.line_count)
    rows = [
        ("core lines", total_lines(core), CORE_LINES),
        ("core modules", len(core), CORE_MODULES),
        *(
            (f"lines of {_short(packages)}", lines_of(modules, packages), most)
            for packages, most in BESIDE_LINES.items()
        ),
        (f"longest module ({longest.name})", longest.line_count, MODULE_LINES),
        ("function lines, median", statistics.median(lengths), FUNCTION_LINES_MEDIAN),
        ("function lines, 95th percentile", percentile_95(lengths), FUNCTION_LINES_P95),
        (f"longest function ({sizes[0].where})", lengths[0], FUNCTION_LINES),
    ]
    return "\n".join(f"{value:6g} of {limit:5d}  {name}" for name, value, limit in rows)


def _short(packages: Iterable[str]) -> str:
    return ", ".join(package.rpartition(".")[2] for package in packages)


if __name__ == "__main__":
    sys.stdout.write(f"House rules, server:\n{report()}\n")
