"""How a bandit becomes a chooser: asked at every turn, or once an episode; taught when the episode ends.

A bandit picks a model for a context and learns from the turns that were played and the episode's utility,
`score - cost_weight * USD`. It is taught which model *served*, whatever it picked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from benchmarks.arena.policies.features import Context
from sojourn_server.demo.play import Severity, Task, TurnFacts, TurnView


class Turn(NamedTuple):
    """A turn as it went; money in USD."""

    context: Context
    model: str
    error: Severity
    usd: float


class Bandit(Protocol):
    """Picks models, learns from episodes."""

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """One of the offered models (at least one)."""

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """An episode is over: the turns that it is asked to answer for, and its utility."""


class PerTurn:
    """Asks the bandit at every turn; every turn is credited with the utility of the whole episode."""

    def __init__(
        self, bandit: Bandit, models: Sequence[str], *, cost_weight: float, counts_forfeited: bool = True
    ) -> None:
        """`cost_weight`: score per USD. Without `counts_forfeited`, money that switches cost in cache is not seen."""
        self.offered = models  # what may be picked from now on; owner: whoever runs the world
        self._bandit = bandit
        self._cost_weight = cost_weight
        self._counts_forfeited = counts_forfeited
        self._context: Context | None = None  # of the turn under way; owner: choose()
        self._turns: list[Turn] = []  # of the episode under way; owner: play()
        self._forfeited_usd = 0.0  # of the episode under way; owner: observe()

    def begin(self, task: Task) -> None:
        """Forgets the episode before."""
        self._turns = []
        self._forfeited_usd = 0.0

    def choose(self, view: TurnView) -> str:
        """The bandit's pick."""
        self._context = Context(view, self._turns[-1].model if self._turns else None)
        return self._pick(self._context)

    def observe(self, facts: TurnFacts) -> None:
        """Notes the turn under the model that served it."""
        assert self._context is not None, "choose() comes before observe()"
        self._turns.append(Turn(self._context, facts.model, facts.error, facts.spend.usd))
        self._forfeited_usd += facts.spend.forfeited_usd

    def end(self, score: float, usd: float) -> None:
        """Teaches the bandit."""
        seen_usd = usd if self._counts_forfeited else usd - self._forfeited_usd
        self._bandit.learn(self._taught(self._turns), score - self._cost_weight * seen_usd)

    def _pick(self, context: Context) -> str:
        return self._bandit.pick(context, self.offered)

    def _taught(self, turns: list[Turn]) -> list[Turn]:
        return turns


class PerEpisode(PerTurn):
    """Asks the bandit at turn 0 and stays, as single-turn routers do; a model that is withdrawn is asked for anew."""

    def _pick(self, context: Context) -> str:
        if context.previous is not None and context.previous in self.offered:
            return context.previous
        return super()._pick(context)

    def _taught(self, turns: list[Turn]) -> list[Turn]:
        return turns[:1]
