"""Plays the arena: one job per (environment, policy, seed), each kept in a file of its own, so a run can be resumed.

A file is named by what was played and by a digest of all code that decides how it goes; a job whose file exists is
not played again. Contestants that are made from another's episodes wait for those.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple, TypeVar

from benchmarks.arena import cache
from benchmarks.arena.contestants import entry
from benchmarks.arena.environments import HELD_OUT_SEEDS, by_name
from sojourn_server.demo.play import Chooser, EpisodeResult, TurnView

T = TypeVar("T")
DONOR_OFFSET = 1  # a donor is played on the next held-out seed


class Job(NamedTuple):
    """One policy over the tasks of one seed."""

    environment: str
    policy: str
    seed: int
    episodes: int

    @property
    def donor(self) -> Job | None:
        """The job whose episodes the policy is made from."""
        source = entry(by_name(self.environment), self.policy).donor
        if source is None:
            return None
        seeds = HELD_OUT_SEEDS if self.seed in HELD_OUT_SEEDS else (self.seed,)
        other = seeds[(seeds.index(self.seed) + DONOR_OFFSET) % len(seeds)]
        return Job(self.environment, source, other, self.episodes)

    @property
    def path(self) -> Path:
        """Where its results are kept."""
        name = f"{self.policy.replace(':', '=')}-{self.seed}-{self.episodes}.json"
        return cache.folder() / self.environment / name


@dataclass(frozen=True)
class Played:
    """A job's episodes in order, and the seconds that its decisions took."""

    job: Job
    episodes: Sequence[EpisodeResult]
    decide_seconds: float


class _Timed:
    """A chooser whose decisions are timed."""

    def __init__(self, chooser: Chooser) -> None:
        self._chooser = chooser
        self.seconds = 0.0
        self.begin, self.observe, self.end = chooser.begin, chooser.observe, chooser.end

    def choose(self, view: TurnView) -> str:
        started = time.perf_counter()
        model = self._chooser.choose(view)
        self.seconds += time.perf_counter() - started
        return model


def play(job: Job) -> None:
    """Plays a job and writes its file, whole or not at all."""
    environment = by_name(job.environment)
    donor = job.donor
    donors = load(donor).episodes if donor else ()
    chooser = entry(environment, job.policy).make(environment, job.seed, donors)
    timed = _Timed(chooser)
    reveal: Callable[[str], None] | None = getattr(chooser, "reveal", None)
    episodes = [environment.play(task, timed, reveal=reveal) for task in environment.tasks(job.episodes, seed=job.seed)]
    rows = [
        [e.score, e.usd, e.forfeited_usd, _indices(e.served, environment.model_names),
         _indices(e.tool_types, environment.tool_types), "".join("01"[erred] for erred in e.erred)]
        for e in episodes
    ]  # fmt: skip
    cache.write(job.path, {"decide_seconds": timed.seconds, "episodes": rows})


def _indices(names: Sequence[str], known: Sequence[str]) -> list[int]:
    return [known.index(name) for name in names]


def load(job: Job) -> Played:
    """The results of a job that was played. Raises FileNotFoundError."""
    environment = by_name(job.environment)
    data = json.loads(job.path.read_text())
    tasks = environment.tasks(job.episodes, seed=job.seed)
    episodes = [
        EpisodeResult(
            task=task,
            score=score,
            served=tuple(environment.model_names[i] for i in served),
            tool_types=tuple(environment.tool_types[i] for i in tools),
            erred=tuple(mark == "1" for mark in erred),
            usd=usd,
            forfeited_usd=forfeited,
        )
        for task, (score, usd, forfeited, served, tools, erred) in zip(tasks, data["episodes"], strict=True)
    ]
    return Played(job, episodes, data["decide_seconds"])


def play_all(
    jobs: Iterable[Job], *, processes: int, played: Callable[[int, int], None] = lambda done, of: None
) -> None:
    """Plays what is not there yet; donors first. `played(done, of)` is called after each job."""
    wanted = list(dict.fromkeys(jobs))
    first = list(dict.fromkeys(job.donor or job for job in wanted))
    waves = [[j for j in wave if not j.path.exists()] for wave in (first, [j for j in wanted if j not in first])]
    in_waves(play, waves, processes=processes, played=played)


def in_waves(
    play_one: Callable[[T], object], waves: Sequence[Sequence[T]], *, processes: int, played: Callable[[int, int], None]
) -> None:
    """Plays each wave's jobs side by side, one wave after the other. `played(done, of)` is called after each job."""
    total, done = sum(map(len, waves)), 0
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # each process is one thread's worth of work
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        for wave in waves:
            futures: list[Future[object]] = [pool.submit(play_one, job) for job in wave]
            for future in as_completed(futures):
                future.result()
                done += 1
                played(done, total)
