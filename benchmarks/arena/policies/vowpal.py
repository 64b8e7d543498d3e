"""The plain per-turn bandit of Vowpal Wabbit: its regression on Sojourn's compact text, without the policy.

The same regression as the server's (`--cb_adf --cb_type mtr`, label probability 1, only tool type x model crossed)
and inverse-gap weighting, but a fresh draw at every turn, no hold, no prices of switches, no bootstrap: every turn
is credited with the utility of the whole episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p, sqrt

import numpy as np
import pylibvw
import vowpalwabbit

from benchmarks.arena.policies.features import Context
from benchmarks.arena.policies.learning import Turn
from sojourn_server.policy.bandit import clip, token

UTILITY_LOW, UTILITY_HIGH = -1.0, 1.0
_raw = pylibvw.vw


class VowpalBandit:
    """Inverse-gap weighting (Foster and Rakhlin 2020) over a regression of the utility; owns its workspace."""

    def __init__(
        self,
        models: Sequence[str],
        *,
        seed: int,
        options: str = "-l 0.03",
        gap_scale: float = 20.0,
        floor: float = 0.001,
    ) -> None:
        """The gap multiplier after n learned turns is `gap_scale` * sqrt(n); `floor` is the least probability.

        `options` are VW's, such as "--coin" for coin betting. `seed` >= 0.
        """
        self._models = tuple(models)
        self._random = np.random.default_rng(seed)
        self._gap_scale = gap_scale
        self._floor = floor
        self._learned = 0
        arguments = f"--cb_adf --cb_type mtr -q tm -b 18 --quiet {options}"
        self._workspace = vowpalwabbit.Workspace(arguments, enable_logging=False)

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """A fresh draw from inverse-gap weighting over the offered models."""
        gamma = self._gap_scale * sqrt(self._learned)
        probabilities = inverse_gap_weighting(self._predict(context, offered), gamma=gamma, floor=self._floor)
        place = np.searchsorted(np.cumsum(probabilities), self._random.random(), side="right")
        return offered[min(int(place), len(offered) - 1)]

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """One example a turn; utilities beyond [-1, 1] are clipped."""
        for turn in turns:
            lines = _lines(turn.context, self._models)
            place = self._models.index(turn.model) + 1
            lines[place] = f"0:{_cost(utility):.6g}:1 {lines[place]}"
            examples = self._workspace._parse("\n".join(lines))
            _raw.learn_multi(self._workspace, examples)
            _raw._finish_example_multi_ex(self._workspace, examples)
        self._learned += len(turns)

    def _predict(self, context: Context, offered: Sequence[str]) -> list[float]:
        """Predicted utility of each offered model."""
        examples = self._workspace._parse("\n".join(_lines(context, offered)))
        _raw.predict_multi(self._workspace, examples)
        costs = [example.get_partial_prediction() for example in examples[1:]]
        _raw._finish_example_multi_ex(self._workspace, examples)
        return [UTILITY_HIGH - cost * (UTILITY_HIGH - UTILITY_LOW) for cost in costs]


def inverse_gap_weighting(utilities: Sequence[float], *, gamma: float, floor: float) -> list[float]:
    """Probabilities that sum to 1: max(floor, 1 / (K + gamma * gap)) each, the rest to the best (the first of ties)."""
    best = max(range(len(utilities)), key=utilities.__getitem__)
    top = utilities[best]
    probabilities = [max(floor, 1.0 / (len(utilities) + gamma * (top - u))) for u in utilities]
    probabilities[best] = 0.0
    probabilities[best] = 1.0 - sum(probabilities)
    return probabilities


def _cost(utility: float) -> float:
    """Utilities of [-1, 1] to VW's costs of [1, 0]."""
    clipped = min(max(utility, UTILITY_LOW), UTILITY_HIGH)
    return (UTILITY_HIGH - clipped) / (UTILITY_HIGH - UTILITY_LOW)


def _lines(context: Context, models: Sequence[str]) -> list[str]:
    """The shared line (c: main effects, t: tool type), then one line (m) a model."""
    view, previous = context
    shared = (
        f"shared |c turn:{log1p(view.turn_index) / 4:.6g} errors:{clip(log1p(view.error_count) / 2):.6g} "
        f"prompt:{log1p(view.prompt_tokens) / 10:.6g} e{view.last_error} {token('k', view.task_type)} "
        f"{token('p', previous or '')} |t {token('t', view.tool_type)}"
    )
    return [shared, *(f"|m {token('m', model)}" for model in models)]
