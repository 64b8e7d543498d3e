"""What a live world is made of: kinds of tasks, the games that they open, and what one turn shows and does.

A turn is one action, of whatever type the world has. A game's expert looks on: it knows the next good action and
the true kind of work, the hidden phase, which goes to the scripted models and to no router.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from sojourn_server.demo.models import Advice, ScriptedModel


@dataclass(frozen=True)
class Situation:
    """What a caller can see before a turn, without a model and without the expert's plan. `features` are counts."""

    tool_type: str
    features: Mapping[str, float]


@dataclass(frozen=True)
class Effect:
    """What an action did. `is_refused`: it changed nothing; `is_tool`: it was more than a move."""

    is_solved: bool
    is_refused: bool
    is_tool: bool


class Game(Protocol):
    """One task being played: equal actions lead to equal states."""

    def situation(self) -> Situation:
        """What a caller can see now."""

    def advise(self) -> Advice:
        """What the expert would do now; asked once a turn."""

    def step(self, action: Any) -> Effect:
        """Takes an action and says what it did."""


@dataclass(frozen=True)
class Level:
    """One kind of task; `name` is the task type that callers tell the router.

    `open` starts the task that a seed (0 or more) names; `models` can serve its turns, by name.
    """

    name: str
    open: Callable[[int], Game]
    models: Mapping[str, ScriptedModel] = field(compare=False)
