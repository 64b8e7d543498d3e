"""What staleness costs: old snapshots, late outcomes and many deciders against a learner that is always up to date.

The world is ours: each of four phases has a model that succeeds more often than the others, by a margin that a policy
can find within some hundred episodes. Everything else is the product: the router decides over a journal in memory, the
fold learns from it, and deciders get a copy when `every` outcomes were learned since the last one. An outcome is
reported `late` episodes after its episode. Each of several deciders takes episodes in turn and picks up a new version
only at its own moments, as a host that polls does. All policies play the same episodes with the same luck, so the
figures are differences within a seed: mean score per episode below what the freshest loop earned.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
from collections import deque
from pathlib import Path
from random import Random
from typing import NamedTuple

from benchmarks.arena.progress import progress_bar
from benchmarks.latency import where
from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import ChoiceSettings, Config, LessonSettings, PolicyConfig, PriorSettings
from sojourn_server.episodes import Episodes
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.router import Call, Router
from sojourn_server.world import load_world

RESULT = Path(__file__).parent / "results" / "staleness.json"
POLICY = "default"
PHASES = ("search", "code", "reasoning", "file_io")
BEST = {"search": "kimi-k2", "code": "deepseek-v3.2", "reasoning": "gpt-5", "file_io": "minimax-m2"}
HIT, MISS = 0.8, 0.5
"""How likely an episode of one turn succeeds with the phase's best model, and with any other."""
SECRET = b"staleness"


class Loop(NamedTuple):
    """A way to run the service: outcomes between versions, episodes until an outcome comes, deciders."""

    every: int = 1
    late: int = 0
    deciders: int = 1


FRESH = Loop()
LOOPS = (
    FRESH,
    Loop(every=32),
    Loop(every=256),
    Loop(every=1_024),
    Loop(late=100),
    Loop(late=1_000),
    Loop(every=32, deciders=4),
    Loop(every=32, deciders=64),
    Loop(every=32, late=100, deciders=64),
    Loop(every=256, late=1_000, deciders=64),
)


def config() -> Config:
    """Prices of nothing, so that scores alone count, and a heuristic that knows nothing."""
    choice = ChoiceSettings(cost_weight=0.0, friction=0.0, control_share=0.0, prior_width=0.1)
    lesson = LessonSettings(prior=PriorSettings(gap=0.0, error_slope=0.0))
    return Config(policies={POLICY: PolicyConfig(choice=choice, lesson=lesson)})


class Service:
    """Deciders over one journal, and the fold that they get versions from."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self.journal = MemoryJournal()
        world = load_world(self.journal, config(), 0)
        self._fold = Fold.prior(POLICY, world)
        self._lesson = world.policies[POLICY].settings.lesson
        self._routers = [
            Router(self.journal, Episodes(self.journal, capacity=16), world=world, secret=SECRET)
            for _ in range(loop.deciders)
        ]
        self._newest = self._copy()
        for router in self._routers:
            router.use(POLICY, self._newest)
        self._learned = 0

    def _copy(self) -> Published:
        return Published.of(self._fold.snapshot(created_at_ms=0), self._lesson)

    def decide(self, number: int, phase: str) -> str:
        """The model of an episode's turn."""
        request = router_pb2.DecideRequest(episode_id=f"e{number}", context=types_pb2.Context(tool_type=phase))
        router = self._routers[number % len(self._routers)]
        if len(self._routers) == 1 or number // len(self._routers) % 4 == 0:  # it looks for news at its fourth episode
            router.use(POLICY, self._newest)
        return router.decide(request, Call(number)).model

    def end(self, number: int, score: float) -> None:
        """An outcome comes, and is learned."""
        outcome = router_pb2.ReportOutcomeRequest(episode_id=f"e{number}", score=score)
        self._routers[0].report_outcome(outcome, Call(number))
        self._fold.catch_up(self.journal, self.journal.position())
        self._learned += 1
        if self._learned % self._loop.every == 0:
            self._newest = self._copy()


def mean_score(loop: Loop, *, episodes: int, seed: int) -> float:
    """Expected score per episode of what was chosen."""
    service, random = Service(loop), Random(seed)
    waiting: deque[tuple[int, float]] = deque()
    total = 0.0
    for number in range(episodes):
        phase, luck = random.choice(PHASES), random.random()
        chance = HIT if service.decide(number, phase) == BEST[phase] else MISS
        total += chance
        waiting.append((number, 1.0 if luck < chance else 0.0))
        while waiting and waiting[0][0] <= number - loop.late:
            service.end(*waiting.popleft())
    return total / episodes


def main() -> None:
    """Plays, prints, writes the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.staleness", description=__doc__)
    parser.add_argument("--episodes", type=int, default=3_000)
    parser.add_argument("--seeds", type=int, default=5)
    given = parser.parse_args()
    configure_logs("warning", "json")
    place = where(" ".join(["python -m benchmarks.staleness", *sys.argv[1:]]))
    scores: dict[Loop, list[float]] = {loop: [] for loop in LOOPS}
    with progress_bar("staleness") as bar:
        for seed in range(given.seeds):
            for number, loop in enumerate(LOOPS):
                scores[loop].append(mean_score(loop, episodes=given.episodes, seed=seed))
                bar(seed * len(LOOPS) + number + 1, given.seeds * len(LOOPS))
    rows = [row(loop, scores) for loop in LOOPS]
    result = {"episodes": given.episodes, "best_possible": HIT, "at_random": MISS, "loops": rows} | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


def row(loop: Loop, scores: dict[Loop, list[float]]) -> dict[str, float]:
    """A loop's score, and how far below the freshest it stays within a seed, with a standard error."""
    below = [fresh - own for fresh, own in zip(scores[FRESH], scores[loop], strict=True)]
    error = statistics.stdev(below) / len(below) ** 0.5 if len(below) > 1 else 0.0
    return loop._asdict() | {
        "score": round(statistics.mean(scores[loop]), 4),
        "below_fresh": round(statistics.mean(below), 4),
        "standard_error": round(error, 4),
    }


if __name__ == "__main__":
    main()
