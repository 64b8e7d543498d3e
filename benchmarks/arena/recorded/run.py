"""Plays tables: one job per (table, cost weight, policy, seed), kept under a digest of code and data, so runs resume.

A seed is an order: one pass over a table, each item once. With `half`, the first half of the order is not played but
is there to be imported, and all are judged on the second half, whether or not they have learned from the first.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.arena.cache import folder, remembered
from benchmarks.arena.recorded.contestants import DONOR, IMPORT, Case, make
from benchmarks.arena.recorded.imports import import_tables
from benchmarks.arena.recorded.prompts import FEATURES, prompt_table
from benchmarks.arena.recorded.tables import IntArray, Item, Table, order
from benchmarks.arena.run import in_waves

MATCHED = "random-matched"
FROM_IMPORT = ("best-single",)  # made from the import alone


class Source(NamedTuple):
    """Where a table comes from: the folder of a recording and its place there, or features of the prompts."""

    name: str
    place: int = 0

    def table(self) -> Table:
        """The table; read once per process."""
        return _table(self)


@cache
def _table(source: Source) -> Table:
    for features in FEATURES:
        if source.name == features:
            return prompt_table(features)
    return import_tables(Path(source.name))[source.place]


class Job(NamedTuple):
    """One policy over one pass. `other_seed`: whose donor's shares "random-matched" has."""

    source: Source
    half: bool
    cost_weight: float
    policy: str
    seed: int
    other_seed: int

    @property
    def donor(self) -> Job | None:
        """The job whose choices the policy is made from."""
        if self.policy != MATCHED:
            return None
        return self._replace(policy=DONOR, seed=self.other_seed, other_seed=self.seed)

    @property
    def name(self) -> str:
        """Where its choices are kept."""
        digest = self.source.table().digest
        policy = self.policy.replace(":", "=").replace("/", "-")
        return f"recorded/{digest}/{'half' if self.half else 'whole'}-{self.cost_weight:g}/{policy}-{self.seed}"


def played(job: Job) -> IntArray:
    """Places of the played items in their order."""
    count = len(job.source.table().items)
    return order(count, seed=job.seed)[count // 2 if job.half else 0 :]


def choices(job: Job) -> IntArray:
    """Places of the chosen models, item by item; played once, then remembered."""
    return np.array(remembered(job.name, lambda: play(job)), dtype=np.intp)


def play(job: Job) -> list[int]:
    """Plays a job: places of the chosen models in the order of play."""
    table = job.source.table()
    contestant = make(job.policy, Case(table, job.cost_weight, job.seed, _imported(job, table), _shares(job)))
    chosen = []
    for item in (table.items[place] for place in played(job)):
        model = contestant.choose(item)
        contestant.learn(item, model, item.outcomes[model])
        chosen.append(table.model_names.index(model))
    return chosen


def _imported(job: Job, table: Table) -> Sequence[Item]:
    if not job.half or not (job.policy.endswith(IMPORT) or job.policy in FROM_IMPORT):
        return ()
    count = len(table.items)
    return [table.items[place] for place in order(count, seed=job.seed)[: count // 2]]


def _shares(job: Job) -> dict[str, float]:
    if job.donor is None:
        return {}
    names, chosen = job.source.table().model_names, choices(job.donor).tolist()
    counts = Counter(chosen)
    return {name: counts[place] / len(chosen) for place, name in enumerate(names)}


def play_all(
    jobs: Sequence[Job], *, processes: int, played: Callable[[int, int], None] = lambda done, of: None
) -> None:
    """Plays what is not there yet, donors first. `played(done, of)` is called after each job."""
    donors = [job.donor for job in jobs if job.donor is not None]
    waves = [list(dict.fromkeys([*donors, *(j for j in jobs if j.donor is None)])), [j for j in jobs if j.donor]]
    waves = [[job for job in wave if not (folder() / f"{job.name}.json").exists()] for wave in waves]
    in_waves(choices, waves, processes=processes, played=played)
