"""BabyAI as the demo plays it, only sooner: the same games, advice and situations, turn for turn.

A turn of the arena is mostly minigrid's bookkeeping, so two of its computations are done here in a quicker way: what
the agent sees (see `sight.py`), which the expert and the caller ask for, and the expert's search for paths.
`tests/arena` plays both and compares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.arena.sight import Cell, Sight, look
from sojourn_server.demo.babyai import THINGS, Game, levels_of
from sojourn_server.demo.expert import BoundedBot
from sojourn_server.demo.thirdparty import BabyAIBot
from sojourn_server.demo.world import Effect


class _QuickSearch(BabyAIBot):
    """minigrid's bot with another way to find paths, and the same paths."""

    def _breadth_first_search(self, initial_states: Any, accept_fn: Any, ignore_blockers: bool) -> Any:
        """Path to the first accepted cell, that cell, every cell's predecessor; (None, None, predecessors) without one.

        Straight on goes before turning. Cells that were never seen, walls, closed doors and, unless they are ignored,
        things can be reached, but not passed.
        """
        self.bfs_counter += 1
        cells, width, is_known = self.mission.unwrapped.grid.grid, self.mission.unwrapped.width, self.vis_mask
        queue: list[tuple[int, int, int, int, Cell | None]] = [
            (int(x), int(y), int(ahead_x), int(ahead_y), None) for x, y, ahead_x, ahead_y in initial_states
        ]
        came_from: dict[Cell, Cell | None] = {}
        for x, y, ahead_x, ahead_y, before in queue:
            here = (x, y)
            if here in came_from:
                continue
            came_from[here] = before
            thing = cells[y * width + x]
            if accept_fn(here, thing):
                return _path(here, came_from), here, came_from
            if is_known[here] and (thing is None or _is_passable(thing, ignore_blockers=ignore_blockers)):
                queue.append((x + ahead_x, y + ahead_y, ahead_x, ahead_y, here))
                queue.append((x + ahead_y, y + ahead_x, ahead_y, ahead_x, here))
                queue.append((x - ahead_y, y - ahead_x, -ahead_y, -ahead_x, here))
                queue.append((x - ahead_x, y - ahead_y, -ahead_x, -ahead_y, here))
        return None, None, came_from


class QuickBot(BoundedBot, _QuickSearch):
    """The demo's bot; `look` tells it what the agent sees now."""

    def __init__(self, environment: Any, look: Callable[[], Sight]) -> None:
        super().__init__(environment)  # type: ignore[no-untyped-call]  # minigrid has no annotations
        self._look = look

    def _process_obs(self) -> None:
        for cell in self._look().cells:
            self.vis_mask[cell] = True


def _is_passable(thing: Any, *, ignore_blockers: bool) -> bool:
    if thing.type == "door":
        return bool(thing.is_open)
    return ignore_blockers and thing.type != "wall"


def _path(cell: Cell, came_from: Mapping[Cell, Cell | None]) -> list[Cell]:
    """From the cell back to where the search began."""
    path, before = [cell], came_from[cell]
    while before is not None:
        path.append(before)
        before = came_from[before]
    return path


class QuickGame(Game):
    """A game whose expert and caller look at the same cells, found once a turn."""

    _sight: Sight | None = None  # of this turn, once somebody looked; owner: _look(), step()

    def step(self, action: int) -> Effect:
        """Takes an action and says what it did."""
        self._sight = None
        return super().step(action)

    def _make_bot(self) -> Any:
        return QuickBot(self.environment, self._look)

    def _things_in_view(self) -> list[Any]:
        return [thing for thing in self._look().things if thing.type in THINGS]

    def _look(self) -> Sight:
        if self._sight is None:
            self._sight = look(self.environment)
        return self._sight


LEVELS = levels_of(QuickGame)
