"""Plays changed worlds: one job per (environment, change, policy, seed), each kept in a file, so a run can be resumed.

Tables of who knows a changed world are fitted first, since several jobs need the same one.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from benchmarks.arena import cache
from benchmarks.arena.changes.contestants import Faulty, make, tell
from benchmarks.arena.changes.worlds import CHANGES, Change
from benchmarks.arena.environments import Environment, by_name
from benchmarks.arena.policies.rules import HandTable
from benchmarks.arena.tables import hand_table
from sojourn_server.demo.play import EpisodeResult

KNOWING = "knowing"
"""The best hand table over what is visible, fitted on tuning tasks of the changed world; plays that world alone."""


class Job(NamedTuple):
    """One policy over the tasks of one seed: so many episodes before a change of the roster, so many after it."""

    environment: str
    change: str
    policy: str
    seed: int
    before: int
    after: int

    @property
    def reference(self) -> Job:
        """Who knows the changed world: the table; where outcomes meet a fault, the same policy without it.

        Where callers ask for another cost weight, the same policy that met it before its first episode.
        """
        change = CHANGES[self.change]
        if change.is_asked:
            return self._replace(before=0, after=self.before + self.after)
        return self._replace(change="none") if change.fault else self._replace(policy=KNOWING)

    @property
    def path(self) -> Path:
        """Where its results are kept."""
        name = f"{self.policy}-{self.seed}-{self.before}-{self.after}.json"
        return cache.folder() / self.environment / "changes" / self.change / name


class Episode(NamedTuple):
    """An episode as it went; `watched_share` is the share of its turns that the watched model served."""

    score: float
    usd: float
    watched_share: float
    cost_weight: float

    @property
    def utility(self) -> float:
        """score - cost_weight * USD."""
        return self.score - self.cost_weight * self.usd


def play(job: Job) -> None:
    """Plays a job and writes its file, whole or not at all."""
    before, change = by_name(job.environment), CHANGES[job.change]
    after = change.after(before)
    watched = change.watched(after.models) if change.watched else None
    results = _knowing(job, after) if job.policy == KNOWING else _changing(job, change, before, after)
    rows = [[r.score, r.usd, r.served.count(watched) / r.turns if watched else 0.0] for r in results]
    cache.write(job.path, rows)


def _knowing(job: Job, after: Environment) -> list[EpisodeResult]:
    table = HandTable(hand_table(after), after.strongest)
    return [after.play(task, table) for task in after.tasks(job.before + job.after, seed=job.seed)[job.before :]]


def _changing(job: Job, change: Change, before: Environment, after: Environment) -> list[EpisodeResult]:
    inner = make(job.policy, before, after, seed=job.seed)
    chooser = Faulty(inner, change.fault) if change.fault else inner
    total = job.before + job.after
    results = [before.play(task, chooser) for task in before.tasks(job.before, seed=job.seed)]
    tell(job.policy, inner, before, after, cost_weight=change.cost_weight)
    return results + [after.play(task, chooser) for task in after.tasks(total, seed=job.seed)[job.before :]]


def load(job: Job) -> list[Episode]:
    """The episodes of a job that was played, in order. Raises FileNotFoundError."""
    weight = CHANGES[job.change].cost_weight
    rows = json.loads(job.path.read_text())
    return [Episode(score, usd, watched_share, weight) for score, usd, watched_share in rows]


def fit(environment: str, change: str) -> None:
    """Fits the table of who knows a changed world, unless that was done."""
    hand_table(CHANGES[change].after(by_name(environment)))


def play_all(
    jobs: Iterable[Job], *, processes: int, played: Callable[[int, int], None] = lambda done, of: None
) -> None:
    """Plays what is not there yet, references too. `played(done, of)` is called after each job."""
    wanted = list(dict.fromkeys(job for asked in jobs for job in (asked, asked.reference) if not job.path.exists()))
    tables = dict.fromkeys((job.environment, job.change) for job in wanted if job.policy == KNOWING)
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each process is one thread's worth of work
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for fitting in [pool.submit(fit, *table) for table in tables]:
            fitting.result()
        for done, future in enumerate(as_completed([pool.submit(play, job) for job in wanted]), start=1):
            future.result()
            played(done, len(wanted))
