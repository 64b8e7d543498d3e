"""Rules without learning: escalation on errors, the rules in MTRouter's code, a table by hand, the phase oracle.

The article's tool-type heuristic is not here: it is Sojourn's own HEURISTIC mode.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from sojourn_server.demo.play import Task, TurnFacts, TurnView

Table = Mapping[str, str]
"""Tool type to model."""


class Escalation:
    """Cheap until an error shows, then the strong model for a number of turns (cascades: FrugalGPT, arXiv 2305.05176).

    `hold_turns` 1 goes back after one turn without an error; more is hysteresis. A new error starts the hold anew.
    """

    def __init__(self, cheap: str, strong: str, *, hold_turns: int = 1) -> None:
        """`hold_turns` >= 1."""
        self._cheap = cheap
        self._strong = strong
        self._hold_turns = hold_turns
        self._turns_left = 0  # on the strong model; owner: play()

    def begin(self, task: Task) -> None:
        """Starts cheap."""
        self._turns_left = 0

    def choose(self, view: TurnView) -> str:
        """The strong model while the hold lasts."""
        return self._strong if self._turns_left > 0 else self._cheap

    def observe(self, facts: TurnFacts) -> None:
        """An error starts the hold, any other turn shortens it."""
        self._turns_left = self._hold_turns if facts.error != "NONE" else max(self._turns_left - 1, 0)

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


class MtrouterRules:
    """The rule router in MTRouter's own code (arXiv 2604.23530): first turn strong; after an error strong.

    In the last third of the expected turns the value model; else one of the cheap models at random.
    """

    def __init__(
        self, strong: str, value: str, cheap: Sequence[str], *, expected_turns: Callable[[str], float], seed: int
    ) -> None:
        """`expected_turns`: turns of an episode by task type; `cheap`: at least one model; `seed` >= 0."""
        self._strong = strong
        self._value = value
        self._cheap = cheap
        self._expected_turns = expected_turns
        self._seed = seed
        self._random = np.random.default_rng(seed)  # of the episode under way; owner: begin()
        self._has_erred = False  # the turn before; owner: observe()

    def begin(self, task: Task) -> None:
        """Keys the draws by seed and task."""
        self._random = np.random.default_rng((self._seed, task.seed, task.index))
        self._has_erred = False

    def choose(self, view: TurnView) -> str:
        """The first rule that fits."""
        if view.turn_index == 0 or self._has_erred:
            return self._strong
        if view.turn_index >= self._expected_turns(view.task_type) * 2 / 3:
            return self._value
        return self._cheap[int(self._random.integers(len(self._cheap)))]

    def observe(self, facts: TurnFacts) -> None:
        """Notes whether the turn showed an error."""
        self._has_erred = facts.error != "NONE"

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


class HandTable:
    """A model for each tool type, by a table."""

    def __init__(self, table: Table, default: str) -> None:
        """`default` serves tool types that the table does not name."""
        self._table = table
        self._default = default

    def begin(self, task: Task) -> None:
        """Nothing to do."""

    def choose(self, view: TurnView) -> str:
        """The table's model."""
        return self._table.get(view.tool_type, self._default)

    def observe(self, facts: TurnFacts) -> None:
        """Nothing to do."""

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


class PhaseOracle:
    """Knows the hidden phase, which no caller does: an upper bound."""

    def __init__(self, model_by_phase: Mapping[str, str]) -> None:
        """`model_by_phase`: name of the model for each hidden phase."""
        self._model_by_phase = model_by_phase
        self._phase = ""  # the phase of the turn about to be chosen; owner: play()

    def reveal(self, phase: str) -> None:
        """Told the hidden phase before each choice."""
        self._phase = phase

    def begin(self, task: Task) -> None:
        """Nothing to do."""

    def choose(self, view: TurnView) -> str:
        """The model for the phase."""
        return self._model_by_phase[self._phase]

    def observe(self, facts: TurnFacts) -> None:
        """Nothing to do."""

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


def fit_table(
    models: Sequence[str], tool_types: Sequence[str], evaluate: Callable[[Table], float], *, sweeps: int = 4
) -> dict[str, str]:
    """The best table found by greedy coordinate search, from the best single model on.

    `evaluate` gives the mean utility of a table on tuning tasks; it is called once per table. Each sweep tries every
    model for each tool type in turn and keeps strict gains; it stops after `sweeps`, or after one without a gain.
    """
    known: dict[tuple[str, ...], float] = {}

    def value(choice: tuple[str, ...]) -> float:
        if choice not in known:
            known[choice] = evaluate(dict(zip(tool_types, choice, strict=True)))
        return known[choice]

    best = max(((model,) * len(tool_types) for model in models), key=value)
    for _ in range(sweeps):
        before = best
        for place in range(len(tool_types)):
            best = max((best, *((*best[:place], model, *best[place + 1 :]) for model in models)), key=value)
        if best == before:
            break
    return dict(zip(tool_types, best, strict=True))
