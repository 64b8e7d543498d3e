"""Placebos: a policy's habits without its reasons. Only the gap to the transplanted one is credited to context.

Each is made from the model sequences of episodes that another policy played (its `EpisodeResult.served`), best of
other seeds. Draws are keyed by the seed and the task, so an episode does not depend on those before it.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain

import numpy as np

from sojourn_server.demo.play import Task, TurnFacts, TurnView

Served = Sequence[str]
"""The models of an episode's turns, in order."""


class _Keyed:
    """A chooser that learns nothing and draws anew for each task."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._random = np.random.default_rng(seed)  # of the episode under way; owner: begin()

    def begin(self, task: Task) -> None:
        """Keys the draws by seed (>= 0) and task."""
        self._random = np.random.default_rng((self._seed, task.seed, task.index))

    def observe(self, facts: TurnFacts) -> None:
        """Nothing to do."""

    def end(self, score: float, usd: float) -> None:
        """Nothing to do."""


def shares(episodes: Iterable[Served]) -> dict[str, float]:
    """Each model's share of all turns; they sum to 1."""
    counts = Counter(model for served in episodes for model in served)
    return {model: count / counts.total() for model, count in sorted(counts.items())}


class MatchedRandom(_Keyed):
    """A model drawn at every turn, with given shares."""

    def __init__(self, share_of: Mapping[str, float], *, seed: int) -> None:
        """`share_of`: probability of each model; they sum to 1."""
        super().__init__(seed)
        self._models = tuple(share_of)
        self._limits = np.cumsum(list(share_of.values()))

    def choose(self, view: TurnView) -> str:
        """A fresh draw."""
        place = int(np.searchsorted(self._limits, self._random.random(), side="right"))
        return self._models[min(place, len(self._models) - 1)]


class MatchedSojourns(_Keyed):
    """Random sojourns with a policy's shares and sojourn lengths, whatever the turns are about.

    A semi-Markov chain: the model of the next turn is drawn from what followed the same model at the same age of
    its sojourn. Sojourns that an episode's end cut short count as long as they lasted, so lengths are not biased.
    """

    def __init__(self, episodes: Iterable[Served], *, seed: int) -> None:
        """`episodes`: at least one, none of them empty."""
        super().__init__(seed)
        self._followers = _followers(episodes)
        self._state: tuple[str, int] | None = None  # model and its age in turns; owner: choose()

    def begin(self, task: Task) -> None:
        """Starts a new chain."""
        super().begin(task)
        self._state = None

    def choose(self, view: TurnView) -> str:
        """The model of the chain's next step; a state that nobody was seen to leave is kept."""
        followers = self._followers.get(self._state)
        if followers:
            model = followers[int(self._random.integers(len(followers)))]
        else:
            assert self._state is not None, "at least one episode"
            model = self._state[0]
        self._state = (model, _age(self._state, model))
        return model


def _age(before: tuple[str, int] | None, model: str) -> int:
    """Age of the sojourn, in turns, once `model` serves the next turn."""
    return before[1] + 1 if before is not None and before[0] == model else 1


def _followers(episodes: Iterable[Served]) -> dict[tuple[str, int] | None, list[str]]:
    """What followed each state; None is the state before the first turn."""
    followers = defaultdict[tuple[str, int] | None, list[str]](list)
    for served in episodes:
        state: tuple[str, int] | None = None
        for model in served:
            followers[state].append(model)
            state = (model, _age(state, model))
    return dict(followers)


class Transplanted(_Keyed):
    """The model sequence of another episode of the same task type (of any, where nobody played that type).

    An episode that lasts longer than its donor goes on with another donor of at least its length, at the same turn;
    if there is none, with the last model.
    """

    def __init__(self, donors: Mapping[str, Sequence[Served]], *, seed: int) -> None:
        """`donors`: episodes by task type, at least one in all."""
        super().__init__(seed)
        self._donors = donors
        self._donor: Served = ()  # of the episode under way; owner: choose()

    def begin(self, task: Task) -> None:
        """Forgets the donor."""
        super().begin(task)
        self._donor = ()

    def choose(self, view: TurnView) -> str:
        """The donor's model at this turn."""
        if view.turn_index >= len(self._donor):
            donors = self._donors.get(view.task_type) or list(chain(*self._donors.values()))
            longer = [donor for donor in donors if len(donor) > view.turn_index]
            if not longer:
                return self._donor[-1]
            self._donor = longer[int(self._random.integers(len(longer)))]
        return self._donor[view.turn_index]
