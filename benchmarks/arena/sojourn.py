"""Sojourn as a contestant: the server's own router, journal and fold, in process and on virtual time.

No wire, no threads and no snapshots: what a snapshot would hand to the deciders is read from the fold itself, after
every episode. Everything else is the product's code, so the decisions are those of a running service that publishes
after each outcome; `tests/arena` plays the same tasks over gRPC and compares.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any

from sojourn.messages import TurnInputs, decide_request, outcome_request, turn_facts
from sojourn.v1 import snapshot_pb2, types_pb2
from sojourn_server.config import (
    ChoiceSettings,
    Config,
    HeuristicSettings,
    LessonSettings,
    ModelConfig,
    ModeName,
    PolicyConfig,
    PriorSettings,
)
from sojourn_server.demo.play import Task, TurnFacts, TurnView
from sojourn_server.episodes import Episodes
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.router import DEFAULT_POLICY, Call, Router
from sojourn_server.world import load_world

TURN_MS = 2_000  # as in demo.play, by which caches expire
START_MS = 1_700_000_000_000


class _Live:
    """The fold as deciders see it: always the newest version."""

    def __init__(self, fold: Fold) -> None:
        self._fold = fold

    @property
    def version(self) -> int:
        return self._fold.position

    @property
    def statistics(self) -> snapshot_pb2.Statistics:
        return self._fold.counts

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        return self._fold.bandit.predict(shared, actions)


class Sojourn:
    """A chooser that decides and learns by the product's code."""

    def __init__(
        self,
        models: Sequence[ModelConfig],
        policy: PolicyConfig,
        *,
        seed: int,
        make_router: Callable[..., Router] = Router,
    ) -> None:
        """`models` is the registry; `policy` the settings, cohorts and mode included; `seed` keys the draws."""
        journal = MemoryJournal()
        config = Config(models=tuple(models), policies={DEFAULT_POLICY: policy})
        self._now_ms = START_MS
        world = load_world(journal, config, self._now_ms)
        self.router = make_router(journal, Episodes(journal, capacity=64), world=world, secret=b"arena %d" % seed)
        self.fold = Fold.prior(DEFAULT_POLICY, world)
        self.journal = journal
        self.cost_weight: float | None = None  # that callers ask for, score per USD; None = the policy's own
        self._learns = policy.mode != "HEURISTIC"
        self._task_type = ""
        self._facts: types_pb2.TurnFacts | None = None
        self.router.use(DEFAULT_POLICY, _Live(self.fold))

    def begin(self, task: Task) -> None:
        """A fresh episode; the seed of the task keeps ids of several runs apart."""
        self._episode_id, self._turn_index = f"{task.seed}-{task.index}", 0
        self._task_type, self._facts = task.level.name, None

    def choose(self, view: TurnView) -> str:
        """What the router decides."""
        request = decide_request(self.inputs(view), episode_id=self._episode_id, turn_index=view.turn_index)
        request.context.task_type = self._task_type
        if self._facts is not None:
            request.previous_turn.CopyFrom(self._facts)
        return self.router.decide(request, self._call(view.turn_index)).model

    def inputs(self, view: TurnView) -> TurnInputs:
        """What the caller says before a turn."""
        said: TurnInputs = {
            "tool_type": view.tool_type,
            "error_count": view.error_count,
            "last_error": view.last_error,
            "prompt_tokens": view.prompt_tokens,
            "features": view.features,
        }
        return said if self.cost_weight is None else {**said, "cost_weight": self.cost_weight}

    def observe(self, facts: TurnFacts) -> None:
        """Rides on the next decision, or on the outcome."""
        spend = facts.spend
        self._facts = turn_facts(
            {
                "input_tokens": spend.input_tokens,
                "cached_read_tokens": spend.cached_read_tokens,
                "cache_write_tokens": spend.cache_write_tokens,
                "output_tokens": spend.output_tokens,
                "error": facts.error,
            }
        )
        self._turn_index += 1

    def end(self, score: float, usd: float) -> None:
        """Reports the outcome and learns at once."""
        outcome = outcome_request(None, {"score": score, "cost_usd": usd}, episode_id=self._episode_id)
        if self._facts is not None:
            outcome.last_turn.CopyFrom(self._facts)
        self.router.report_outcome(outcome, self._call(self._turn_index))
        self._now_ms += (self._turn_index + 1) * TURN_MS
        if self._learns:
            self.fold.catch_up(self.journal, self.journal.position())

    def _call(self, turn_index: int) -> Call:
        return Call(self._now_ms + turn_index * TURN_MS)


def settings(
    table: dict[str, str], strongest: str, *, cost_weight: float, mode: ModeName = "LIVE", warm: bool = True
) -> PolicyConfig:
    """The product's defaults without cohorts (the arena plays its controls itself); `warm` = taught the table."""
    heuristic = HeuristicSettings(table=table, tool_patterns={})
    choice = ChoiceSettings(cost_weight=cost_weight, reference_model=strongest, control_share=0.0, heuristic=heuristic)
    lesson = LessonSettings()
    if not warm:
        lesson = lesson.model_copy(update={"prior": PriorSettings(events=0)})
    return PolicyConfig(choice=choice, lesson=lesson, mode=mode, live_share=1.0)


def changed(policy: PolicyConfig, query: str) -> PolicyConfig:
    """A policy with some settings changed: "floor=0&lesson.turns_cap=50&lesson.prior.events=500".

    Keys are choice settings, or lesson settings behind "lesson."; values are JSON where they can be read as such.
    """
    raw = policy.model_dump()
    for change in filter(None, query.split("&")):
        key, _, value = change.partition("=")
        *path, last = (key if key.startswith("lesson.") else f"choice.{key}").split(".")
        target = raw
        for step in path:
            target = target[step]
        target[last] = _read(value)
    return PolicyConfig.model_validate(raw)


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text
