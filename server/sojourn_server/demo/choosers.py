"""Choosers without a router: the demo's baselines."""

from __future__ import annotations

from hashlib import blake2b

from sojourn_server.demo.models import MODELS
from sojourn_server.demo.play import Task, TurnFacts, TurnView


class _Forgetful:
    """A chooser that learns nothing from what happens."""

    def begin(self, task: Task) -> None:
        """Nothing to do."""

    def observe(self, facts: TurnFacts) -> None:
        """Nothing to do."""

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


class NeverSwitch(_Forgetful):
    """One model on every turn."""

    def __init__(self, model: str) -> None:
        """`model`: name of a scripted model."""
        self._model = model

    def choose(self, view: TurnView) -> str:
        """The one model."""
        return self._model


class UniformRandom(_Forgetful):
    """A model drawn at every turn, all alike; the draws are keyed by the task, so a run can be repeated."""

    def __init__(self) -> None:
        """The first episode sets the task."""
        self._task: Task | None = None  # the episode under way; owner: play()

    def begin(self, task: Task) -> None:
        """Keys the draws."""
        self._task = task

    def choose(self, view: TurnView) -> str:
        """A model, each with probability 1 / 6."""
        assert self._task is not None, "begin() comes before choose()"
        key = f"uniform {self._task.seed} {self._task.index} {view.turn_index}"
        draw = int.from_bytes(blake2b(key.encode(), digest_size=8).digest(), "big")
        return MODELS[draw % len(MODELS)].name
