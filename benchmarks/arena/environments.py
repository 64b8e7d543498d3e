"""The arena's environments: a live world, its scripted models, how long prompts are, and what a table may be keyed by.

Worlds and experts are third-party; the models' weaknesses, replies and prompts are ours (see `demo.models`). Seeds of
the two sides never meet: what is chosen (settings, tables, training runs) is chosen on TUNING_SEEDS, what is reported
is played on HELD_OUT_SEEDS, in TextWorld on other games too. The split was fixed before anything was tuned.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from types import MappingProxyType

from benchmarks.arena import babyai
from sojourn_server.config import ModelConfig
from sojourn_server.demo import expert, models, play
from sojourn_server.demo.babyai import TOOL_TYPES
from sojourn_server.demo.play import Chooser, EpisodeResult, Task
from sojourn_server.demo.service import TABLE, registry_entry
from sojourn_server.demo.tokens import PROMPTS, Prices

TUNING_SEEDS = tuple(range(1, 11))
HELD_OUT_SEEDS = tuple(range(101, 137))


@dataclass(frozen=True)
class Environment:
    """One column of the arena. `table` is the article's heuristic for it: tool type to model class."""

    name: str
    world: str
    prompts: str
    models: tuple[models.ScriptedModel, ...]
    strongest: str
    cheapest: str
    table: Mapping[str, str]
    task_types: tuple[str, ...]
    tool_types: tuple[str, ...]
    phases: tuple[str, ...]
    make_tasks: Callable[[int, int], list[Task]]

    @property
    def model_names(self) -> tuple[str, ...]:
        """Names of the roster, in its order."""
        return tuple(model.name for model in self.models)

    @property
    def prices(self) -> dict[str, Prices]:
        """List prices by model."""
        return {model.name: model.prices for model in self.models}

    @property
    def registry(self) -> list[ModelConfig]:
        """What a router may know of the models."""
        return [registry_entry(model) for model in self.models]

    def tasks(self, count: int, *, seed: int) -> list[Task]:
        """The first `count` tasks of a seed."""
        return self.make_tasks(count, seed)

    def play(self, task: Task, chooser: Chooser, *, reveal: Callable[[str], None] | None = None) -> EpisodeResult:
        """Plays a task live."""
        return play.play(task, chooser, PROMPTS[self.prompts], reveal=reveal)


def _babyai(prompts: str) -> Environment:
    return Environment(
        name=f"babyai-{prompts}",
        world="BabyAI (minigrid), third-party, with its expert bot",
        prompts=prompts,
        models=models.MODELS,
        strongest=models.STRONGEST,
        cheapest="scripted-small-f",
        table=MappingProxyType(TABLE),
        task_types=tuple(level.name for level in babyai.LEVELS),
        tool_types=TOOL_TYPES,
        phases=expert.PHASES,
        make_tasks=lambda count, seed: play.tasks(count, seed=seed, levels=babyai.LEVELS),
    )


def _textworld(prompts: str) -> Environment:
    from benchmarks.arena import textworld, textworld_models  # optional, and heavy to import

    def make_tasks(count: int, seed: int) -> list[Task]:
        levels = textworld.HELD_OUT if seed in HELD_OUT_SEEDS else textworld.LEVELS
        return play.tasks(count, seed=seed, levels=levels)

    return Environment(
        name=f"textworld-{prompts}",
        world="TextWorld's generated games, third-party, with their winning plans as expert",
        prompts=prompts,
        models=textworld_models.MODELS,
        strongest=models.STRONGEST,
        cheapest="scripted-small-f",
        table=MappingProxyType(textworld.TABLE),
        task_types=tuple(level.name for level in textworld.LEVELS),
        tool_types=textworld.TOOL_TYPES,
        phases=textworld_models.PHASES,
        make_tasks=make_tasks,
    )


HAS_TEXTWORLD = find_spec("textworld") is not None
"""TextWorld brings a GPL dependency, so it is installed by hand only: `uv sync --all-extras --group textworld`."""


@cache
def environments() -> Sequence[Environment]:
    """All that can be played here."""
    worlds = [_babyai, _textworld] if HAS_TEXTWORLD else [_babyai]
    return [world(prompts) for world in worlds for prompts in PROMPTS]


def by_name(name: str) -> Environment:
    """An environment. Raises KeyError."""
    return {environment.name: environment for environment in environments()}[name]
