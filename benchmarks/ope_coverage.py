"""Do the intervals of `sojourn evaluate` hold the truth as often as they say? Many small worlds with known truths.

A world is ours: three models, three kinds of work, and how well each model does each kind, drawn anew; an episode comes
back to kinds that it has left, and stays with some for several turns. Everything else is the product: the router
decides, explores and learns as it goes, so that the log is adaptive, and the evaluation reads the journal. How widely
the log explores differs by world, so some have few effective episodes. Three targets: two random ones, whose worth is
enumerated, and the untaught policy, whose choices are counted once over many episodes, since they know no world.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from functools import cache
from itertools import product
from math import sqrt
from multiprocessing import get_context
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from benchmarks.arena.progress import progress_bar
from benchmarks.arena.sojourn import START_MS, TURN_MS
from benchmarks.latency import where
from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.config import (
    ChoiceSettings,
    Config,
    HeuristicSettings,
    LessonSettings,
    ModelConfig,
    PolicyConfig,
    PriorSettings,
)
from sojourn_server.episodes import Episodes
from sojourn_server.evaluation.estimators import Estimate
from sojourn_server.evaluation.evaluate import Evaluation, evaluate
from sojourn_server.evaluation.logged import read_log
from sojourn_server.evaluation.targets import Target
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.router import DEFAULT_POLICY, Call, Router
from sojourn_server.world import load_world, read_world

RESULT = Path(__file__).parent / "results" / "ope.json"
MODELS = ("large", "medium", "small")
KINDS = ("code", "reasoning", "search")
SCRIPTS = (
    ("search", "search", "code", "search"),
    ("code", "reasoning", "code", "code"),
    ("reasoning", "search", "search", "reasoning"),
    ("search", "code", "reasoning", "search"),
)
"""The kinds of work of an episode's turns: revisited, and held where the same kind comes twice in a row."""
TILT = {"large": 0.5, "medium": 0.3, "small": 0.2}
TARGETS = ("uniform", "tilted", "untaught")
ESTIMATORS = ("ips", "snips", "dr")
UNTAUGHT_WIDTH = 0.4
COUNTED_EPISODES = 20_000
Served = tuple[str, ...]


class World:
    """How well each model does each kind of work, and how much an episode's turns come to."""

    def __init__(self, seed: int) -> None:
        """A seed is a world."""
        random = Random(f"world {seed}")
        self.seed = seed
        self.episodes = random.choice((100, 150, 250))
        self.width = random.uniform(0.2, 1.0)  # the log's exploration: ChoiceSettings.prior_width
        self._skill = {(kind, model): random.uniform(0.05, 0.95) for kind in KINDS for model in MODELS}
        self._luck = Random(f"luck {seed}")

    def chance(self, script: Sequence[str], served: Served) -> float:
        """Of success, by who served each turn."""
        return sum(self._skill[kind, model] for kind, model in zip(script, served, strict=True)) / len(script)

    def outcome(self, script: Sequence[str], served: Served) -> float:
        """1 or 0."""
        return float(self._luck.random() < self.chance(script, served))

    def truth(self, target: str) -> float:
        """What an episode is worth under a target, on average over the scripts."""
        if target == "untaught":
            counts = untaught_choices()
            return sum(n * self.chance(*key) for key, n in counts.items()) / counts.total()
        shares = TILT if target == "tilted" else dict.fromkeys(MODELS, 1 / len(MODELS))
        return sum(self._mean(script, shares) for script in SCRIPTS) / len(SCRIPTS)

    def _mean(self, script: Sequence[str], shares: Mapping[str, float]) -> float:
        """One draw a kind: a random target serves all turns of a kind with the same model."""
        total = 0.0
        for by_kind in product(MODELS, repeat=len(KINDS)):
            of = dict(zip(KINDS, by_kind, strict=True))
            weight = 1.0
            for model in by_kind:
                weight *= shares[model]
            total += weight * self.chance(script, tuple(of[kind] for kind in script))
        return total


class Service:
    """The product in process; learns after every episode if it is told to."""

    def __init__(self, width: float, *, key: str) -> None:
        heuristic = HeuristicSettings(table={"reasoning": "large", "search": "small"}, tool_patterns={})
        choice = ChoiceSettings(
            prior_width=width, floor=0.01, reference_model="large", control_share=0.0, heuristic=heuristic
        )
        lesson = LessonSettings(weight_bits=12, prior=PriorSettings(events=200))
        models = tuple(
            ModelConfig(name=name, model_class=name, input_usd_per_mtok=usd, output_usd_per_mtok=4 * usd)
            for name, usd in zip(MODELS, (1.0, 0.3, 0.1), strict=True)
        )
        self.journal = MemoryJournal()
        config = Config(models=models, policies={DEFAULT_POLICY: PolicyConfig(choice=choice, lesson=lesson)})
        self._world = load_world(self.journal, config, START_MS)
        self._router = Router(self.journal, Episodes(self.journal, capacity=16), world=self._world, secret=key.encode())
        self.choice = choice
        self.fold = self.prior()
        self._now_ms = START_MS

    def prior(self) -> Fold:
        """The untaught policy."""
        return Fold.prior(DEFAULT_POLICY, self._world)

    def play(self, episode_id: str, script: Sequence[str]) -> Served:
        """Decides all turns; who served."""
        self._router.use(DEFAULT_POLICY, Published(self.fold.position, self.fold.bandit, self.fold.counts))
        return tuple(self._turn(episode_id, turn, kind) for turn, kind in enumerate(script))

    def _turn(self, episode_id: str, turn: int, kind: str) -> str:
        context = types_pb2.Context(tool_type=kind, prompt_tokens=2_000 + 500 * turn, expected_output_tokens=300)
        request = router_pb2.DecideRequest(episode_id=episode_id, turn_index=turn, context=context)
        self._now_ms += TURN_MS
        return self._router.decide(request, Call(self._now_ms)).model

    def learn(self, episode_id: str, score: float) -> None:
        """Ends an episode and folds it."""
        outcome = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score)
        self._router.report_outcome(outcome, Call(self._now_ms))
        self.fold.catch_up(self.journal, self.journal.position())


