"""A world small enough to know the answer: three models, two tool types, and the best model depends on the tool.

A turn goes well with the probability of the model's skill at the turn's tool type, else it shows an error; the score
is the share of turns that went well. Constant choices score .5, the right choice at each turn scores .9. Luck is a
keyed hash, as in the live worlds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from statistics import fmean
from typing import cast

from benchmarks.arena.policies.features import Encoder
from sojourn_server.demo.play import Chooser, Severity, Task, TurnFacts, TurnView
from sojourn_server.demo.tokens import Prices, TurnSpend

MODELS = ("searcher", "writer", "cheap")
TASK_TYPES = ("tiny",)
TOOL_TYPES = ("search", "write")
SKILLS = {
    "search": {"searcher": 0.9, "writer": 0.1, "cheap": 0.5},
    "write": {"searcher": 0.1, "writer": 0.9, "cheap": 0.5},
}
RIGHT = {"search": "searcher", "write": "writer"}
USD = {"searcher": 0.01, "writer": 0.01, "cheap": 0.001}
SWITCH_USD = 0.005
PRICES = {"searcher": Prices(1.0, 10.0), "writer": Prices(1.0, 10.0), "cheap": Prices(0.1, 1.0)}
TURNS = 6


@dataclass(frozen=True)
class TinyTask:
    """What policies know of a task, and whether all its turns are of one tool type."""

    index: int
    seed: int
    is_pure: bool = False


@dataclass(frozen=True)
class TinyEpisode:
    """An episode as it went."""

    score: float
    usd: float
    served: tuple[str, ...]
    tool_types: tuple[str, ...]


def tiny_tasks(count: int, *, seed: int = 1, is_pure: bool = False) -> list[Task]:
    return [cast("Task", TinyTask(index, seed, is_pure)) for index in range(count)]


def encoder() -> Encoder:
    return Encoder(MODELS, task_types=TASK_TYPES, tool_types=TOOL_TYPES)


def view(turn_index: int = 0, tool_type: str = "search", *, errors: int = 0, last_error: Severity = "NONE") -> TurnView:
    return TurnView("tiny", turn_index, tool_type, 1_500 + 100 * turn_index, errors, last_error, {})


def facts(model: str, *, error: Severity = "NONE", usd: float = 0.0, forfeited_usd: float = 0.0) -> TurnFacts:
    spend = TurnSpend(0, 0, 0, 0, fresh_usd=usd, read_usd=0.0, output_usd=0.0, forfeited_usd=forfeited_usd)
    return TurnFacts(model, spend, error)


def play_tiny(task: Task, chooser: Chooser, turns: int = TURNS) -> TinyEpisode:
    tools: list[str] = []
    served: list[str] = []
    errors: list[Severity] = []
    usd = 0.0
    chooser.begin(task)
    for index in range(turns):
        tools.append(TOOL_TYPES[_uniform(task, "tool", 0 if cast("TinyTask", task).is_pure else index) < 0.5])
        last_error: Severity = "MEDIUM" if "MEDIUM" in errors else "NONE"
        model = chooser.choose(view(index, tools[-1], errors=errors.count("MEDIUM"), last_error=last_error))
        forfeited = SWITCH_USD if served and model != served[-1] else 0.0
        served.append(model)
        errors.append("NONE" if _uniform(task, model, index) < SKILLS[tools[-1]][model] else "MEDIUM")
        usd += USD[model] + forfeited
        chooser.observe(facts(model, error=errors[-1], usd=USD[model] + forfeited, forfeited_usd=forfeited))
    score = errors.count("NONE") / turns
    chooser.end(score, usd)
    return TinyEpisode(score, usd, tuple(served), tuple(tools))


def run(chooser: Chooser, count: int, *, is_pure: bool = False, seed: int = 1) -> list[TinyEpisode]:
    return [play_tiny(task, chooser) for task in tiny_tasks(count, seed=seed, is_pure=is_pure)]


def mean_score(episodes: Sequence[TinyEpisode]) -> float:
    return fmean(episode.score for episode in episodes)


def with_seed(task: Task, seed: int) -> Task:
    return replace(task, seed=seed)


def _uniform(task: Task, *key: object) -> float:
    digest = blake2b(f"{task.seed} {task.index} {key}".encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") / 2.0**64
