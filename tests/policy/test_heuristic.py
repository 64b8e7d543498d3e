"""The heuristic's table over the default registry, its fall-through, and what breaks ties."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.v1 import types_pb2
from sojourn_server.config import HeuristicSettings
from sojourn_server.policy.heuristic import choose, tool_type
from sojourn_server.policy.registry import Model, Registry
from tests.policy.play import default_registry, model

SETTINGS = HeuristicSettings()
DEFAULTS = list(default_registry().models.values())


@pytest.mark.parametrize(
    ("kind", "chosen"),
    [
        ("search", "gpt-oss-120b"),
        ("file_io", "gpt-oss-120b"),
        ("browse", "gpt-oss-120b"),
        ("reasoning", "gpt-5"),
        ("planning", "gpt-5"),
        ("ambiguous", "gpt-5"),
        ("code", "gpt-5"),
        ("", "deepseek-v3.2"),
        ("a kind of its own", "deepseek-v3.2"),
    ],
)
def test_the_articles_table_over_the_default_models(kind: str, chosen: str):
    assert choose(SETTINGS, DEFAULTS, kind=kind).name == chosen


@pytest.mark.parametrize(
    ("tool_name", "kind"),
    [
        ("web_search", "search"),
        ("GrepTool", "search"),
        ("fetch_url", "browse"),
        ("read_file", "file_io"),
        ("ls", "file_io"),
        ("run_python", "code"),
        ("Bash", "code"),
        ("make_plan", "planning"),
        ("ask_user", "ambiguous"),
        ("frobnicate", ""),
        ("", ""),
    ],
)
def test_tool_names_map_to_types_by_pattern_whatever_their_case(tool_name: str, kind: str):
    assert tool_type(SETTINGS, given="", tool_name=tool_name) == kind


def test_a_given_tool_type_is_kept_whatever_the_tool_is_called():
    assert tool_type(SETTINGS, given="planning", tool_name="grep") == "planning"


def _skilled(name: str, model_class: str = "medium", **skills: float) -> Model:
    return Model.of(model(name, model_class=model_class, skills={k.replace("_", ":"): v for k, v in skills.items()}))


def test_code_goes_to_the_best_at_its_language_and_else_to_the_best_at_code():
    candidates = [_skilled("coder", code=0.9), _skilled("rustacean", code=0.5, code_rust=0.95)]
    assert choose(SETTINGS, candidates, kind="code", language="rust").name == "rustacean"
    assert choose(SETTINGS, candidates, kind="code", language="python").name == "coder"
    assert choose(SETTINGS, candidates, kind="code").name == "coder"


def test_a_language_moves_only_the_kinds_that_ask_for_the_best():
    candidates = [_skilled("small", "small"), _skilled("rustacean", "large", code_rust=0.95)]
    assert choose(SETTINGS, candidates, kind="search", language="rust").name == "small"


@pytest.mark.parametrize(
    ("present", "kind", "chosen"),
    [
        (["medium", "large"], "search", "medium"),
        (["large"], "search", "large"),
        (["small", "medium"], "reasoning", "medium"),
        (["small"], "reasoning", "small"),
        (["small", "large"], "", "large"),
        (["own"], "search", "own"),
    ],
)
def test_a_class_that_nobody_has_falls_to_the_next_larger_then_to_the_smaller(
    present: list[str], kind: str, chosen: str
):
    candidates = [_skilled(c, c) for c in present]
    assert choose(SETTINGS, candidates, kind=kind).name == chosen


def test_within_a_class_general_skill_wins_then_price_then_name():
    skilled, plain = _skilled("z", general=0.6), _skilled("a", general=0.5)
    cheap = Model.of(model("y", input_usd_per_mtok=0.1))
    dear, twin = Model.of(model("b")), Model.of(model("a"))
    assert choose(SETTINGS, [plain, skilled], kind="").name == "z"
    assert choose(SETTINGS, [dear, cheap], kind="").name == "y"
    assert choose(SETTINGS, [dear, twin], kind="").name == "a"


@given(st.sets(st.sampled_from(sorted(default_registry().models)), min_size=1), st.text(), st.text())
def test_the_heuristic_always_has_an_answer_among_its_candidates(names: set[str], kind: str, language: str):
    candidates = [default_registry().models[name] for name in names]
    assert choose(SETTINGS, candidates, kind=kind, language=language) in candidates


def test_a_registry_keeps_its_models_by_name_and_every_change_makes_a_new_one():
    registry = Registry.of([model("b"), model("a")])
    grown = registry.put(model("aa"), 7)
    assert list(registry.models) == ["a", "b"]
    assert list(grown.models) == ["a", "aa", "b"]
    assert list(grown.without("a", 8).models) == ["aa", "b"]
    assert (grown.version, grown.without("a", 8).version) == (7, 8)


def test_prices_are_per_token_and_an_absent_cache_has_no_discount():
    priced = Model.of(model("a", input_usd_per_mtok=2.0))
    bare = Model.of(types_pb2.Model(name="b", input_usd_per_mtok=2.0))
    assert (priced.input_usd, priced.cached_read_usd, priced.has_cache) == (2e-6, 2e-7, True)
    assert (bare.cached_read_usd, bare.cache_write_usd, bare.has_cache) == (2e-6, 2e-6, False)
