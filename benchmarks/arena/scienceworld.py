"""ScienceWorld as a third live world, as far as it is sound: levels, what a caller sees, what slips are.

A turn is one command. The next command of the gold path is the good one; a slip is refused or helps nothing, and costs
the turn. A caller knows the last command and counts of what is in sight: that gives the tool type, a noisy sign of
the work that comes next, whose kind is the hidden phase. What cannot be asked here is anything about a slip that does
harm: tasks in which things move, live, grow, heat up or cool down by themselves are left out, and so is every game
that slips disturbed when it was recorded (`scienceworld_games`).
"""

from __future__ import annotations

from functools import cache, partial

from benchmarks.arena.scienceworld_games import IDLE, REFUSED, Recording, recording, variations
from benchmarks.arena.scienceworld_models import BY_NAME, PHASES
from sojourn_server.demo.models import Advice
from sojourn_server.demo.world import Effect, Level, Situation

GAMES_PER_TASK = 12
TASKS = (
    "chemistry-mix",
    "chemistry-mix-paint-secondary-color",
    "chemistry-mix-paint-tertiary-color",
    "find-living-thing",
    "test-conductivity",
    "test-conductivity-of-unknown-substances",
)
"""Of thirty: without those whose things live or change by themselves, whose paths are beyond 45 commands or below
ten, or whose games slips mostly disturb (the circuits of `power-component`)."""

TOOL_TYPES = ("observe", "travel", "handle", "operate")
TABLE = {"observe": "small", "travel": "small", "handle": "large", "operate": "large"}
"""The article's rule for these tool types: routine work goes to a small model, the rest to a large one."""

LOOKING, TRAVELLING, HANDLING, OPERATING = PHASES
_VERBS = {
    LOOKING: ("look", "inventory", "examine", "read", "wait", "wait1"),
    TRAVELLING: ("go", "open", "close"),
    HANDLING: ("pick", "drop", "move", "pour", "dunk", "mix"),
    OPERATING: ("focus", "use", "activate", "deactivate", "connect", "disconnect"),
}
KIND_OF_VERB = {verb: phase for phase, verbs in _VERBS.items() for verb in verbs}
_TOOL_TYPE_OF_PHASE = dict(zip(PHASES, TOOL_TYPES, strict=True))
SLIPS = ((0.4, REFUSED), (0.6, IDLE[0]), (0.8, IDLE[1]), (1.0, IDLE[2]))
"""What a model does that slips, with cumulative probabilities."""


class Game:
    """One task being played: how far its gold path was walked, and the last command."""

    def __init__(self, task: str, side: str, seed: int) -> None:
        """Starts the game that `seed` (0 or more) names among the task's recorded ones of a side."""
        games = pool(task, side)
        self._recording = games[seed % len(games)]
        self._place = 0
        self._last = IDLE[0]

    def situation(self) -> Situation:
        """What a caller can see now."""
        seen = self._recording.seen[self._place]
        counts = {"things_in_sight": seen.things, "doors_in_sight": seen.doors, "carried": seen.carried}
        return Situation(_TOOL_TYPE_OF_PHASE[phase(self._last)], {name: float(n) for name, n in counts.items()})

    def advise(self) -> Advice:
        """The next command of the gold path, and its phase."""
        command = self._recording.commands[self._place]
        return Advice(command, phase(command), SLIPS)

    def step(self, action: str) -> Effect:
        """Gives a command: the next one of the path, or a slip, which changes nothing."""
        self._last = action
        if action == self._recording.commands[self._place]:
            self._place += 1
        return Effect(self._place == len(self._recording.commands), action == REFUSED, phase(action) != TRAVELLING)


def phase(command: str) -> str:
    """The kind of work that a command does. A bare number answers a question about what was meant: handling."""
    return KIND_OF_VERB.get(command.partition(" ")[0], HANDLING)


@cache
def pool(task: str, side: str) -> list[Recording]:
    """The first games of a side that slips do not disturb, at most `GAMES_PER_TASK`."""
    found = list[Recording]()
    for variation in variations(task, side):
        made = recording(task, variation)
        if made is not None:
            found.append(made)
        if len(found) == GAMES_PER_TASK:
            break
    return found


def levels(side: str) -> tuple[Level, ...]:
    """All tasks, each with its games of a side."""
    return tuple(Level(task, partial(Game, task, side), BY_NAME) for task in TASKS)


LEVELS = levels("train")
HELD_OUT = levels("test")
