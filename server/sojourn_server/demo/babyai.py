"""BabyAI levels (third-party, from minigrid) as a game of turns, and what a caller can see of one.

A turn is one action. The game is deterministic: a level and a seed name one task, and equal actions lead to equal
states. Observations are not rendered, since nobody looks at pixels here; the agent's own 7 x 7 field of view is
enough to say what kind of work a turn does. That `tool_type` comes from the mission's text, the view and the last
action alone. It is a noisy sign of the expert's sub-goal, which stays hidden from every router (see `expert.py`).
"""

from __future__ import annotations

import contextlib
import io
import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

from sojourn_server.demo.expert import BoundedBot, Expert
from sojourn_server.demo.models import BY_NAME, Advice
from sojourn_server.demo.thirdparty import Actions, levels
from sojourn_server.demo.world import Effect, Level, Situation

TOOLS = (Actions.pickup, Actions.drop, Actions.toggle, Actions.done)
THINGS = ("ball", "box", "key", "door")
TOOL_TYPES = ("search", "navigate", "manipulate", "unlock")


@cache
def _environment(build: Callable[[], Any]) -> Any:
    """One environment per level: building one costs more than resetting it."""
    environment = build()
    environment.gen_obs = dict  # nobody reads the encoded observation
    return environment


class Game:
    """One task being played. Only one game per level may be under way: they share the level's environment."""

    def __init__(self, build: Callable[[], Any], seed: int) -> None:
        """Starts the task that `seed` (0 or more) names on the level that `build` makes."""
        self.environment = _environment(build)
        self.environment.gen_obs_grid = self._field_of_view
        with contextlib.redirect_stdout(io.StringIO()):  # minigrid prints each layout that it rejects
            self.environment.reset(seed=seed)
        self._wanted = wanted_things(self.environment.mission)
        self._view: Any = None
        self._last: int | None = None  # the last action
        self._expert = Expert(self._make_bot)

    def step(self, action: int) -> Effect:
        """Takes an action (a member of minigrid's `Actions`) and says what it did."""
        before = self._fingerprint()
        _, reward, _, _, _ = self.environment.step(action)
        self._view = None
        self._last = action
        is_solved = reward > 0
        return Effect(is_solved, not is_solved and before == self._fingerprint(), action in TOOLS)

    def _make_bot(self) -> Any:
        return BoundedBot(self.environment)  # type: ignore[no-untyped-call]  # minigrid has no annotations

    def advise(self) -> Advice:
        """The expert's next action and the hidden phase; call it once a turn."""
        return self._expert.advise(self._last)

    def situation(self) -> Situation:
        """What a caller can see now."""
        things = self._things_in_view()
        doors = [thing for thing in things if thing.type == "door"]
        is_carrying = self.environment.carrying is not None
        counts = {"is_carrying": is_carrying, "objects_in_view": len(things) - len(doors), "doors_in_view": len(doors)}
        return Situation(self._tool_type(things, is_carrying), {name: float(n) for name, n in counts.items()})

    def _tool_type(self, things: list[Any], is_carrying: bool) -> str:
        ahead = self.environment.grid.get(*self.environment.front_pos)
        if any(thing.type == "door" and thing.is_locked for thing in things):
            return "unlock"
        if self._last in TOOLS or is_carrying or (ahead is not None and ahead.type in ("ball", "box", "key")):
            return "manipulate"
        if any(matches(thing, wanted) for thing in things for wanted in self._wanted):
            return "navigate"
        return "search"

    def _things_in_view(self) -> list[Any]:
        """Doors and objects that the agent sees, what it carries left out."""
        grid, visible = self._field_of_view()
        own_cell = (grid.width // 2, grid.height - 1)
        cells = ((x, y) for x in range(grid.width) for y in range(grid.height) if visible[x, y])
        seen = (grid.get(x, y) for x, y in cells if (x, y) != own_cell)
        return [thing for thing in seen if thing is not None and thing.type in THINGS]

    def _field_of_view(self) -> Any:
        """minigrid's `gen_obs_grid`, computed once a turn: the expert and the caller look at the same view."""
        if self._view is None:
            self._view = type(self.environment).gen_obs_grid(self.environment)
        return self._view

    def _fingerprint(self) -> tuple[Any, ...]:
        """Differs before and after any action that has an effect."""
        environment = self.environment
        ahead = environment.grid.get(*environment.front_pos)
        x, y = environment.agent_pos
        return (int(x), int(y), environment.agent_dir, id(environment.carrying), ahead and ahead.encode())


Wanted = tuple[str | None, str | None]

_THING = re.compile(r"(?:(red|green|blue|purple|yellow|grey) )?(ball|box|key|door|object)\b")


def wanted_things(mission: str) -> tuple[Wanted, ...]:
    """Colour and type of each thing that a mission names; None = any. "go to a red object" -> (("red", None),)."""
    return tuple((colour or None, None if kind == "object" else kind) for colour, kind in _THING.findall(mission))


def matches(thing: Any, wanted: Wanted) -> bool:
    """True if an object of minigrid has the wanted colour and type."""
    colour, kind = wanted
    return colour in (None, thing.color) and kind in (None, thing.type)


_WORLDS: tuple[tuple[str, Callable[[], Any]], ...] = (
    ("put_next", levels.PutNextLocal),
    ("pickup_above", levels.PickupAbove),
    ("find_object", levels.FindObjS5),
    ("goto_maze", partial(levels.GoTo, num_dists=1, room_size=5)),
    ("unlock_distractors", partial(levels.UnlockLocal, distractors=True)),
    ("unlock_pickup", levels.UnlockPickup),
    ("blocked_unlock", levels.BlockedUnlockPickup),
    ("key_corridor", partial(levels.KeyCorridor, room_size=3, num_rows=2)),
)
"""The kinds of task on which the expert is reliable."""


def levels_of(play: Callable[[Callable[[], Any], int], Game]) -> tuple[Level, ...]:
    """All kinds of task, each opened by `play(build, seed)`."""
    return tuple(Level(name, partial(play, build), BY_NAME) for name, build in _WORLDS)


LEVELS = levels_of(Game)
