"""The arena's Sojourn, in process and on virtual time, decides as the service does over gRPC."""

from __future__ import annotations

import time

from pydantic import SecretStr

import sojourn
from benchmarks.arena.environments import TUNING_SEEDS, by_name
from benchmarks.arena.sojourn import Sojourn, settings
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, LearnerConfig, ServerConfig
from sojourn_server.demo.routed import SojournChooser

SEED = TUNING_SEEDS[0]
EPISODES = 8


def test_the_same_tasks_get_the_same_models_over_grpc():
    environment = by_name("babyai-large")
    policy = settings(dict(environment.table), environment.strongest, cost_weight=1.0)
    tasks = environment.tasks(EPISODES, seed=SEED)
    here = Sojourn(environment.registry, policy, seed=SEED)
    expected = [environment.play(task, here).served for task in tasks]
    config = Config(
        server=ServerConfig(address="127.0.0.1:0", draw_secret=SecretStr(f"arena {SEED}")),
        journal=JournalConfig(kind="memory"),
        learner=LearnerConfig(publish_outcomes=1),
        models=tuple(environment.registry),
        policies={"default": policy},
    )
    served = []
    with App.open(config) as app, sojourn.Client(app.address, decide_deadline_ms=5_000) as client:
        chooser = SojournChooser(client, policy="default", run=str(SEED))
        for task in tasks:
            served.append(environment.play(task, chooser).served)
            client.flush()
            while app.router.knowledge("default").version < app.journal.position():
                time.sleep(0.005)
    assert served == expected
    assert any(len(set(models)) > 1 for models in served), "a run without a switch would prove little"


def test_a_run_repeats_itself():
    environment = by_name("babyai-small")
    tasks = environment.tasks(4, seed=SEED)

    def run(seed: int) -> list[tuple[str, ...]]:
        policy = settings(dict(environment.table), environment.strongest, cost_weight=1.0)
        chooser = Sojourn(environment.registry, policy, seed=seed)
        return [environment.play(task, chooser).served for task in tasks]

    assert run(1) == run(1)
    assert run(1) != run(2), "the draws do not depend on the seed"
