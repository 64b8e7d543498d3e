"""minigrid's expert bot as a closed-loop adviser: the next good action, and the phase that it belongs to.

The bot replans from the state it finds, whatever was done before, so a model that slips can recover. After some
slips it gives up (an assertion) or searches without end; then it starts a new plan with the map that it has, and
if that fails too it advises a step of exploration. The phase is the true kind of work, read off the bot's stack of
sub-goals. Scripted models depend on it; no router may see it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sojourn_server.demo.babyai import Game
from sojourn_server.demo.thirdparty import (
    Actions,
    BabyAIBot,
    CloseSubgoal,
    DisappearedBoxError,
    DropSubgoal,
    GoNextToSubgoal,
    OpenSubgoal,
    PickupSubgoal,
)

PHASES = ("exploring", "approaching", "handling", "unlocking")

SEARCHES_PER_TURN = 60  # a good turn needs fewer than ten


class LostPlan(Exception):
    """The bot searched too long for one turn."""


@dataclass(frozen=True)
class Advice:
    """The expert's next action (a member of minigrid's `Actions`) and the hidden phase, one of `PHASES`."""

    action: int
    phase: str
    is_lost: bool = False


class _BoundedBot(BabyAIBot):
    """The bot, but it never searches without end."""

    def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
        if self.bfs_counter >= SEARCHES_PER_TURN:
            raise LostPlan
        search: Any = super()._breadth_first_search
        return search(*args, **kwargs)


class Expert:
    """Advises on one game; call `advise` once a turn."""

    def __init__(self, game: Game) -> None:
        """Makes a first plan for the game as it stands."""
        self._game = game
        self._bot = _bot(game)

    def advise(self, taken: int | None) -> Advice:
        """The next good action; `taken` is the action really taken on the last turn (None = no turn yet)."""
        try:
            return self._advice(taken)
        except (AssertionError, DisappearedBoxError, LostPlan):
            return self._advice_of_new_plan()

    def _advice_of_new_plan(self) -> Advice:
        seen = self._bot.vis_mask
        self._bot = _bot(self._game)
        self._bot.vis_mask = seen
        try:
            return self._advice(None)
        except (AssertionError, DisappearedBoxError, LostPlan):
            return Advice(Actions.forward, "exploring", is_lost=True)

    def _advice(self, taken: int | None) -> Advice:
        self._bot.bfs_counter = 0
        action = self._bot.replan(taken)
        return Advice(action, _phase(self._bot.stack))


def _bot(game: Game) -> Any:
    return _BoundedBot(game.environment)  # type: ignore[no-untyped-call]  # minigrid has no annotations


def _phase(stack: list[Any]) -> str:
    """The kind of work on top of the stack. Walking counts to what it is for; an unlocked door, to exploring."""
    if not stack:
        return "approaching"
    head, below = stack[-1], stack[-2] if len(stack) > 1 else None
    if head.reason == "Explore":
        return "exploring"
    if head.reason == "Open" or isinstance(head, OpenSubgoal | CloseSubgoal):
        return "unlocking" if _is_locked(head) else "exploring"
    if isinstance(head, PickupSubgoal | DropSubgoal) or isinstance(below, DropSubgoal):
        return "handling"
    return "approaching"


def _is_locked(subgoal: Any) -> bool:
    door = subgoal.datum if isinstance(subgoal, GoNextToSubgoal) else subgoal.fwd_cell
    return bool(getattr(door, "is_locked", False))
