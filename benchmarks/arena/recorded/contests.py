"""What is played: tables, cost weights, policies and Sojourn's comparisons, all but one declared beforehand.

Over the cost weights of ParetoBandit's prompts the best single model changes twice. Settings that were chosen, were
chosen on tuning seeds and half of the prompts; orders of HELD_OUT_SEEDS are what is reported. Settings, features and
imports of prompts are played on fewer orders: Sojourn in process takes milliseconds a choice. `sojourn-cold-sharp`
joined the sections about features after `sojourn-cold` was seen there.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from benchmarks.arena.recorded.imports import folders, import_tables
from benchmarks.arena.recorded.prompts import Features
from benchmarks.arena.recorded.run import MATCHED, Job, Source
from benchmarks.arena.recorded.tables import Table

PROMPT_WEIGHTS = (0.0, 0.5, 50.0, 200.0, 500.0)  # score per USD
FEW_WEIGHTS = (0.0, 200.0)
IMPORT_WEIGHTS = (0.0, 0.3, 1.0)
FEW_SEEDS = 3

RIVALS = ("paretobandit", "linucb", "thompson", "knn")
BOUNDS = ("random", "kind-oracle", "oracle")
PRODUCT = ("sojourn-cold", "sojourn-warm")
MENDED = ("sojourn-cold-sharp", "sojourn-warm-light")
IMPORTED = ("sojourn-cold", "sojourn-cold+import", "sojourn-warm", "sojourn-warm+import", "thompson+import",
            "paretobandit+import", "best-single", "kind-oracle", "oracle")  # fmt: skip

Pair = tuple[str, str]


class Contest(NamedTuple):
    """One section of the results. `pairs`: (Sojourn's policy, rival) whose gain is declared, corrected together."""

    title: str
    says: str
    source: Source
    cost_weights: tuple[float, ...]
    policies: tuple[str, ...]
    seeds: tuple[int, ...]
    pairs: tuple[Pair, ...]
    half: bool = False

    def jobs(self, cost_weight: float, policy: str) -> list[Job]:
        """One job a seed; a placebo's donor played the next seed's order."""
        others = (*self.seeds[1:], self.seeds[0])
        return [
            Job(self.source, self.half, cost_weight, policy, seed, other)
            for seed, other in zip(self.seeds, others, strict=True)
        ]

    def all_jobs(self) -> list[Job]:
        """Every job of the section."""
        return [job for weight in self.cost_weights for policy in self.policies for job in self.jobs(weight, policy)]


def contests(seeds: Sequence[int], recorded: Path | None) -> list[Contest]:
    """All sections: ParetoBandit's prompts, and every recording below a directory."""
    imports = [] if recorded is None else [c for folder in folders(recorded) for c in _recording(folder, tuple(seeds))]
    return [*_prompts(tuple(seeds)), *imports]


def _prompts(seeds: tuple[int, ...]) -> list[Contest]:
    few = seeds[:FEW_SEEDS]
    main = Source("kind+numbers")
    policies = (*PRODUCT, *RIVALS, MATCHED, "heuristic", *BOUNDS, *_singles(main.table()))
    return [
        Contest(
            "ParetoBandit's prompts", "Features: kind of prompt and numbers of its text, the same for all.",
            main, PROMPT_WEIGHTS, policies, seeds, tuple((hero, "paretobandit") for hero in PRODUCT),
        ),
        Contest(
            "ParetoBandit's prompts: other settings",
            "`sojourn-cold-sharp` explores less (beliefs half as wide). `sojourn-warm-light` has a lighter prior "
            "that is closer to the level of the scores, and taught at cost weight 1 while requests carry their own.",
            main, PROMPT_WEIGHTS, (*PRODUCT, *MENDED, "paretobandit"), few,
            tuple((hero, "paretobandit") for hero in MENDED),
        ),
        *[_features(features, few) for features in ("kind", "numbers", "clusters+numbers")],
        Contest(
            "ParetoBandit's prompts: half imported",
            "The first half of each order, with every model's outcome, can be imported; the second half is played.",
            main, FEW_WEIGHTS, IMPORTED, few, IMPORT_PAIRS, half=True,
        ),
    ]  # fmt: skip


IMPORT_PAIRS: tuple[Pair, ...] = (
    ("sojourn-cold+import", "sojourn-cold"), ("sojourn-cold+import", "best-single"),
    ("sojourn-cold+import", "paretobandit+import"),
)  # fmt: skip

_SAYS: dict[Features, str] = {
    "kind": "Features: the kind of prompt alone.",
    "numbers": "Features: numbers of the text alone. Sojourn crosses none of them with the candidates.",
    "clusters+numbers": "The same numbers and, as kind, the cluster that they fall into: a caller can send that.",
}


def _features(features: Features, seeds: tuple[int, ...]) -> Contest:
    return Contest(
        f"ParetoBandit's prompts: {features}", _SAYS[features], Source(features), FEW_WEIGHTS,
        ("sojourn-cold", "sojourn-cold-sharp", *RIVALS, "kind-oracle"), seeds,
        (("sojourn-cold", "paretobandit"), ("sojourn-cold-sharp", "paretobandit")),
    )  # fmt: skip


def _recording(folder: Path, seeds: tuple[int, ...]) -> list[Contest]:
    """Each table of a recording, played whole and half imported."""
    found = []
    for place, table in enumerate(import_tables(folder)):
        source = Source(str(folder), place)
        weights = (0.0,) if table.usd is None else IMPORT_WEIGHTS
        says = f"{len(table.items)} tasks that all of these models have played" + (
            "; money is unknown, so it does not count." if table.usd is None else "."
        )
        whole = (*PRODUCT, *MENDED, *RIVALS, MATCHED, *BOUNDS, *_singles(table))
        pairs = tuple((hero, "paretobandit") for hero in PRODUCT)
        found += [
            Contest(table.name, says, source, weights, whole, seeds, pairs),
            Contest(f"{table.name} (half imported)", says, source, weights, IMPORTED, seeds, IMPORT_PAIRS, half=True),
        ]
    return found


def _singles(table: Table) -> tuple[str, ...]:
    return tuple(f"never-switch:{name}" for name in table.model_names)
