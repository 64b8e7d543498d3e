"""The arrows between modules: what may import what.

The choice, the credit and the reports are pure, so they can be done again at any time: no transport, no storage, no
clock and no threads, neither in these modules nor in any module of ours that they import. Each outside system has one
module that knows it. The client needs nothing but its two dependencies.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator

import pytest

from tests.habits.sources import CLIENT, SERVER, Module, imported_names, is_within, read_modules

IMPURE = ("grpc", "sqlite3", "asyncio", "time", "threading")
PURE = ("sojourn_server.policy", "sojourn_server.learner.credit", "sojourn_server.reports")
ONLY_HOME = {
    "vowpalwabbit": "sojourn_server.policy.bandit",
    "sqlite3": "sojourn_server.journal",
    "asyncpg": "sojourn_server.hosts.database",
    "sojourn_server.app": "sojourn_server.cli",
}
CLIENT_NEEDS = {"sojourn", "grpc", "google"}
STACKS = {
    "sojourn.integrations.litellm": {"litellm"},
    "sojourn.integrations.langchain": {"langchain", "langchain_core", "langgraph"},
    "sojourn.integrations.openai_agents": {"agents"},
    "sojourn.integrations.pydantic_ai": {"pydantic_ai"},
    "sojourn.integrations.strands": {"strands"},
}
"""Modules that an extra brings the packages for, and those packages."""
STACK_LINES = 150

SERVER_MODULES = read_modules(SERVER)
CLIENT_MODULES = read_modules(CLIENT)


def reachable(start: Module, modules: Iterable[Module]) -> list[Module]:
    """The module and all of `modules` that it imports, directly or through others."""
    known = {module.name: module for module in modules}
    found: dict[str, Module] = {}
    waiting = [start]
    while waiting:
        module = waiting.pop()
        found[module.name] = module
        names = {name for name in known for imported in imported_names(module.tree) if is_within(imported, name)}
        waiting += [known[name] for name in names - found.keys()]
    return list(found.values())


def impurities(module: Module, modules: Iterable[Module]) -> list[str]:
    """Imports that a pure module reaches and may not, as "module imports name"."""
    return [
        f"{reached.name} imports {name}"
        for reached in reachable(module, modules)
        for name in imported_names(reached.tree)
        if is_within(name, *IMPURE)
    ]


def strays(modules: Iterable[Module], *, target: str, home: str) -> list[str]:
    """Modules outside `home` that import `target`."""
    return [
        module.name
        for module in modules
        if not is_within(module.name, home, target) and any(is_within(n, target) for n in imported_names(module.tree))
    ]


def foreign_roots(module: Module) -> set[str]:
    """Top-level packages that a client module cannot do without, beyond its two dependencies."""
    guarded = {name for node in ast.walk(module.tree) for name in optional_names(node)}
    roots = {name.partition(".")[0] for name in set(imported_names(module.tree)) - guarded}
    return roots - CLIENT_NEEDS - sys.stdlib_module_names


def optional_names(node: ast.AST) -> Iterator[str]:
    """What a `try` imports that goes on without it, by catching ImportError."""
    if isinstance(node, ast.Try) and any(
        isinstance(handler.type, ast.Name) and handler.type.id == "ImportError" for handler in node.handlers
    ):
        yield from imported_names(ast.Module(body=node.body, type_ignores=[]))


@pytest.mark.parametrize("module", [m for m in SERVER_MODULES if is_within(m.name, *PURE)], ids=lambda m: m.name)
def test_the_pure_core_reaches_no_transport_storage_clock_or_thread(module: Module):
    assert impurities(module, SERVER_MODULES) == []


@pytest.mark.parametrize(("target", "home"), ONLY_HOME.items())
def test_each_outside_system_is_imported_by_its_one_home(target: str, home: str):
    assert strays([*SERVER_MODULES, *CLIENT_MODULES], target=target, home=home) == []


@pytest.mark.parametrize("module", CLIENT_MODULES, ids=lambda m: m.name)
def test_the_client_needs_nothing_but_its_two_dependencies(module: Module):
    assert foreign_roots(module) == STACKS.get(module.name, set())


@pytest.mark.parametrize("module", [m for m in CLIENT_MODULES if m.name in STACKS], ids=lambda m: m.name)
def test_what_binds_a_stack_stays_thin_and_nothing_else_imports_it(module: Module):
    assert module.line_count <= STACK_LINES
    assert strays(CLIENT_MODULES, target=module.name, home=module.name) == []


def test_the_bare_client_imports_nothing_that_is_for_stacks():
    (bare,) = [module for module in CLIENT_MODULES if module.name == "sojourn"]
    reached = {module.name for module in reachable(bare, CLIENT_MODULES)}
    assert not [name for name in reached if is_within(name, "sojourn.integrations")]


@pytest.mark.parametrize("package", [*PURE, *ONLY_HOME.values()])
def test_every_module_that_a_rule_names_exists(package: str):
    assert any(is_within(module.name, package) for module in SERVER_MODULES)


CLOCK = Module("sojourn_server.clock", "import time")
BRIDGE = Module("sojourn_server.bridge", "def f():\n    from sojourn_server.clock import now")
CHOICE = Module("sojourn_server.policy.choice", "from sojourn_server import bridge")
PLAIN = Module("sojourn_server.policy.plain", "import math\nimport timeit\nfrom grpcish import x")


def test_impurity_is_found_through_other_modules():
    assert impurities(CHOICE, [CLOCK, BRIDGE, CHOICE]) == ["sojourn_server.clock imports time"]


def test_like_named_modules_are_not_impure():
    assert impurities(PLAIN, [CLOCK, BRIDGE, PLAIN]) == []


def test_an_import_from_outside_the_home_is_found():
    modules = [Module("sojourn_server.cli.serve", "from sojourn_server import app"), CLOCK, BRIDGE]
    assert strays(modules, target="sojourn_server.app", home="sojourn_server.cli") == []
    assert strays(modules, target="time", home="sojourn_server.cli") == ["sojourn_server.clock"]


def test_a_server_import_in_the_client_is_found():
    assert foreign_roots(Module("sojourn.client", "import os, grpc\nimport sojourn_server")) == {"sojourn_server"}


def test_an_optional_import_in_the_client_is_no_need():
    text = "try:\n    import opentelemetry\nexcept ImportError:\n    opentelemetry = None\n"
    assert foreign_roots(Module("sojourn.tracing", text)) == set()
    assert foreign_roots(Module("sojourn.tracing", text.replace("ImportError", "OSError"))) == {"opentelemetry"}
