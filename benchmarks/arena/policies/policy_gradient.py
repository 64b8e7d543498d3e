"""A Router-R1-like router: a stochastic policy per turn, learned by policy gradient from outcome and token cost.

Router-R1 (Zhang, Feng and You 2025, arXiv 2506.09033) trains a language model as the router by reinforcement
learning; its reward is the outcome less a price for the tokens, and a switch costs nothing in it. Here a linear
softmax over the shared vector stands for the language model, trained by REINFORCE with a baseline (Williams 1992).
Run it under `PerTurn(..., counts_forfeited=False)`: money that switches cost in cache is kept from it.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import numpy as np

from benchmarks.arena.policies.features import Context, Encoder, FloatArray
from benchmarks.arena.policies.learning import Turn

BASELINE_RATE = 0.05


class SoftmaxPolicy:
    """REINFORCE: after an episode W += rate * (utility - baseline) * sum over turns of grad log pi(model | x)."""

    def __init__(self, encoder: Encoder, *, seed: int, rate: float = 0.05, entropy: float = 0.01) -> None:
        """Starts uniform. `entropy` >= 0 weighs a bonus that keeps the policy from collapsing; `seed` >= 0.

        The baseline is a running mean of utility by task type.
        """
        self._encoder = encoder
        self._rate = rate
        self._entropy = entropy
        self._baselines = defaultdict[str, float](float)
        self._weights = np.zeros((len(encoder.models), encoder.size))
        self._random = np.random.default_rng(seed)
        self._is_offered = np.ones(len(encoder.models), dtype=bool)  # at the newest turn; owner: pick()

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """A draw from the policy, restricted to the offered models."""
        models = self._encoder.models
        self._is_offered = np.array([model in offered for model in models])
        probabilities = self._probabilities(self._encoder.encode(context)[None, :])[0]
        return models[int(self._random.choice(len(models), p=probabilities))]

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """One step along the gradient of the episode's utility and of the entropy."""
        task_type = turns[0].context.view.task_type
        advantage = utility - self._baselines[task_type]
        self._baselines[task_type] += BASELINE_RATE * advantage
        vectors = np.stack([self._encoder.encode(turn.context) for turn in turns])
        served = np.array([[model == turn.model for model in self._encoder.models] for turn in turns], dtype=float)
        probabilities = self._probabilities(vectors)
        logs = np.log(np.maximum(probabilities, 1e-12))
        entropies = -(probabilities * logs).sum(axis=1, keepdims=True)
        along = advantage * (served - probabilities) - self._entropy * probabilities * (logs + entropies)
        self._weights += self._rate * along.T @ vectors

    def _probabilities(self, vectors: FloatArray) -> FloatArray:
        """Softmax over offered models, row by row: (turns, size) to (turns, models)."""
        logits = np.where(self._is_offered, vectors @ self._weights.T, -np.inf)
        powers = np.exp(logits - logits.max(axis=1, keepdims=True))
        probabilities: FloatArray = powers / powers.sum(axis=1, keepdims=True)
        return probabilities
