"""The demo's contest: the router's two policies and two baselines play the same tasks.

The routed episodes run here, one after the other, so that each learns from all before it. The baselines learn
nothing and ask nobody; they play in a process of their own meanwhile.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

from sojourn import Client, FallbackTable
from sojourn_server.config import Config
from sojourn_server.demo.choosers import NeverSwitch, UniformRandom
from sojourn_server.demo.compare import Contestant, Row, compare, rows, summary
from sojourn_server.demo.models import STRONGEST
from sojourn_server.demo.play import EpisodeResult, tasks
from sojourn_server.demo.routed import SojournChooser, Switch
from sojourn_server.demo.service import HEURISTIC, LEARNED, demo_config
from sojourn_server.demo.tokens import PROMPTS

BLOCKS = 4
TASKS_PER_JOB = 5  # of the baselines; small enough for a lively progress bar
DECIDE_DEADLINE_MS = 250.0  # agent, router and learner share one interpreter here; the default is 50

BASELINES = (
    Contestant("never-switch, strongest", NeverSwitch(STRONGEST)),
    Contestant("uniform random", UniformRandom()),
)
CONTESTANTS = 2 + len(BASELINES)

Results = dict[str, list[EpisodeResult]]


class RunningRouter(Protocol):
    """A router that serves at an address."""

    @property
    def address(self) -> str:
        """ "host:port"."""


@dataclass(frozen=True)
class Plan:
    """What to play. `prompts` is a key of `tokens.PROMPTS`; `cost_weight` is the score that one USD is worth."""

    episodes: int
    seed: int
    prompts: str
    cost_weight: float
    directory: Path


@dataclass(frozen=True)
class Outcome:
    """What came of a contest: rows block by block, rows over all, and what the client had to decide by itself."""

    blocks: Sequence[Row]
    totals: Sequence[Row]
    telling_switch: Switch | None
    fallbacks: int


def hold(
    plan: Plan,
    open_router: Callable[[Config], AbstractContextManager[RunningRouter]],
    *,
    played: Callable[[int], None] = lambda count: None,
) -> Outcome:
    """Plays the contest with a router that `open_router` starts; `played` is told of episodes as they end."""
    config = demo_config(plan.directory, cost_weight=plan.cost_weight, seed=plan.seed)
    fallback = FallbackTable({"*": STRONGEST})
    with _Baselines(plan, played) as baselines, open_router(config) as router:
        with Client(router.address, fallback=fallback, decide_deadline_ms=DECIDE_DEADLINE_MS) as client:
            learned = SojournChooser(client, policy=LEARNED, run=f"demo-{plan.seed}")
            results = _play_routed(plan, client, learned, played)
        results |= baselines.results()
    return Outcome(
        blocks=rows(results, block_episodes=-(-plan.episodes // BLOCKS), cost_weight=plan.cost_weight),
        totals=[
            summary(name, episodes, first_episode=0, cost_weight=plan.cost_weight) for name, episodes in results.items()
        ],
        telling_switch=learned.telling_switch,
        fallbacks=sum(client.counters.fallbacks.values()),
    )


def _play_routed(plan: Plan, client: Client, learned: SojournChooser, played: Callable[[int], None]) -> Results:
    table = SojournChooser(client, policy=HEURISTIC, run=f"demo-{plan.seed}")
    contestants = [Contestant("Sojourn", learned), Contestant("heuristic", table)]
    schedule = tasks(plan.episodes, seed=plan.seed)
    return compare(contestants, schedule, PROMPTS[plan.prompts], played=lambda: played(1))


class _Baselines:
    """The baselines' episodes, played in another process from entry on."""

    def __init__(self, plan: Plan, played: Callable[[int], None]) -> None:
        self._pool = ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn"))
        schedule = tasks(plan.episodes, seed=plan.seed)
        jobs = [schedule[i : i + TASKS_PER_JOB] for i in range(0, len(schedule), TASKS_PER_JOB)]
        self._futures = [self._pool.submit(compare, BASELINES, job, PROMPTS[plan.prompts]) for job in jobs]
        for job, future in zip(jobs, self._futures, strict=True):
            future.add_done_callback(partial(_tell, played, len(job) * len(BASELINES)))

    def results(self) -> Results:
        """All their episodes, in the order of tasks."""
        parts = [future.result() for future in self._futures]
        return {c.name: [episode for part in parts for episode in part[c.name]] for c in BASELINES}

    def __enter__(self) -> _Baselines:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)


def _tell(played: Callable[[int], None], episodes: int, _: Future[Results]) -> None:
    played(episodes)
