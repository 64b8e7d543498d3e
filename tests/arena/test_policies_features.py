"""Every learner sees the same vector, and what it can tell apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from benchmarks.arena.policies.features import Context, Encoder
from tests.arena.tiny_world import MODELS, encoder, view


def test_equal_contexts_give_equal_vectors_that_end_in_a_constant():
    first, second = (encoder().encode(Context(view(3, "write"), "writer")) for _ in range(2))
    assert np.array_equal(first, second)
    assert first[-1] == 1.0
    assert first.shape == (encoder().size,)


@pytest.mark.parametrize(
    "other",
    [
        Context(view(3, "search"), "writer"),
        Context(view(4, "write"), "writer"),
        Context(view(3, "write"), "searcher"),
        Context(view(3, "write"), None),
        Context(view(3, "write", errors=1), "writer"),
        Context(view(3, "write", last_error="LOW"), "writer"),
        Context(replace(view(3, "write"), prompt_tokens=9_000), "writer"),
    ],
)
def test_each_part_of_the_context_shows_in_the_vector(other: Context):
    one = encoder().encode(Context(view(3, "write"), "writer"))
    assert not np.array_equal(one, encoder().encode(other))


def test_numbers_stay_small():
    vector = encoder().encode(Context(view(200, "write", errors=200, last_error="MEDIUM"), "writer"))
    assert np.abs(vector).max() <= 3.0


def test_a_name_that_was_not_announced_is_refused():
    with pytest.raises(KeyError, match="browse"):
        encoder().encode(Context(view(0, "browse"), None))


def test_crossing_adds_a_feature_for_each_pair():
    plain = Encoder(MODELS, task_types=("a", "b"), tool_types=("c", "d", "e"))
    crossed = Encoder(MODELS, task_types=("a", "b"), tool_types=("c", "d", "e"), crossed=True)
    assert crossed.size - plain.size == 6
