"""TextWorld (third-party games and winning plans) as a second live world: levels, what a caller sees, what slips are.

A turn is one command. A caller sees which commands are admissible, as TextWorld offers to any agent, and knows the
last one: that gives the kind of thing at hand, a noisy sign of the work that comes next. The next verb of the plan
is the hidden phase. Games come from a pool of seeds for each kind, since making one takes seconds; the pools of
`LEVELS` and of `HELD_OUT` have no game in common.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

from benchmarks.arena.textworld_games import State, challenge, quest, transitions
from benchmarks.arena.textworld_models import BY_NAME, PHASES
from sojourn_server.demo.models import Advice
from sojourn_server.demo.world import Effect, Level, Situation

GAMES_PER_KIND = 50

TOOL_TYPES = ("passage", "items", "closure", "appliance")
TABLE = {"passage": "small", "items": "small", "closure": "large", "appliance": "large"}
"""The article's rule for these tool types: routine work goes to a small model, the rest to a large one."""

MOVING, GATHERING, OPENING, PREPARING = PHASES
CRAFTS = ("cook", "slice", "chop", "dice", "prepare")
PHASE_OF_VERB = {
    **dict.fromkeys(("go",), MOVING),
    **dict.fromkeys(("take", "drop", "put", "insert"), GATHERING),
    **dict.fromkeys(("open", "close", "lock", "unlock"), OPENING),
    **dict.fromkeys((*CRAFTS, "eat"), PREPARING),
}

REFUSED_SHARE, LOOK_SHARE, INVENTORY_SHARE = 0.25, 0.15, 0.10
REVERSIBLE = ("go", "open", "close", "take", "drop", "put", "insert")
"""Verbs of aimless slips: the plan can be taken up again after them."""


class Game:
    """One task being played."""

    def __init__(self, kind: str, first: int, seed: int) -> None:
        """Starts the task that `seed` (0 or more) names in the kind's pool, which begins at game number `first`."""
        self._transitions = transitions(kind, MAKERS[kind], first + seed % GAMES_PER_KIND)
        self._state = self._transitions.start

    def situation(self) -> Situation:
        """What a caller can see now."""
        verbs = Counter(map(_verb, self._state.commands))
        closed = verbs["open"] + verbs["unlock"]
        counts = {"exits": verbs["go"], "items": verbs["take"], "closed_things": closed, "carried": verbs["drop"]}
        return Situation(_tool_type(verbs), {name: float(n) for name, n in counts.items()})

    def advise(self) -> Advice:
        """The first command of the winning plan, and its phase; a look around if there is no plan any more."""
        if not self._state.plan:
            return Advice("look", MOVING, slips(self._state), is_lost=True)
        command = self._state.plan[0]
        return Advice(command, PHASE_OF_VERB[_verb(command)], slips(self._state))

    def step(self, action: str) -> Effect:
        """Gives a command. What is not admissible is refused and changes nothing."""
        is_refused = action not in self._state.commands
        if not is_refused:
            self._state = self._transitions.after(self._state, action)
        return Effect(self._state.is_solved, is_refused, _verb(action) != "go")


def slips(state: State) -> tuple[tuple[float, str], ...]:
    """What a model does that slips, with cumulative probabilities.

    It hurries ahead in the plan, which is refused; or looks around or at what it carries, which helps nothing; or
    does something else, all reversible commands alike.
    """
    refused = next((command for command in state.plan[1:] if command not in state.commands), "wait")
    look = REFUSED_SHARE + LOOK_SHARE
    idle = look + INVENTORY_SHARE
    others = [c for c in state.commands if _verb(c) in REVERSIBLE and c not in state.plan[:1]] or ["look"]
    aimless = ((idle + (1.0 - idle) * (i + 1) / len(others), command) for i, command in enumerate(others))
    return ((REFUSED_SHARE, refused), (look, "look"), (idle, "inventory"), *list(aimless)[:-1], (1.0, others[-1]))


def _verb(command: str) -> str:
    return command.partition(" ")[0]


def _tool_type(verbs: Counter[str]) -> str:
    if verbs["unlock"]:
        return "closure"
    if any(verbs[craft] for craft in CRAFTS):
        return "appliance"
    if verbs["open"]:
        return "closure"
    return "items" if verbs["take"] else "passage"


_COOKING = {"take": 2, "open": True, "cook": True, "cut": True, "drop": False, "split": "train", "recipe_seed": 7}
_HOUSE = {"rewards": "sparse", "goal": "detailed", "test": False}

MAKERS: dict[str, Callable[[int], Any]] = {
    "coin_maze": partial(challenge, "tw-coin_collector", {"level": 110}),
    "grill_in_house": partial(challenge, "tw-simple", _HOUSE),
    "cook_in_kitchen": partial(challenge, "tw-cooking", {**_COOKING, "recipe": 3, "go": 1}),
    "cook_in_house": partial(challenge, "tw-cooking", {**_COOKING, "recipe": 2, "go": 6}),
    "short_quest": partial(quest, {"nb_rooms": 4, "nb_objects": 8, "quest_length": 8}),
    "long_quest": partial(quest, {"nb_rooms": 6, "nb_objects": 10, "quest_length": 12}),
    "two_quests": partial(quest, {"nb_rooms": 5, "nb_objects": 10, "quest_length": 5, "nb_parallel_quests": 2}),
}
"""Kinds of games, of 7 to 13 turns for the expert. TextWorld's treasure hunter is left out: some take two turns."""


def levels(first: int) -> tuple[Level, ...]:
    """All kinds of games, of each the pool that begins at game number `first`."""
    return tuple(Level(kind, partial(Game, kind, first), BY_NAME) for kind in MAKERS)


LEVELS = levels(0)
HELD_OUT = levels(GAMES_PER_KIND)
