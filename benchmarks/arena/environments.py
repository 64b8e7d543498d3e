"""The arena's environments: a live world, its scripted models, how long prompts are, and what a table may be keyed by.

Worlds and experts are third-party; the models' weaknesses, replies and prompts are ours (see `demo.models`). Seeds of
the two sides never meet: what is chosen (settings, tables, training runs) is chosen on TUNING_SEEDS, what is reported
is played on HELD_OUT_SEEDS, in TextWorld and ScienceWorld on other games too. The split was fixed before anything was
tuned.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.util import find_spec
from shutil import which
from types import MappingProxyType
from typing import Any

from benchmarks.arena import babyai
from sojourn_server.config import ModelConfig
from sojourn_server.demo import expert, models, play
from sojourn_server.demo.babyai import TOOL_TYPES
from sojourn_server.demo.play import Chooser, EpisodeResult, Task
from sojourn_server.demo.service import TABLE, registry_entry
from sojourn_server.demo.tokens import PROMPTS, Prices, PromptShape

TUNING_SEEDS = tuple(range(1, 11))
HELD_OUT_SEEDS = tuple(range(101, 137))


@dataclass(frozen=True)
class Environment:
    """One column of the arena. `table` is the article's heuristic for it: tool type to model class.

    `prompts` says in a word how long prompts are, `shape` exactly.
    """

    name: str
    world: str
    prompts: str
    shape: PromptShape
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
        return play.play(task, chooser, self.shape, reveal=reveal)


def _babyai(prompts: str) -> Environment:
    return Environment(
        name=f"babyai-{prompts}",
        world="BabyAI (minigrid), third-party, with its expert bot",
        prompts=prompts,
        shape=PROMPTS[prompts],
        models=models.MODELS,
        strongest=models.STRONGEST,
        cheapest="scripted-small-f",
        table=MappingProxyType(TABLE),
        task_types=tuple(level.name for level in babyai.LEVELS),
        tool_types=TOOL_TYPES,
        phases=expert.PHASES,
        make_tasks=lambda count, seed: play.tasks(count, seed=seed, levels=babyai.LEVELS),
    )


_SCALED = re.compile(r"babyai-x(?P<times>[\d.]+)(-read(?P<read>[\d.]+))?")


def _scaled(name: str) -> Environment:
    """BabyAI with prompts so many times the small ones, and caches that read at a multiple of the input price.

    "babyai-x4-read0.5": four times, half the price; "babyai-x4" leaves cache terms as they are. Raises KeyError.
    """
    asked = _SCALED.fullmatch(name)
    if asked is None:
        raise KeyError(name)
    times, read = float(asked["times"]), asked["read"]
    small, roster = PROMPTS["small"], models.MODELS if read is None else _reading_at(float(read))
    shape = PromptShape(*(round(times * t) for t in (small.base_tokens, small.growth_tokens, small.limit_tokens)))
    levels = [replace(level, models={model.name: model for model in roster}) for level in babyai.LEVELS]
    return replace(
        _babyai("small"),
        name=name,
        prompts=f"{times:g} times the small",
        shape=shape,
        models=roster,
        make_tasks=lambda count, seed: play.tasks(count, seed=seed, levels=levels),
    )


def _reading_at(multiplier: float) -> tuple[models.ScriptedModel, ...]:
    """The roster, if every prompt cache read at this multiple of the input price."""
    return tuple(
        replace(model, prices=replace(model.prices, read_multiplier=multiplier)) if model.prices.ttl_s else model
        for model in models.MODELS
    )


def _textworld(prompts: str) -> Environment:
    from benchmarks.arena import textworld, textworld_models  # optional, and heavy to import

    world = "TextWorld's generated games, third-party, with their winning plans as expert"
    return _two_sided(f"textworld-{prompts}", world, prompts, source=textworld, roster=textworld_models)


def _scienceworld(prompts: str) -> Environment:
    from benchmarks.arena import scienceworld, scienceworld_models  # optional, and starts a Java program

    world = "ScienceWorld, third-party, along its gold paths, which slips here never spoil"
    return _two_sided(f"scienceworld-{prompts}", world, prompts, source=scienceworld, roster=scienceworld_models)


def _two_sided(name: str, world: str, prompts: str, *, source: Any, roster: Any) -> Environment:
    """A world whose held-out seeds play games of their own; modules `source` (levels, table) and `roster` (models)."""

    def make_tasks(count: int, seed: int) -> list[Task]:
        levels = source.HELD_OUT if seed in HELD_OUT_SEEDS else source.LEVELS
        return play.tasks(count, seed=seed, levels=levels)

    return Environment(
        name=name,
        world=world,
        prompts=prompts,
        shape=PROMPTS[prompts],
        models=roster.MODELS,
        strongest=models.STRONGEST,
        cheapest="scripted-small-f",
        table=MappingProxyType(source.TABLE),
        task_types=tuple(level.name for level in source.LEVELS),
        tool_types=source.TOOL_TYPES,
        phases=roster.PHASES,
        make_tasks=make_tasks,
    )


HAS_SCIENCEWORLD = find_spec("scienceworld") is not None and which("java") is not None
"""ScienceWorld needs Java, so it is installed by hand only: `uv sync --all-extras --group scienceworld`."""
HAS_TEXTWORLD = find_spec("textworld") is not None
"""TextWorld brings a GPL dependency, so it is installed by hand only: `uv sync --all-extras --group textworld`."""


@cache
def environments() -> Sequence[Environment]:
    """All that can be played here."""
    worlds = [_babyai, *[_textworld] * HAS_TEXTWORLD, *[_scienceworld] * HAS_SCIENCEWORLD]
    return [world(prompts) for world in worlds for prompts in PROMPTS]


@cache
def by_name(name: str) -> Environment:
    """An environment, scaled ones included. Raises KeyError."""
    known = {environment.name: environment for environment in environments()}
    return known[name] if name in known else _scaled(name)
