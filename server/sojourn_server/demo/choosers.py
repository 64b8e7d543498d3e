"""Choosers without a router: the baselines, and an upper bound that cheats."""

from __future__ import annotations

from collections.abc import Mapping
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


class PhaseOracle(_Forgetful):
    """Knows the hidden phase, which no caller does: an upper bound for benchmarks."""

    def __init__(self, model_by_phase: Mapping[str, str]) -> None:
        """`model_by_phase`: name of the model for each hidden phase."""
        self._model_by_phase = model_by_phase
        self._phase = ""  # the phase of the turn about to be chosen; owner: play()

    def reveal(self, phase: str) -> None:
        """Told the hidden phase before each choice."""
        self._phase = phase

    def choose(self, view: TurnView) -> str:
        """The model for the phase."""
        return self._model_by_phase[self._phase]
