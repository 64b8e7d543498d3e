"""What the agent of a minigrid world sees: the cells of its field of view that nothing opaque hides.

minigrid finds them by copying, turning and masking the field as a grid of objects; this reads them off the world row
by row, the agent's own row first, and finds the same cells. Within a row, sight spreads sideways through clear cells,
and each clear cell that is seen shows the cells before and beside it in the next row. A row is a number: bit i is
its i-th cell from the left.
"""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

Cell = tuple[int, int]


class Sight(NamedTuple):
    """Seen cells by their place (x, y) in the world, and the things on them; those on the agent's own are left out."""

    cells: list[Cell]
    things: list[Any]


class _Outside:
    """What lies around the world; opaque, as walls are."""

    def see_behind(self) -> bool:
        return False


_OUTSIDE = _Outside()


def look(environment: Any) -> Sight:
    """What the agent sees from where it stands."""
    cells, width, height = environment.grid.grid, environment.width, environment.height
    here = x, y = tuple(map(int, environment.agent_pos))
    size = environment.agent_view_size
    found, seen = Sight([], []), 1 << size // 2
    for offsets in _field(*map(int, environment.dir_vec), size):
        row, clear = list[tuple[int, Cell, Any]](), 0
        for bit, right, down in offsets:
            cell = i, j = x + right, y + down
            thing = cells[j * width + i] if 0 <= i < width and 0 <= j < height else _OUTSIDE
            if thing is None or thing.see_behind():
                clear |= bit
            row.append((bit, cell, thing))
        seen, shown = spread(seen, clear, size)
        in_sight = [(cell, thing) for bit, cell, thing in row if seen & bit and thing is not _OUTSIDE]
        found.cells.extend([cell for cell, _ in in_sight])
        found.things.extend([thing for cell, thing in in_sight if thing is not None and cell != here])
        if not shown:
            break
        seen = shown
    return found


@cache
def _field(ahead_x: int, ahead_y: int, size: int) -> tuple[tuple[tuple[int, int, int], ...], ...]:
    """The field of view of an agent that looks ahead, row by row: each cell's bit, and its place from the agent."""
    sides = range(-(size // 2), size // 2 + 1)
    return tuple(
        tuple((1 << i, far * ahead_x - side * ahead_y, far * ahead_y + side * ahead_x) for i, side in enumerate(sides))
        for far in range(size)
    )


@cache
def spread(seen: int, clear: int, size: int) -> tuple[int, int]:
    """Of a row of `size` cells: which are seen in the end, and which cells of the next row they show."""
    shown = 0
    for i in range(size - 1):
        if seen & clear & 1 << i:
            seen |= 1 << i + 1
            shown |= 0b11 << i
    for i in range(size - 1, 0, -1):
        if seen & clear & 1 << i:
            seen |= 1 << i - 1
            shown |= 0b11 << i - 1
    return seen, shown
