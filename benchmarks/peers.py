"""The decision itself beside what one would pick instead: one choice among six models, in process and over the wire.

All are asked in turn, round after round, with 30 numbers of context where they take any. In process it is CPU time;
over the wire (`gateways.py`) percentiles and choices a second, one request at a time and sixteen. None of them does
what Sojourn does for an episode (an exact propensity, the cache's price, a record on disk), so the tables say what a
choice costs and nothing about what it is worth; that is the arena's. LiteLLM gets an environment of its own, by uv.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
from pareto_bandit import BanditRouter, FeatureService

from benchmarks import gateways
from benchmarks.growth import BLOCK, Decide, in_turn, offered, routing, turn_by_turn
from benchmarks.latency import FEATURES, Sample, where
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import DEFAULTS, Config, JournalConfig, ServerConfig
from sojourn_server.telemetry import Telemetry
from tests.pages import table, write_between

RESULT = Path(__file__).parent / "results" / "peers.json"
PAGE = Path(__file__).parents[1] / "docs" / "capacity.md"
MARKS = ("<!-- peers: python -m benchmarks.peers -->", "<!-- end of peers -->")
CONNECTIONS, REQUESTS = (1, 16), 500
LITELLM = "litellm==1.110.2"
STRATEGIES = ("simple-shuffle", "latency-based-routing")
MODELS = [model["name"] for model in DEFAULTS["models"]]
_LITELLM = """
import json, sys, time
from statistics import median
from litellm import Router
names, strategies, block, rounds = json.loads(sys.argv[1])
models = [{"model_name": "any", "litellm_params": {"model": f"openai/{n}", "api_key": "none"}} for n in names]
routers = {s: Router(model_list=models, routing_strategy=s) for s in strategies}
message, found = [{"role": "user", "content": "a turn"}], {s: [] for s in strategies}
for round_ in range(-1, rounds):
    for strategy, router in routers.items():
        started = time.thread_time()
        for _ in range(block):
            router.get_available_deployment(model="any", messages=message)
        if round_ >= 0:
            found[strategy].append((time.thread_time() - started) / block * 1e6)
print(json.dumps({s: median(times) for s, times in found.items()}))
"""

SEMANTIC_ROUTER = "semantic-router==1.1.1"
_SEMANTIC_ROUTER = """
import json, sys, time
from statistics import median
import numpy as np
from semantic_router import Route
from semantic_router.encoders import DenseEncoder
from semantic_router.routers import IndexedRouter
names, width, block, rounds = json.loads(sys.argv[1])
class Given(DenseEncoder):
    name: str = "given"
    def __call__(self, texts):
        return [np.random.default_rng(len(text)).normal(size=width).tolist() for text in texts]
routes = [Route(name=name, utterances=["x" * i, "x" * (i + len(names))]) for i, name in enumerate(names, 1)]
router, found = IndexedRouter(encoder=Given(), routes=routes), []
for round_ in range(-1, rounds):
    started = time.process_time()
    for _ in range(block):
        router("xxx")
    if round_ >= 0:
        found.append((time.process_time() - started) / block * 1e6)
print(json.dumps(median(found)))
"""


def main() -> None:
    """Measures, prints, writes the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--wire-rounds", type=int, default=5)
    given = parser.parse_args()
    configure_logs("warning", "json")
    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
    place = where(" ".join(["python -m benchmarks.peers", *sys.argv[1:]]))
    with tempfile.TemporaryDirectory() as directory, ExitStack() as opened:
        on_disk = opened.enter_context(routing(Path(directory)))
        config = Config(server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(kind="memory"))
        in_memory = opened.enter_context(App.open(config, Telemetry.disabled()))
        ours = {
            "Sojourn, checked, decided and committed to SQLite": turn_by_turn(on_disk, offered(), "disk"),
            "Sojourn, journal in memory": turn_by_turn(in_memory, offered(), "memory"),
            "ParetoBandit route, a vector of 30": pareto(),
        }
        costs = in_turn("choices", ours, given.rounds) | litellm(given.rounds) | semantic_router(given.rounds)
    wire = over_the_wire(given.wire_rounds)
    result = {"choice_cpu_us": {n: round(cost, 1) for n, cost in costs.items()}, "over_the_wire": wire} | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))
    write_between(PAGE, MARKS, f"{table(in_process_rows(costs))}\n\n{table(wire_rows(wire))}", place)


