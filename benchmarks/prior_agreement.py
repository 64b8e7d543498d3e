"""How often the untaught policy agrees with the heuristic's table on first turns.

1,000 first turns on an empty journal: the table's tool types, tools known by name only, and unknown ones; prompts of
1.5k to 60k tokens, log-uniform. The argmax of utility before sampling is compared with the table's choice, and so is
the model that was sampled.
"""

from __future__ import annotations

import argparse
import json
from math import exp, log
from random import Random
from typing import NamedTuple

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.app import App
from sojourn_server.cli.logs import configure_logs
from sojourn_server.config import ChoiceSettings, Config, JournalConfig, PolicyConfig, ServerConfig
from sojourn_server.policy import heuristic
from sojourn_server.router import Call
from sojourn_server.telemetry import Telemetry

FIRST_TURNS = 1_000
PROMPT_TOKENS = (1_500, 60_000)
TOOL_NAMES = ("grep", "read_file", "run_python", "ask_user", "frobnicate", "")


class Agreement(NamedTuple):
    """Shares of first turns, 0 to 1: best utility = the table's choice; sampled model = the table's choice."""

    argmax: float
    sampled: float


def agreement(cost_weight: float | None = None, *, turns: int = FIRST_TURNS, seed: int = 1) -> Agreement:
    """Measures with the default settings; `cost_weight` goes with the requests (None = the policy's default)."""
    policy = PolicyConfig(choice=ChoiceSettings(control_share=0.0))
    config = Config(
        server=ServerConfig(address="127.0.0.1:0"), journal=JournalConfig(kind="memory"), policies={"default": policy}
    )
    random, argmax, sampled = Random(seed), 0, 0
    with App.open(config, Telemetry.disabled()) as app:
        for number in range(turns):
            request = _first_turn(number, random, policy, cost_weight)
            answer = app.router.decide(request, Call(received_at_ms=number))
            tabled = _tabled(app, request, policy)
            argmax += answer.ranked[0].model == tabled
            sampled += answer.model == tabled
    return Agreement(argmax / turns, sampled / turns)


def _first_turn(
    number: int, random: Random, policy: PolicyConfig, cost_weight: float | None
) -> router_pb2.DecideRequest:
    context = types_pb2.Context(prompt_tokens=round(exp(random.uniform(*map(log, PROMPT_TOKENS)))))
    if random.random() < 0.5:
        context.tool_type = random.choice([*policy.choice.heuristic.table, "unheard-of"])
    else:
        context.tool_name = random.choice(TOOL_NAMES)
    return router_pb2.DecideRequest(episode_id=f"first-{number}", context=context, cost_weight=cost_weight)


def _tabled(app: App, request: router_pb2.DecideRequest, policy: PolicyConfig) -> str:
    settings, context = policy.choice.heuristic, request.context
    kind = heuristic.tool_type(settings, given=context.tool_type, tool_name=context.tool_name)
    return heuristic.choose(settings, list(app.router.world.registry.models.values()), kind=kind).name


def main() -> None:
    """Prints one row per cost weight."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--json", action="store_true")
    given = parser.parse_args()
    configure_logs("error", "json")
    rows = {"default": agreement(), "0": agreement(0.0)}
    if given.json:
        print(json.dumps({weight: row._asdict() for weight, row in rows.items()}))
        return
    for weight, row in rows.items():
        print(f"cost weight {weight:>7}: argmax agrees {row.argmax:.1%}, sampled {row.sampled:.1%}")


if __name__ == "__main__":
    main()
