"""An MTRouter-like router (arXiv 2604.23530): an estimator of how the episode ends, trained offline, then frozen.

Training follows the paper's recipe: per task 5 uniform-random and 3 single-model runs of each model. The target of
turn t is the annealed-error one, `s - sum of rho_i over i >= t`, with N the median turns of successful runs of the
task type; the loss is the squared error; two hidden layers of 256. Where the paper embeds the history with a language
model and the candidate with a learned vector, this takes the shared vector and a one-hot (whose first-layer
weights are that vector). The choice is greedy. The paper's target has no money in it; `cost_weight` can put it there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from statistics import median

import numpy as np

from benchmarks.arena.policies.features import Context, Encoder
from benchmarks.arena.policies.learning import PerTurn, Turn
from benchmarks.arena.policies.network import Network
from sojourn.v1 import types_pb2
from sojourn_server.demo.play import Chooser, Task
from sojourn_server.learner.credit import error_cost

RANDOM_RUNS = 5
SINGLE_RUNS = 3
DEFAULT_TURNS = 27.0  # the paper's own default, for task types that no run solved


@dataclass(frozen=True)
class Run:
    """A training episode: its turns in order, and its score in [0, 1]."""

    turns: Sequence[Turn]
    score: float

    @property
    def usd(self) -> float:
        """Money of all its turns."""
        return sum(turn.usd for turn in self.turns)


class _Gatherer:
    """A bandit that picks one of its own models at random, and keeps the episodes."""

    def __init__(self, models: Sequence[str], random: np.random.Generator, runs: list[Run]) -> None:
        self._models = models
        self._random = random
        self._runs = runs

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        return self._models[int(self._random.integers(len(self._models)))]

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        self._runs.append(Run(turns, utility))


def collect(
    tasks: Iterable[Task], play: Callable[[Task, Chooser], object], models: Sequence[str], *, seed: int
) -> list[Run]:
    """Plays the paper's recipe on training tasks, 5 + 3 * len(models) runs each.

    A repeated run has luck of its own: the task's `seed`, which keys the luck and not the layout, is changed.
    """
    random = np.random.default_rng(seed)
    runs: list[Run] = []
    recipe = [tuple(models)] * RANDOM_RUNS + [(model,) for model in models for _ in range(SINGLE_RUNS)]
    for task in tasks:
        for roster in recipe:
            luck = int(random.integers(2**31))
            play(replace(task, seed=luck), PerTurn(_Gatherer(roster, random, runs), models, cost_weight=0.0))
    return runs


class Estimator:
    """Greedy over the estimate; learns nothing any more. Run it under `PerTurn`."""

    def __init__(self, encoder: Encoder, network: Network, *, training_usd: float) -> None:
        """A trained network from (vector, one-hot of the model) to the target; `training_usd`: what its runs cost."""
        self.training_usd = training_usd
        self._encoder = encoder
        self._network = network
        self._one_hots = np.eye(len(encoder.models))

    @classmethod
    def trained(
        cls, encoder: Encoder, runs: Sequence[Run], *, seed: int, epochs: int = 20, cost_weight: float = 0.0
    ) -> Estimator:
        """Fits the network to the runs. With `cost_weight` (score per USD) the money from turn t on is in the target.

        All runs count for `training_usd`. Raises ValueError without runs.
        """
        if not runs:
            raise ValueError("an estimator needs training runs")
        turns = [turn for run in runs for turn in run.turns]
        vectors = np.stack([encoder.encode(turn.context) for turn in turns])
        places = [encoder.models.index(turn.model) for turn in turns]
        inputs = np.hstack([vectors, np.eye(len(encoder.models))[places]])
        expected = expected_turns(runs)
        wanted = [value for run in runs for value in targets(run, expected[_task_type(run)], cost_weight=cost_weight)]
        network = Network(inputs.shape[1], seed=seed)
        network.fit(inputs, np.array(wanted), epochs=epochs)
        return cls(encoder, network, training_usd=sum(run.usd for run in runs))

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """The offered model with the best estimate."""
        vector = self._encoder.encode(context)
        inputs = np.hstack([np.tile(vector, (len(self._one_hots), 1)), self._one_hots])
        estimates = dict(zip(self._encoder.models, self._network.predict(inputs).tolist(), strict=True))
        return max(offered, key=estimates.__getitem__)

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """Frozen."""


def expected_turns(runs: Sequence[Run]) -> dict[str, float]:
    """N of each task type: the median turns of its successful runs (score above 0.5)."""
    solved = defaultdict[str, list[int]](list)
    for run in runs:
        if run.score > 0.5:
            solved[_task_type(run)].append(len(run.turns))
    return {kind: median(solved[kind]) if solved[kind] else DEFAULT_TURNS for kind in {_task_type(r) for r in runs}}


def targets(run: Run, expected: float, *, cost_weight: float = 0.0) -> list[float]:
    """The target of each turn: score less the annealed cost of errors, and less the weighted money, from it on."""
    costs = [
        error_cost(types_pb2.Severity.Value(f"SEVERITY_{turn.error}"), index, expected) + cost_weight * turn.usd
        for index, turn in enumerate(run.turns)
    ]
    return [run.score - ahead for ahead in reversed(list(accumulate(reversed(costs))))]


def _task_type(run: Run) -> str:
    return run.turns[0].context.view.task_type