@cache
def untaught_choices() -> Counter[tuple[tuple[str, ...], Served]]:
    """How often the untaught policy serves a script how, over many episodes."""
    service = Service(UNTAUGHT_WIDTH, key="untaught")
    numbers = ((number, SCRIPTS[number % len(SCRIPTS)]) for number in range(COUNTED_EPISODES))
    return Counter((script, service.play(f"e{number}", script)) for number, script in numbers)


class Found(NamedTuple):
    """An interval beside the truth; `estimate` None = refused."""

    target: str
    estimator: str
    truth: float
    estimate: Estimate | None


def play(seed: int, targets: Collection[str] = TARGETS) -> list[Found]:
    """One world: the log, then every target by every estimator."""
    world = World(seed)
    service = Service(world.width, key=f"world {seed}")
    for number in range(world.episodes):
        script = SCRIPTS[number % len(SCRIPTS)]
        service.learn(f"e{number}", world.outcome(script, service.play(f"e{number}", script)))
    return [
        Found(found.target, name, world.truth(found.target), estimate)
        for found in _evaluated(service, targets)
        for name, estimate in zip(ESTIMATORS, (found.score_ips, found.score_snips, found.score_dr), strict=True)
    ]


def _evaluated(service: Service, targets: Collection[str]) -> list[Evaluation]:
    log = read_log(service.journal, DEFAULT_POLICY, read_world(service.journal))
    asked = [target for target in _targets(service) if target.name in targets]
    return evaluate(service.journal, service.prior(), log, asked, told=lambda position: None)


def _targets(service: Service) -> list[Target]:
    prior = service.prior()
    untaught = service.choice.model_copy(update={"prior_width": UNTAUGHT_WIDTH})
    return [
        Target("uniform", service.choice, reshape=lambda names: dict.fromkeys(names, 1 / len(names))),
        Target("tilted", service.choice, reshape=lambda names: {name: TILT[name] for name in names}),
        Target("untaught", untaught, knowledge=Published(0, prior.bandit, prior.counts)),
    ]


def play_all(seeds: Sequence[int], processes: int) -> list[Found]:
    """Many worlds, with a bar."""
    found = list[Found]()
    with progress_bar("worlds") as told, ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        for done, future in enumerate(as_completed([pool.submit(play, seed) for seed in seeds]), start=1):
            found += future.result()
            told(done, len(seeds))
    return found


def summary(found: Iterable[Found]) -> dict[str, Any]:
    """Of the intervals that were given: how many hold the truth, and the mean error over its standard error."""
    given = [(each, each.estimate) for each in found if each.estimate is not None]
    errors = [estimate.value - each.truth for each, estimate in given]
    mean = sum(errors) / len(errors)
    deviation = sqrt(sum((error - mean) ** 2 for error in errors) / (len(errors) - 1))
    holding = sum(estimate.low <= each.truth <= estimate.high for each, estimate in given) / len(given)
    return {
        "intervals": len(given),
        "coverage": round(holding, 4),
        "coverage_standard_error": round(sqrt(holding * (1 - holding) / len(given)), 4),
        "mean_error": round(mean, 5),
        "mean_error_over_standard_error": round(mean / (deviation / sqrt(len(errors))), 2),
        "mean_width": round(sum(estimate.high - estimate.low for _, estimate in given) / len(given), 3),
    }


def report(found: Sequence[Found], worlds: int) -> dict[str, Any]:
    """The results: all intervals together, and each target by each estimator."""
    rows = {
        f"{target}, {name}": summary(f for f in found if (f.target, f.estimator) == (target, name))
        for target in TARGETS
        for name in ESTIMATORS
    }
    return {
        "ope_coverage": summary(found)["coverage"],
        "worlds": worlds,
        "refused": sum(each.estimate is None for each in found),
        "rows": rows,
    }


def main() -> None:
    """Plays, prints, writes the results file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--worlds", type=int, default=1_000)
    parser.add_argument("--processes", type=int, default=os.cpu_count() or 1)
    given = parser.parse_args()
    place = where(" ".join(["python -m benchmarks.ope_coverage", *sys.argv[1:]]))
    result = report(play_all(range(given.worlds), given.processes), given.worlds) | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