def over_the_wire(rounds: int) -> dict[str, dict[str, dict[str, float]]]:
    """Medians over rounds, by who was asked and how many connections asked at a time."""
    os.sched_setaffinity(0, gateways.LOAD_CORES)  # h2load's too, as its child
    with tempfile.TemporaryDirectory() as folder, ExitStack() as opened:
        directory = Path(folder)
        url, alone = opened.enter_context(gateways.model(directory))
        asked = [
            opened.enter_context(gateways.sojourn()),
            opened.enter_context(gateways.litellm(directory, url)),
            opened.enter_context(gateways.portkey(directory, url)),
            alone,
        ]
        samples = {(side.name, c): list[Sample]() for side in asked for c in CONNECTIONS}
        for round_ in range(-1, rounds):
            for connections, side in product(CONNECTIONS, asked):
                sample = side.ask(REQUESTS, connections)
                if round_ >= 0:
                    samples[side.name, connections].append(sample)
    first, last = asked[0].name, alone.name
    return {
        side.name: {str(c): summed_up(samples[side.name, c], samples[first, c], samples[last, c]) for c in CONNECTIONS}
        for side in asked
    }


def summed_up(those: list[Sample], ours: list[Sample], model: list[Sample]) -> dict[str, float]:
    """Medians of one side, and of its ratios to ours round by round; a gateway's p50 there is less the model's own."""
    rounds = list(zip(those, ours, model, strict=True))
    behind = those not in (ours, model)  # what was asked stands between us and the model
    return {
        "p50_ms": round(median(s.p50_us for s in those) / 1e3, 2),
        "p99_ms": round(median(s.p99_us for s in those) / 1e3, 2),
        "per_second": round(median(s.qps for s in those)),
        "p50_over_sojourn": round(median((t.p50_us - m.p50_us * behind) / o.p50_us for t, o, m in rounds), 2),
        "per_second_over_sojourn": round(median(t.qps / o.qps for t, o, _ in rounds), 2),
    }


def in_process_rows(costs: Mapping[str, float]) -> list[list[str]]:
    """The table of the choice in process."""
    return [["one choice, in process", "CPU µs"], *([name, f"{cost:.0f}"] for name, cost in costs.items())]


def wire_rows(wire: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[list[str]]:
    """The table of the choice over the wire."""
    head = ["one choice, over the wire", "at a time", "p50 ms", "p99 ms", "a second"]
    head += ["p50, less the model's, / Sojourn's", "a second / Sojourn's"]
    return [head, *([name, c, *map(str, f.values())] for name, rows in wire.items() for c, f in rows.items())]


def pareto() -> Decide:
    """The package's router over the same models, asked with vectors of its precomputed kind."""
    prices = {
        m["name"]: {"input_cost_per_m": m["input_usd_per_mtok"], "output_cost_per_m": m["output_usd_per_mtok"]}
        for m in DEFAULTS["models"]
    }
    router = BanditRouter.create(
        model_registry=prices, priors="none", feature_service=FeatureService.for_precomputed(FEATURES), bandit_seed=1
    )
    vectors = np.random.default_rng(1).normal(size=(64, FEATURES))
    return lambda number: router.route(vectors[number % len(vectors)], input_tokens=12_000)


def litellm(rounds: int) -> dict[str, float]:
    """LiteLLM's router by two of its strategies."""
    found = elsewhere(LITELLM, _LITELLM, [MODELS, STRATEGIES, BLOCK, rounds])
    return {f"LiteLLM router, {name} ({LITELLM})": cost for name, cost in found.items()}


def semantic_router(rounds: int) -> dict[str, float]:
    """semantic-router over vectors that are given, as no encoder comes with it; its loop's thread is counted too."""
    cost = elsewhere(SEMANTIC_ROUTER, _SEMANTIC_ROUTER, [MODELS, FEATURES, BLOCK, rounds])
    return {f"semantic-router, a vector of {FEATURES}, without its encoder ({SEMANTIC_ROUTER})": cost}


def elsewhere(requirement: str, code: str, arguments: list[Any]) -> Any:
    """What a program prints that runs with a package in an environment of its own."""
    uv = Path(sys.executable).with_name("uv")
    command = [str(uv), "run", "--quiet", "--no-project", "--python", sys.executable, "--with", requirement]
    one_thread = os.environ | {"OPENBLAS_NUM_THREADS": "1"}  # waiting threads spin, which would be counted
    asked = [*command, "python", "-c", code, json.dumps(arguments)]
    printed = subprocess.run(asked, check=True, capture_output=True, text=True, env=one_thread).stdout
    return json.loads(printed.strip().rpartition("\n")[2])


if __name__ == "__main__":
    main()
