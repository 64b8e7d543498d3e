"""minigrid's expert bot as a closed-loop adviser: the next good action, and the phase that it belongs to.

The bot replans from the state it finds, whatever was done before, so a model that slips can recover. After some
slips it gives up (an assertion) or searches without end; then it starts a new plan with the map that it has, and
if that fails too it advises a step of exploration. The phase is the true kind of work, read off the bot's stack of
sub-goals. Scripted models depend on it; no router may see it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sojourn_server.demo.models import PHASES, Advice
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

__all__ = ["PHASES", "SLIPS", "BoundedBot", "Expert"]

SLIPS = ((0.3, Actions.left), (0.6, Actions.right), (0.75, Actions.forward), (1.0, Actions.done))
"""A model that slips turns or walks without aim, or claims to be finished, which is refused."""

SEARCHES_PER_TURN = 60  # a good turn needs fewer than ten


class LostPlan(Exception):
    """The bot searched too long for one turn."""


class BoundedBot(BabyAIBot):
    """The bot, but it never searches without end."""

    def _breadth_first_search(self, *args: Any, **kwargs: Any) -> Any:
        if self.bfs_counter >= SEARCHES_PER_TURN:
            raise LostPlan
        search: Any = super()._breadth_first_search
        return search(*args, **kwargs)


class Expert:
    """Advises on one game of minigrid; call `advise` once a turn."""

    def __init__(self, make_bot: Callable[[], Any]) -> None:
        """Makes a first plan for the game as it stands; `make_bot` makes a bot that has seen nothing yet."""
        self._make_bot = make_bot
        self._bot = make_bot()

    def advise(self, taken: int | None) -> Advice:
        """The next good action and its phase; `taken` is what was really done on the last turn (None = no turn yet)."""
        try:
            return self._advice(taken)
        except (AssertionError, DisappearedBoxError, LostPlan):
            return self._advice_of_new_plan()

    def _advice_of_new_plan(self) -> Advice:
        seen = self._bot.vis_mask
        self._bot = self._make_bot()
        self._bot.vis_mask = seen
        try:
            return self._advice(None)
        except (AssertionError, DisappearedBoxError, LostPlan):
            return Advice(Actions.forward, "exploring", SLIPS, is_lost=True)

    def _advice(self, taken: int | None) -> Advice:
        self._bot.bfs_counter = 0
        action = self._bot.replan(taken)
        return Advice(action, _phase(self._bot.stack), SLIPS)


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
