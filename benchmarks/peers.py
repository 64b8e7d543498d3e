"""The decision itself, in process, beside what one would pick instead: CPU time of one choice among six models.

All are asked in turn, round after round, with 30 numbers of context where they take any. None of them does what Sojourn
does for an episode (an exact propensity, the cache's price, a record on disk), so the table says what a choice costs
and nothing about what it is worth; that is the arena's. LiteLLM comes into an environment of its own, made by uv.
"""

from __future__ import annotations

import argparse
import json
import logging
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

import numpy as np
from pareto_bandit import BanditRouter, FeatureService

from benchmarks.growth import BLOCK, Decide, in_turn, offered, routing, turn_by_turn
from benchmarks.latency import FEATURES, where
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import DEFAULTS, Config, JournalConfig, ServerConfig
from sojourn_server.telemetry import Telemetry

RESULT = Path(__file__).parent / "results" / "peers.json"
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


def main() -> None:
    """Measures, prints, writes the results file."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers", description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
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
        costs = in_turn("choices", ours, given.rounds) | litellm(given.rounds)
    result = {"choice_cpu_us": {name: round(cost, 1) for name, cost in costs.items()}} | place
    RESULT.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


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
    uv = Path(sys.executable).with_name("uv")
    arguments = json.dumps([MODELS, STRATEGIES, BLOCK, rounds])
    command = [str(uv), "run", "--quiet", "--no-project", "--with", LITELLM, "python", "-c", _LITELLM, arguments]
    printed = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    found: dict[str, float] = json.loads(printed.strip().rpartition("\n")[2])
    return {f"LiteLLM router, {name} ({LITELLM})": cost for name, cost in found.items()}


if __name__ == "__main__":
    main()
