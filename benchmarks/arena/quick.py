"""`python -m benchmarks.arena.quick`: coarse claims on tuning seeds, in a few minutes; fails if one does not hold.

The margins are wide of what longer runs show (docs/arena.md), so that luck does not fail it and a broken policy does:
so few episodes are mostly learning, and single seeds may lie below their heuristic for as long (docs/findings.md).
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

from rich.console import Console

from benchmarks.arena.environments import TUNING_SEEDS
from benchmarks.arena.measures import Row
from benchmarks.arena.progress import progress_bar
from benchmarks.arena.report import printed, rows
from benchmarks.arena.run import Job, play_all

ENVIRONMENTS = ("babyai-small", "babyai-large")
STRONGEST = "never-switch:scripted-large-a"
POLICIES = ("sojourn-warm", "heuristic", "random", "escalation", STRONGEST)
EPISODES = 300
SEEDS = TUNING_SEEDS[:4]

Policies = Mapping[str, Row]


def _utility(policies: Policies, name: str) -> float:
    return policies[name].cumulative_utility.mean


def _mean(policies: Policies, name: str, measure: str) -> float:
    return policies[name].values[measure].mean


CLAIMS: dict[str, Callable[[Policies], bool]] = {
    "the heuristic beats uniform random by .1": lambda p: _utility(p, "heuristic") > _utility(p, "random") + 0.1,
    "Sojourn is not .1 below its heuristic": lambda p: _utility(p, "sojourn-warm") > _utility(p, "heuristic") - 0.1,
    "Sojourn beats escalation by .05": lambda p: _utility(p, "sojourn-warm") > _utility(p, "escalation") + 0.05,
    "Sojourn beats never-switch on the strongest": lambda p: _utility(p, "sojourn-warm") > _utility(p, STRONGEST),
    "Sojourn costs less than never-switch on the strongest": lambda p: (
        _mean(p, "sojourn-warm", "usd") < 0.8 * _mean(p, STRONGEST, "usd")
    ),
    "Sojourn switches less than half as often as random": lambda p: (
        _mean(p, "sojourn-warm", "switches_per_episode") < 0.5 * _mean(p, "random", "switches_per_episode")
    ),
}


def main() -> None:
    """Plays, prints, checks."""
    jobs = [Job(e, policy, seed, EPISODES) for e in ENVIRONMENTS for policy in POLICIES for seed in SEEDS]
    with progress_bar() as told:
        play_all(jobs, processes=os.cpu_count() or 1, played=told)
    broken = []
    for environment, policies in rows(jobs, tail=EPISODES // 2).items():
        Console(width=150).print(printed(environment, policies))
        broken += [f"{environment}: {claim}" for claim, holds in CLAIMS.items() if not holds(policies)]
    if broken:
        sys.exit("these no longer hold:\n  " + "\n  ".join(broken))
    print(f"all {len(CLAIMS)} claims hold in {', '.join(ENVIRONMENTS)}")


if __name__ == "__main__":
    main()
