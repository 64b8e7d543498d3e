"""Bandits over the shared vector: disjoint LinUCB, linear Thompson sampling, k nearest neighbours.

LinUCB and Thompson keep one ridge regression of the utility per model and differ in how they explore. Under
`PerTurn` they decide at each turn, under `PerEpisode` once.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt

import numpy as np
import numpy.typing as npt

from benchmarks.arena.policies.features import Context, Encoder, FloatArray
from benchmarks.arena.policies.learning import Turn


class RidgePerModel:
    """One ridge regression per model, kept by rank-one updates (Sherman and Morrison 1950)."""

    def __init__(self, size: int, count: int, *, ridge: float) -> None:
        """`size` features, `count` models; `ridge` > 0 is the prior's precision."""
        self._inverse = np.tile(np.eye(size) / ridge, (count, 1, 1))
        self._moment = np.zeros((count, size))
        self._weights = np.zeros((count, size))

    def means(self, vector: FloatArray) -> FloatArray:
        """Predicted utility of each model, shape (count,)."""
        means: FloatArray = self._weights @ vector
        return means

    def deviations(self, vector: FloatArray) -> FloatArray:
        """sqrt(x' A^-1 x) of each model, shape (count,)."""
        deviations: FloatArray = np.sqrt((self._inverse @ vector) @ vector)
        return deviations

    def update(self, place: int, vector: FloatArray, utility: float) -> None:
        """One observation of the model at `place`."""
        inverse = self._inverse[place]
        direction = inverse @ vector
        inverse -= np.outer(direction, direction / (1.0 + vector @ direction))
        self._moment[place] += utility * vector
        self._weights[place] = inverse @ self._moment[place]


class _Linear:
    """What LinUCB and Thompson sampling share: the regressions and how they learn."""

    def __init__(self, encoder: Encoder, ridge: float) -> None:
        self._encoder = encoder
        self._ridge = RidgePerModel(encoder.size, len(encoder.models), ridge=ridge)

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """The offered model with the greatest index; ties go to the first offered."""
        indices = dict(zip(self._encoder.models, self._indices(self._encoder.encode(context)).tolist(), strict=True))
        return max(offered, key=indices.__getitem__)

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """Each turn is one observation of its model."""
        for turn in turns:
            place = self._encoder.models.index(turn.model)
            self._ridge.update(place, self._encoder.encode(turn.context), utility)

    def _indices(self, vector: FloatArray) -> FloatArray:
        raise NotImplementedError


class LinUcb(_Linear):
    """Disjoint LinUCB (Li, Chu, Langford and Schapire 2010): mean + alpha * deviation."""

    def __init__(self, encoder: Encoder, *, alpha: float = 1.0, ridge: float = 1.0) -> None:
        """`alpha` >= 0 in units of utility."""
        super().__init__(encoder, ridge)
        self._alpha = alpha

    def _indices(self, vector: FloatArray) -> FloatArray:
        return self._ridge.means(vector) + self._alpha * self._ridge.deviations(vector)


class LinearThompson(_Linear):
    """Linear Thompson sampling (Agrawal and Goyal 2013), the utility itself drawn from its posterior.

    With disjoint models and one context a draw of x'theta is as good as one of theta: N(x'mean, (scale * deviation)²).
    """

    def __init__(self, encoder: Encoder, *, seed: int, scale: float = 0.5, ridge: float = 1.0) -> None:
        """`scale` > 0 is the assumed noise of the utility; `seed` >= 0."""
        super().__init__(encoder, ridge)
        self._scale = scale
        self._random = np.random.default_rng(seed)

    def _indices(self, vector: FloatArray) -> FloatArray:
        return self._random.normal(self._ridge.means(vector), self._scale * self._ridge.deviations(vector))


class Knn:
    """k nearest neighbours, as in the kNN router of RouterBench (Hu et al. 2024, arXiv 2403.12031), online.

    A model is worth the mean utility of its k nearest turns, the newest first among equals; a model without any is
    tried first. With n turns learned, a model is drawn at random with probability max(1 / sqrt(1 + n), epsilon).
    """

    def __init__(self, encoder: Encoder, *, seed: int, k: int = 10, epsilon: float = 0.02, memory: int = 2_000) -> None:
        """`memory` turns are kept, the oldest are overwritten; `epsilon` in [0, 1]; `seed` >= 0."""
        self._encoder = encoder
        self._k = k
        self._epsilon = epsilon
        self._random = np.random.default_rng(seed)
        self._vectors = np.zeros((memory, encoder.size))
        self._places = np.zeros(memory, dtype=np.intp)
        self._utilities = np.zeros(memory)
        self._learned = 0

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """Epsilon-greedy over the neighbours' means."""
        if self._random.random() < max(1.0 / sqrt(1 + self._learned), self._epsilon):
            return offered[int(self._random.integers(len(offered)))]
        order = self._nearest_first(self._encoder.encode(context))
        return max(offered, key=lambda model: self._worth(model, order))

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """Stores the turns."""
        for turn in turns:
            slot = self._learned % len(self._utilities)
            self._vectors[slot] = self._encoder.encode(turn.context)
            self._places[slot] = self._encoder.models.index(turn.model)
            self._utilities[slot] = utility
            self._learned += 1

    def _nearest_first(self, vector: FloatArray) -> npt.NDArray[np.intp]:
        """Slots by squared distance; among equals the newest come first."""
        size = len(self._utilities)
        newest_first = np.arange(self._learned - 1, max(self._learned - size, 0) - 1, -1) % size
        distances = np.square(self._vectors[newest_first] - vector).sum(axis=1)
        nearest: npt.NDArray[np.intp] = newest_first[np.argsort(distances, kind="stable")]
        return nearest

    def _worth(self, model: str, order: npt.NDArray[np.intp]) -> float:
        own = order[self._places[order] == self._encoder.models.index(model)][: self._k]
        return float(self._utilities[own].mean()) if len(own) else float("inf")
