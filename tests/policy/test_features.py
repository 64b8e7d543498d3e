"""No string or number of a client can inject an example or a feature into Vowpal Wabbit, or leave its bounds."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from functools import partial

import pylibvw
import pytest
import vowpalwabbit
from hypothesis import example, given
from hypothesis import strategies as st

from sojourn.v1 import types_pb2
from sojourn_server.policy.bandit import CLIP, action_line, clip, token
from sojourn_server.policy.registry import Model
from tests.policy.play import line_of

NASTY = (
    "", " ", "a b", "a\nb", "a\n\nb", "a|b", "|m m_x", "\n0:0:1 |m m_x", "a:1", "a:nan", "\t", "\x00", "🐢", "\ud800",
    "0", "123", "shared", "x" * 128, "é", "\u2028", "\r\n", "a:b:c", "-1", "1e9", "_", "~", "'", '"', "\\n", "{", "#",
)  # fmt: skip
odd = st.one_of(st.sampled_from(NASTY), st.text(st.characters(), max_size=40))
clean = odd.map(lambda text: text.encode("utf-8", "replace").decode())
numbers = st.floats(allow_nan=True, allow_infinity=True)
FIXED_SHARED = 7
"""Features that every shared line has: four numbers, the last error, the task type, the phase."""


Counts = list[dict[str, int]]


@pytest.fixture(scope="module")
def parsed() -> Callable[[str], Counts]:
    """Parses with the options that the bandit uses: each example's number of features by namespace."""
    workspace = vowpalwabbit.Workspace("--cb_adf --cb_type mtr -q tm -b 18 --quiet", enable_logging=False)

    def count(text: str) -> Counts:
        examples = workspace._parse(text)
        counts = [{n: e.num_features_in(ord(n)) for n in "ctm"} for e in examples]
        pylibvw.vw._finish_example_multi_ex(workspace, examples)
        return counts

    return count


@pytest.fixture(scope="module")
def parsed_numbers() -> Callable[[str], list[float]]:
    """Parses a candidate's line: the numbers of its features in namespace m."""
    workspace = vowpalwabbit.Workspace("--cb_adf --cb_type mtr -b 18 --quiet", enable_logging=False)

    def values(line: str) -> list[float]:
        examples = workspace._parse(f"shared |c a:1\n{line}")
        found = [examples[1].feature_weight(ord("m"), i) for i in range(examples[1].num_features_in(ord("m")))]
        pylibvw.vw._finish_example_multi_ex(workspace, examples)
        return found

    return values


_shared = partial(line_of, turn_index=3, error_count=2, last_error=types_pb2.SEVERITY_NONE)


@given(
    st.tuples(clean, clean, clean, clean),
    st.dictionaries(clean, st.floats(0.1, 8), max_size=4),
    st.dictionaries(clean, clean, max_size=4),
    st.lists(st.tuples(clean, clean, st.dictionaries(clean, st.floats(0.1, 8), max_size=3)), min_size=1, max_size=5),
)
def test_a_turn_parses_to_one_example_per_candidate_and_one_shared_with_the_features_that_were_given(
    parsed: Callable[[str], Counts],
    words: tuple[str, str, str, str],
    features: Mapping[str, float],
    categories: Mapping[str, str],
    offers: list[tuple[str, str, Mapping[str, float]]],
):
    """Counts are of the parsed examples: nothing more than was given, and nothing lost."""
    kind, phase, task_type, language = words
    context = types_pb2.Context(
        tool_type=kind, phase=phase, task_type=task_type, language=language, features=features, categories=categories
    )
    actions = [
        action_line(Model.of(types_pb2.Model(name=name, model_class=model_class)), numbers)
        for name, model_class, numbers in offers
    ]
    shared, *candidates = parsed("\n".join([_shared(context), *actions]))
    assert len(candidates) == len(offers)
    assert shared["c"] == FIXED_SHARED + len(features) + len(categories)
    assert shared["t"] == bool(kind) + bool(phase) + bool(language)
    assert [candidate["m"] for candidate in candidates] == [2 + len(numbers) for _, _, numbers in offers]


@given(odd, odd)
@example("a_b", "a_b ")
@example("\ud800", "\udfff")
def test_two_names_never_share_a_token_and_one_name_always_has_the_same(one: str, other: str):
    assert (token("f", one) == token("f", other)) == (one == other)


@given(odd)
def test_a_token_has_no_character_that_the_parser_reads_and_begins_with_a_letter(name: str):
    assert re.fullmatch(r"[a-z][_~][A-Za-z0-9_.-]+", token("f", name))


@given(st.dictionaries(clean, numbers, max_size=5), st.floats(0, 1e308), st.integers(0, 2**31 - 1), st.floats(0, 1e8))
def test_every_number_that_reaches_the_learner_is_finite_and_within_the_clip(
    features: Mapping[str, float], cost_weight: float, error_count: int, prompt_tokens: float
):
    context = types_pb2.Context(features=features)
    line = _shared(context, cost_weight=cost_weight, error_count=error_count, prompt_tokens=prompt_tokens)
    values = [float(number) for number in re.findall(r":(\S+)", line)]
    assert len(values) == 4 + len(features)
    assert all(-CLIP <= value <= CLIP for value in values)


@pytest.mark.parametrize(
    ("given", "clipped"),
    [(0.5, 0.5), (-9.0, -8.0), (8.1, 8.0), (float("inf"), 8.0), (float("-inf"), -8.0), (float("nan"), 0.0)],
)
def test_numbers_are_clipped_and_what_is_no_number_becomes_zero(given: float, clipped: float):
    assert clip(given) == clipped


def test_the_order_in_which_features_are_given_does_not_matter():
    one = types_pb2.Context(features={"a": 1.0, "b": 2.0}, categories={"x": "1", "y": "2"})
    other = types_pb2.Context(features={"b": 2.0, "a": 1.0}, categories={"y": "2", "x": "1"})
    assert _shared(one) == _shared(other)


def test_kinds_of_work_that_the_table_does_not_name_share_a_word():
    """By it they get the table's default; no client's word can be taken for it."""
    untabled = {_shared(types_pb2.Context(tool_type=kind), tabled=False).split()[-1] for kind in ("", "a", "b")}
    assert len(untabled) == 1
    assert not untabled & {token("t", name) for name in ("other", *untabled)}


def test_the_language_counts_with_its_tool_type():
    """A language is crossed with the candidate only together with the kind of work it is used in."""
    python_code, python_search = (
        _shared(types_pb2.Context(language="python"), kind=kind).rpartition("|t ")[2].split()[1]
        for kind in ("code", "search")
    )
    assert python_code != python_search


def test_a_phase_stands_in_where_there_is_no_tool_type():
    assert "|t t_plan" in _shared(types_pb2.Context(phase="plan"))
    assert "|t t_code" in _shared(types_pb2.Context(phase="plan", tool_type="code"))


@given(numbers)
@example(7.458340731200207e-155)
@example(5e-324)
@example(-1e-31)
def test_every_number_reaches_the_learner_as_itself(parsed_numbers: Callable[[str], list[float]], value: float):
    """VW's own parser reads some tiny numbers as infinity; a feature of 0 it leaves out."""
    model = Model.of(types_pb2.Model(name="m", model_class="c"))
    *_, found = [0.0] * 2 + parsed_numbers(action_line(model, {"n": value}))[2:]
    assert found == pytest.approx(clip(value), rel=1e-5, abs=1e-29)
