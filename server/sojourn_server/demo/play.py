"""One live episode: a chooser names a model at each turn, the scripted model acts, the game answers.

What a chooser is shown is a `TurnView`: what a caller would know before the turn. The expert's sub-goal goes to the
scripted model alone. An episode is solved (score 1) or runs into its turn cap (score 0).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from itertools import pairwise
from typing import Literal, Protocol

from sojourn_server.demo.babyai import LEVELS
from sojourn_server.demo.models import Advice, ScriptedModel, act, luck
from sojourn_server.demo.tokens import PromptShape, TurnSpend, WarmCaches, spend
from sojourn_server.demo.world import Effect, Level

CAP_FACTOR = 1.6
CAP_SLACK_TURNS = 5
SECONDS_PER_TURN = 2.0  # by the caller's clock: no cache expires within an episode of less than 150 turns

Severity = Literal["NONE", "LOW", "MEDIUM"]


@dataclass(frozen=True)
class Task:
    """One task of a run. `index` and `seed` key the luck; `level_seed` names the layout."""

    index: int
    seed: int
    level: Level
    level_seed: int


def tasks(count: int, *, seed: int, levels: Sequence[Level] = LEVELS) -> list[Task]:
    """`count` tasks over all levels; the first n tasks of a seed are the same whatever `count` is."""
    return [_task(index, seed, levels) for index in range(count)]


def _task(index: int, seed: int, levels: Sequence[Level]) -> Task:
    digest = blake2b(f"task {seed} {index}".encode(), digest_size=8).digest()
    level = levels[int.from_bytes(digest[:4], "big") % len(levels)]
    return Task(index, seed, level, int.from_bytes(digest[4:], "big") >> 1)


@cache
def turn_cap(level: Level, level_seed: int) -> int:
    """Turns after which a task has failed: the expert's own, twice and a few more."""
    return math.ceil(CAP_FACTOR * expert_turns(level, level_seed)) + CAP_SLACK_TURNS


def expert_turns(level: Level, level_seed: int) -> int:
    """Turns that the expert needs for a task."""
    game, turns = level.open(level_seed), 1
    while not game.step(game.advise().action).is_solved:
        turns += 1
    return turns


@dataclass(frozen=True)
class TurnView:
    """What is known before a turn's choice. `features` are counts; `prompt_tokens` is the prompt about to be sent."""

    task_type: str
    turn_index: int
    tool_type: str
    prompt_tokens: int
    error_count: int
    last_error: Severity
    features: Mapping[str, float]


@dataclass(frozen=True)
class TurnFacts:
    """What a caller knows after a turn."""

    model: str
    spend: TurnSpend
    error: Severity


class Chooser(Protocol):
    """Names the model of each turn, one episode after the other."""

    def begin(self, task: Task) -> None:
        """An episode begins."""

    def choose(self, view: TurnView) -> str:
        """The name of the model that serves this turn."""

    def observe(self, facts: TurnFacts) -> None:
        """The turn is over."""

    def end(self, score: float, usd: float) -> None:
        """The episode is over: its score, 0 to 1, and its money."""


@dataclass(frozen=True)
class EpisodeResult:
    """An episode as it went. `served` and `erred` have one entry a turn; money in USD."""

    task: Task
    score: float
    served: tuple[str, ...]
    tool_types: tuple[str, ...]
    erred: tuple[bool, ...]
    usd: float
    forfeited_usd: float

    @property
    def turns(self) -> int:
        """Turns played."""
        return len(self.served)

    @property
    def switches(self) -> int:
        """Turns whose model is not that of the turn before."""
        return sum(before != after for before, after in pairwise(self.served))

    @property
    def turns_after_error(self) -> int:
        """Turns that follow a turn with an error."""
        return sum(self.erred[:-1])

    @property
    def stays_after_error(self) -> int:
        """How many of those kept the model."""
        steps = zip(self.erred, pairwise(self.served), strict=False)
        return sum(erred and before == after for erred, (before, after) in steps)


class _Episode:
    """An episode under way."""

    def __init__(self, task: Task, prompts: PromptShape) -> None:
        self.cap = turn_cap(task.level, task.level_seed)  # first: it plays the task on the level's environment
        self.task = task
        self.prompts = prompts
        self.game = task.level.open(task.level_seed)
        self.caches = WarmCaches()
        self.facts: list[TurnFacts] = []
        self.tool_types: list[str] = []
        self.is_solved = False

    def view(self) -> TurnView:
        situation = self.game.situation()
        errors = [facts.error for facts in self.facts if facts.error != "NONE"]
        return TurnView(
            task_type=self.task.level.name,
            turn_index=len(self.facts),
            tool_type=situation.tool_type,
            prompt_tokens=self.prompts.prompt_tokens(len(self.facts)),
            error_count=len(errors),
            last_error=errors[-1] if errors else "NONE",
            features=situation.features,
        )

    def serve(self, model: ScriptedModel, advice: Advice) -> TurnFacts:
        turn = len(self.facts)
        fate = luck(seed=self.task.seed, task=self.task.index, turn=turn, model=model.name)
        effect = self.game.step(act(model, advice, fate))
        self.is_solved = effect.is_solved
        self.facts.append(TurnFacts(model.name, self._spend(model, turn), _severity(effect)))
        return self.facts[-1]

    def _spend(self, model: ScriptedModel, turn: int) -> TurnSpend:
        prompt_tokens, now_s = self.prompts.prompt_tokens(turn), turn * SECONDS_PER_TURN
        incumbent = self.facts[-1].model if self.facts else model.name
        spent = spend(
            model.prices,
            prompt_tokens=prompt_tokens,
            output_tokens=model.output_tokens,
            warm_tokens=self.caches.warm_tokens(model.name, now_s),
            incumbent_warm_tokens=self.caches.warm_tokens(incumbent, now_s),
        )
        self.caches.served(model.name, model.prices, prompt_tokens=prompt_tokens, now_s=now_s)
        return spent

    def result(self) -> EpisodeResult:
        return EpisodeResult(
            task=self.task,
            score=float(self.is_solved),
            served=tuple(facts.model for facts in self.facts),
            tool_types=tuple(self.tool_types),
            erred=tuple(facts.error != "NONE" for facts in self.facts),
            usd=sum(facts.spend.usd for facts in self.facts),
            forfeited_usd=sum(facts.spend.forfeited_usd for facts in self.facts),
        )


def play(
    task: Task, chooser: Chooser, prompts: PromptShape, *, reveal: Callable[[str], None] | None = None
) -> EpisodeResult:
    """Plays a task. `reveal` is told the hidden phase before each choice: for upper bounds, never for a router."""
    episode = _Episode(task, prompts)
    chooser.begin(task)
    while not episode.is_solved and len(episode.facts) < episode.cap:
        advice = episode.game.advise()
        if reveal is not None:
            reveal(advice.phase)
        view = episode.view()
        episode.tool_types.append(view.tool_type)
        chooser.observe(episode.serve(task.level.models[chooser.choose(view)], advice))
    result = episode.result()
    chooser.end(result.score, result.usd)
    return result


def _severity(effect: Effect) -> Severity:
    """A refused move costs the turn; a refused tool call would be an error message in the prompt."""
    if not effect.is_refused:
        return "NONE"
    return "MEDIUM" if effect.is_tool else "LOW"
