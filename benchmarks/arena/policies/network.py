"""A small regression network: two hidden layers of rectified units, squared error, Adam (Kingma and Ba 2015).

Plain numpy, in single precision, so that the arena needs no deep-learning package. The defaults are those of the
Adam paper; initial weights follow He et al. 2015. All parameters lie in one flat array, and layers are views of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import numpy as np
import numpy.typing as npt

HIDDEN = (256, 256)  # as in MTRouter
RATE = 1e-3
DECAY_MEAN, DECAY_SQUARE = 0.9, 0.999
EPSILON = 1e-8

Array = npt.NDArray[np.float32]


class Network:
    """Inputs of shape (rows, size) to one number a row."""

    def __init__(self, size: int, *, seed: int) -> None:
        """Untrained. `seed` >= 0 draws the weights and the order of rows."""
        self._random = np.random.default_rng(seed)
        self._shapes = tuple(pairwise((size, *HIDDEN, 1)))
        count = sum((below + 1) * above for below, above in self._shapes)
        self._flat = np.zeros(count, dtype=np.float32)
        self._mean, self._square, self._steps = np.zeros_like(self._flat), np.zeros_like(self._flat), 0
        self._layers = tuple(self._views())
        for weights, _ in self._layers:
            weights[:] = self._random.standard_normal(weights.shape) * np.sqrt(2.0 / len(weights))

    def predict(self, inputs: npt.NDArray[np.floating]) -> Array:
        """One number a row."""
        return self._forward(inputs.astype(np.float32))[-1][:, 0]

    def fit(
        self, inputs: npt.NDArray[np.floating], wanted: npt.NDArray[np.floating], *, epochs: int = 20, batch: int = 256
    ) -> None:
        """Goes over the rows `epochs` times, in a new order each time, in steps of `batch` rows."""
        inputs, column = inputs.astype(np.float32), wanted.astype(np.float32)[:, None]
        for _ in range(epochs):
            order = self._random.permutation(len(inputs))
            for start in range(0, len(order), batch):
                rows = order[start : start + batch]
                self._descend(self._gradient(inputs[rows], column[rows]))

    def _views(self) -> Iterator[tuple[Array, Array]]:
        """Weights and biases of each layer, as views of the flat array."""
        start = 0
        for below, above in self._shapes:
            end = start + below * above
            yield self._flat[start:end].reshape(below, above), self._flat[end : end + above]
            start = end + above

    def _forward(self, inputs: Array) -> list[Array]:
        """The inputs, then the output of each layer."""
        outputs = [inputs]
        for weights, biases in self._layers[:-1]:
            outputs.append(np.maximum(outputs[-1] @ weights + biases, 0.0))
        weights, biases = self._layers[-1]
        return [*outputs, outputs[-1] @ weights + biases]

    def _gradient(self, inputs: Array, wanted: Array) -> Array:
        """Of the mean squared error, in the order of the flat array."""
        outputs = self._forward(inputs)
        error = (outputs[-1] - wanted) * np.float32(2.0 / len(inputs))
        parts: list[Array] = []
        for (weights, _), below in zip(reversed(self._layers), reversed(outputs[:-1]), strict=True):
            parts = [(below.T @ error).ravel(), error.sum(axis=0), *parts]
            error = (error @ weights.T) * (below > 0)
        return np.concatenate(parts)

    def _descend(self, gradient: Array) -> None:
        """One step of Adam."""
        self._steps += 1
        self._mean += (1.0 - DECAY_MEAN) * (gradient - self._mean)
        self._square += (1.0 - DECAY_SQUARE) * (np.square(gradient) - self._square)
        rate = RATE * np.sqrt(1.0 - DECAY_SQUARE**self._steps) / (1.0 - DECAY_MEAN**self._steps)
        self._flat -= np.float32(rate) * self._mean / (np.sqrt(self._square) + np.float32(EPSILON))
