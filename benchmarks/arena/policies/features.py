"""What every learning rival sees: one compact vector per turn, the same for all of them.

Its parts, in order: one-hot of the task type, one-hot of the tool type, one-hot of the model of the turn before,
severity of the newest error, and log-scaled numbers (turn index, errors so far, prompt tokens); the last entry is
the constant 1. With `crossed`, the one-hot of task type x tool type comes first; the caller's own numbers, where
their names are announced, come before the log-scaled ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import log1p
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from sojourn_server.demo.play import TurnView

FloatArray = npt.NDArray[np.float64]

SEVERITIES = ("LOW", "MEDIUM", "HIGH")


class Context(NamedTuple):
    """What is known before a choice: the caller's view, and the model that served the turn before (None at first)."""

    view: TurnView
    previous: str | None


class Encoder:
    """Contexts to vectors, for a known roster of models and known task and tool types."""

    def __init__(
        self,
        models: Sequence[str],
        *,
        task_types: Sequence[str],
        tool_types: Sequence[str],
        crossed: bool = False,
        numbers: Sequence[str] = (),
    ) -> None:
        """Names must differ within each list. `crossed` adds a feature for each pair of task and tool type.

        It is off by default: on BabyAI it made LinUCB learn more slowly. `numbers` are names of the view's features.
        """
        self.models = tuple(models)
        names: list[object] = [(task, tool) for task in task_types for tool in tool_types] if crossed else []
        names += [("task", task) for task in task_types]
        names += [("tool", tool) for tool in tool_types]
        names += [("previous", model) for model in models]
        names += [("last_error", severity) for severity in SEVERITIES]
        names += [("number", number) for number in numbers]
        self._numbers = tuple(numbers)
        self._place = {name: place for place, name in enumerate(names)}
        self._is_crossed = crossed
        self.size = len(names) + 4

    def encode(self, context: Context) -> FloatArray:
        """The vector of a context, shape (size,). Raises KeyError for a name that was not announced."""
        view, previous = context
        vector = np.zeros(self.size)
        vector[self._place["task", view.task_type]] = 1.0
        vector[self._place["tool", view.tool_type]] = 1.0
        if self._is_crossed:
            vector[self._place[view.task_type, view.tool_type]] = 1.0
        if previous is not None:
            vector[self._place["previous", previous]] = 1.0
        if view.last_error != "NONE":
            vector[self._place["last_error", view.last_error]] = 1.0
        for number in self._numbers:
            vector[self._place["number", number]] = view.features.get(number, 0.0)
        vector[-4:] = log1p(view.turn_index) / 4, log1p(view.error_count) / 2, log1p(view.prompt_tokens) / 10, 1.0
        return vector
