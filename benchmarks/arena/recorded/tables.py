"""A table of recorded outcomes: tasks that each of several models has played, so any choice can be judged.

No recording says what another model would have done at the same *turn*; but where several models played the same
task from its beginning, it says what each choice at turn 0 would have led to. So one choice is made a task, at its
first turn, from what a caller knew then; the chosen model's recorded episode then unfolds to its end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sojourn.v1 import types_pb2
from sojourn_server.config import ModelConfig
from sojourn_server.exchange.trajectories import RecordedTurn

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.intp]


class Outcome(NamedTuple):
    """What one model made of a task: score in [0, 1], USD (None = unknown), its turns in order (at least one)."""

    score: float
    usd: float | None
    turns: tuple[RecordedTurn, ...]


class Item(NamedTuple):
    """A task: what the caller knew before its first turn, and each model's outcome, by model."""

    name: str
    context: types_pb2.Context
    outcomes: Mapping[str, Outcome]


@dataclass(frozen=True)
class Table:
    """Tasks that all of `models` have played. `about` says whose data it is.

    `heuristic` is what a team would write before any outcome: tool type to model class (empty = nothing to write).
    """

    name: str
    about: str
    models: tuple[ModelConfig, ...]
    items: tuple[Item, ...]
    heuristic: Mapping[str, str] = field(default_factory=dict)

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the roster, in its order."""
        return tuple(model.name for model in self.models)

    @cached_property
    def scores(self) -> FloatArray:
        """Scores, shape (items, models)."""
        return np.array([[item.outcomes[m].score for m in self.model_names] for item in self.items])

    @cached_property
    def usd(self) -> FloatArray | None:
        """Money in USD, shape (items, models); None if that of any outcome is unknown."""
        rows = [[item.outcomes[m].usd for m in self.model_names] for item in self.items]
        known = [[usd for usd in row if usd is not None] for row in rows]
        return None if known != rows else np.array(known)

    def utilities(self, cost_weight: float) -> FloatArray:
        """score - cost_weight * USD, shape (items, models). Raises ValueError where money counts and is unknown."""
        if cost_weight == 0.0:
            return self.scores
        if self.usd is None:
            raise ValueError(f"{self.name}: a cost weight needs USD of every outcome")
        utilities: FloatArray = self.scores - cost_weight * self.usd
        return utilities

    @cached_property
    def kinds(self) -> tuple[str, ...]:
        """Tool types at first turns, sorted."""
        return tuple(sorted({item.context.tool_type for item in self.items}))

    @cached_property
    def task_types(self) -> tuple[str, ...]:
        """Task types, sorted."""
        return tuple(sorted({item.context.task_type for item in self.items}))

    @cached_property
    def numbers(self) -> tuple[str, ...]:
        """Names of the caller's numbers, sorted."""
        return tuple(sorted({name for item in self.items for name in item.context.features}))

    @cached_property
    def digest(self) -> str:
        """Changes with anything that a contestant can see or is judged by."""
        digest = sha256(repr((self.models, sorted(self.heuristic.items()))).encode())
        for item in self.items:
            digest.update(item.name.encode() + item.context.SerializeToString(deterministic=True))
            for model, outcome in item.outcomes.items():
                facts = [turn.facts.SerializeToString(deterministic=True) for turn in outcome.turns]
                digest.update(repr((model, outcome.score, outcome.usd, facts)).encode())
        return digest.hexdigest()[:12]


def order(count: int, *, seed: int) -> IntArray:
    """The order in which a seed plays `count` items: one pass, each item once."""
    shuffled: IntArray = np.random.default_rng(seed).permutation(count)
    return shuffled


def best_single(utilities: FloatArray) -> int:
    """Place of the model with the best mean over rows."""
    return int(utilities.mean(axis=0).argmax())


def best_by_kind(utilities: FloatArray, kinds: Sequence[str]) -> IntArray:
    """For each row the model that is best on average over all rows of its kind: a ceiling, known in hindsight only."""
    names = np.array(kinds)
    best = {kind: best_single(utilities[names == kind]) for kind in set(kinds)}
    return np.array([best[kind] for kind in kinds], dtype=np.intp)
