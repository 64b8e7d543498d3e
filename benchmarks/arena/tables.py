"""Tables from tool type, or hidden phase, to model: fitted on tuning tasks, and written better or worse on purpose.

A fitted table is the best that greedy search finds (`fit_table`) by mean utility. The heuristic's table is one of
classes; to put a model of its own into it, each model is given a skill that no other has, and the table says
"best:<that skill>".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean

from benchmarks.arena.cache import remembered
from benchmarks.arena.environments import TUNING_SEEDS, Environment
from benchmarks.arena.policies.rules import HandTable, PhaseOracle, Table, fit_table
from sojourn_server.config import ModelConfig
from sojourn_server.demo.play import EpisodeResult, Task
from sojourn_server.policy.heuristic import BEST

COST_WEIGHT = 1.0  # score that one USD is worth; the product's default
FIT_TASKS = 60  # on a tuning seed
_TURNED_AROUND = {"small": "large", "large": "small"}


def _mean_utility(results: Sequence[EpisodeResult]) -> float:
    return fmean(result.score - COST_WEIGHT * result.usd for result in results)


def hand_table(environment: Environment) -> dict[str, str]:
    """The best table over what is visible, on tuning tasks."""

    def evaluate(tasks: Sequence[Task], table: Table) -> float:
        return _mean_utility([environment.play(task, HandTable(table, environment.strongest)) for task in tasks])

    return _fitted(environment, "hand-table", environment.tool_types, evaluate)


def phase_table(environment: Environment) -> dict[str, str]:
    """The best table over the hidden phases, on tuning tasks."""

    def evaluate(tasks: Sequence[Task], table: Table) -> float:
        oracle = PhaseOracle(table)
        return _mean_utility([environment.play(task, oracle, reveal=oracle.reveal) for task in tasks])

    return _fitted(environment, "phase-table", environment.phases, evaluate)


def _fitted(
    environment: Environment, name: str, keys: Sequence[str], evaluate: Callable[[Sequence[Task], Table], float]
) -> dict[str, str]:
    def fit() -> dict[str, str]:
        tasks = environment.tasks(FIT_TASKS, seed=TUNING_SEEDS[-2])
        return fit_table(environment.model_names, keys, lambda table: evaluate(tasks, table), sweeps=2)

    table: dict[str, str] = remembered(f"{environment.name}/fitted/{name}", fit)
    return table


LEVELS = ("inverted", "shuffled", "right-0", "right-1", "right-2", "right-3", "right-4")


def table_at(environment: Environment, level: str) -> dict[str, str]:
    """The heuristic's table at a level of how well it is written. Raises KeyError.

    "right-k": the best hand table's models for the first k tool types, the article's classes for the rest, so
    "right-0" is the article's. "shuffled": the best hand table, each tool type with the model of the next.
    "inverted": the article's with small and large exchanged.
    """
    if level not in LEVELS:
        raise KeyError(level)
    article = dict(environment.table)
    if level == "inverted":
        return {tool: _TURNED_AROUND.get(size, size) for tool, size in article.items()}
    tools = environment.tool_types
    best = {tool: BEST + _own_skill(model) for tool, model in hand_table(environment).items()}
    if level == "shuffled":
        return {tool: best[following] for tool, following in zip(tools, (*tools[1:], tools[0]), strict=True)}
    return article | {tool: best[tool] for tool in tools[: int(level.removeprefix("right-"))]}


def nameable(registry: Sequence[ModelConfig]) -> list[ModelConfig]:
    """The registry, each model with a skill of its own, by which a table can name it."""
    return [model.model_copy(update={"skills": {**model.skills, _own_skill(model.name): 1.0}}) for model in registry]


def _own_skill(model: str) -> str:
    return f"being-{model}"
