"""The house rules hold, and each measure fails on a bad sample."""

from __future__ import annotations

import statistics

import pytest

from tests.habits import house_rules as rules
from tests.habits.sources import CLIENT, REPOSITORY, SERVER, Module, read_modules

SERVER_MODULES = [module for module in read_modules(SERVER) if module.has_code]
SOURCE_MODULES = [*SERVER_MODULES, *read_modules(CLIENT)]
ALL_MODULES = [*SOURCE_MODULES, *read_modules(REPOSITORY / "tests"), *read_modules(REPOSITORY / "benchmarks")]

# Modules that may be longer than the limit, up to MODULE_LINES_HARD_STOP, each with its reason.
LONG_MODULES: dict[str, str] = {}
MODULE_LINES_HARD_STOP = 400


def test_the_core_stays_small():
    core = [module for module in SERVER_MODULES if rules.is_core(module)]
    assert rules.total_lines(core) <= rules.CORE_LINES
    assert len(core) <= rules.CORE_MODULES


@pytest.mark.parametrize("packages", rules.BESIDE_LINES)
def test_what_stands_beside_the_core_stays_small(packages: tuple[str, ...]):
    assert rules.lines_of(SERVER_MODULES, packages) <= rules.BESIDE_LINES[packages]


@pytest.mark.parametrize("module", SOURCE_MODULES, ids=lambda m: m.name)
def test_no_module_is_long(module: Module):
    limit = MODULE_LINES_HARD_STOP if module.name in LONG_MODULES else rules.MODULE_LINES
    assert module.line_count <= limit


def test_functions_are_short():
    lengths = [size.line_count for size in rules.function_sizes(SERVER_MODULES)]
    assert statistics.median(lengths) <= rules.FUNCTION_LINES_MEDIAN
    assert rules.percentile_95(lengths) <= rules.FUNCTION_LINES_P95


def test_no_function_is_long():
    long = [size for size in rules.function_sizes(SOURCE_MODULES) if size.line_count > rules.FUNCTION_LINES]
    assert long == []


def test_parameters_beyond_four_are_keyword_only():
    sizes = rules.function_sizes(SOURCE_MODULES)
    assert [size for size in sizes if size.positional_count > rules.POSITIONAL_PARAMETERS] == []


def test_module_names_say_what_is_inside():
    assert [module.name for module in ALL_MODULES if rules.has_banned_name(module)] == []


@pytest.mark.parametrize("module", SERVER_MODULES, ids=lambda m: m.name)
def test_each_module_tells_its_theory_in_a_few_lines(module: Module):
    assert rules.tells_its_theory(module)


def test_whatever_is_silenced_has_its_reason_beside_it():
    silenced = {module.name: rules.silenced_without_reason(module) for module in ALL_MODULES}
    assert {name: lines for name, lines in silenced.items() if lines} == {}


def sample(text: str, name: str = "sample") -> Module:
    return Module(name, text)


def test_function_lines_count_docstrings_and_inner_functions():
    text = 'def outer():\n    """Says."""\n    def inner():\n        return 1\n    return inner\n'
    sizes = rules.function_sizes([sample(text)])
    assert [(size.where, size.line_count) for size in sizes] == [("sample:1 outer", 5), ("sample:3 inner", 2)]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("def f(a, b, c, d, e): ...", 5),
        ("def f(a, /, b, *, c, d): ...", 2),
        ("class C:\n    def f(self, a, b): ...", 2),
        ("class C:\n    @staticmethod\n    def f(a, b): ...", 2),
        ("class C:\n    async def f(self, *args, **rest): ...", 0),
    ],
)
def test_positional_parameters_are_counted_without_self(text: str, count: int):
    assert [size.positional_count for size in rules.function_sizes([sample(text)])] == [count]


def test_the_95th_percentile_leaves_the_longest_twentieth_out():
    assert rules.percentile_95([1] * 95 + [60] * 5) == 1
    assert rules.percentile_95([1] * 94 + [60] * 6) == 60


@pytest.mark.parametrize("name", ["a.utils", "helpers.b", "a.journal_impl", "a.core.b"])
def test_names_that_say_nothing_are_found(name: str):
    assert rules.has_banned_name(sample("", name))


def test_names_that_contain_such_a_word_are_kept():
    assert not rules.has_banned_name(sample("", "sojourn_server.score"))


@pytest.mark.parametrize("silencer", ["noqa", "noqa: BLE001", "noqa: B008, E501", "type: ignore[no-any-return]"])
def test_a_silencer_needs_a_reason(silencer: str):
    bare, reasoned = f"x = 1  # {silencer}", f"x = 1  # {silencer} - the stub is wrong"
    assert rules.silenced_without_reason(sample(f"{bare}\n{reasoned}\n")) == [1]


@pytest.mark.parametrize(
    ("docstring_lines", "code_lines", "told"),
    [(0, 1, False), (1, 50, True), (1, 150, False), (3, 150, True), (10, 150, True), (11, 50, False)],
)
def test_a_long_module_tells_its_theory_in_3_to_10_lines(docstring_lines: int, code_lines: int, told: bool):
    docstring = '"""' + "\n".join(["Says."] * docstring_lines) + '"""\n' if docstring_lines else ""
    assert rules.tells_its_theory(sample(docstring + "x = 1\n" * code_lines)) is told


def test_a_docstring_alone_is_no_code():
    assert not sample('"""Only says."""\n').has_code


def test_views_are_told_from_the_core():
    assert not rules.is_core(sample("", "sojourn_server.cli.show"))
    assert rules.is_core(sample("", "sojourn_server.client_table"))
