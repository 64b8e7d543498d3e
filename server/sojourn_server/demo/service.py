"""How the demo sets the router up: the scripted models as registry, a table for BabyAI's tool types, two policies.

The table is the article's rule: routine work (looking around, walking) goes to a small model, the rest to a large
one. Of two such tables that were tried it is the one that scored better, so that the heuristic is a strong rival.
Cohorts are off, because the demo plays its controls itself.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import SecretStr

from sojourn_server.config import (
    CacheConfig,
    ChoiceSettings,
    Config,
    HeuristicSettings,
    JournalConfig,
    LogConfig,
    ModelConfig,
    PolicyConfig,
    ServerConfig,
)
from sojourn_server.demo.models import MODELS, STRONGEST, ScriptedModel

LEARNED = "default"
HEURISTIC = "heuristic"

TABLE = {"search": "small", "navigate": "small", "manipulate": "large", "unlock": "large"}


def demo_config(directory: Path, *, cost_weight: float, seed: int) -> Config:
    """A router on a free port of this machine with its journal in `directory`; draws are keyed by `seed`."""
    choice = ChoiceSettings(
        cost_weight=cost_weight,
        reference_model=STRONGEST,
        control_share=0.0,
        heuristic=HeuristicSettings(table=TABLE, tool_patterns={}),
    )
    return Config(
        server=ServerConfig(address="127.0.0.1:0", draw_secret=SecretStr(f"sojourn demo {seed}")),
        journal=JournalConfig(directory=directory),
        log=LogConfig(level="warning"),
        models=tuple(registry_entry(model) for model in MODELS),
        policies={
            LEARNED: PolicyConfig(choice=choice, mode="LIVE", live_share=1.0),
            HEURISTIC: PolicyConfig(choice=choice, mode="HEURISTIC"),
        },
    )


def registry_entry(model: ScriptedModel) -> ModelConfig:
    """What a router may know of a scripted model: its prices and cache, never its skills by phase."""
    prices = model.prices
    has_cache = prices.ttl_s > 0
    return ModelConfig(
        name=model.name,
        model_class=model.model_class,
        input_usd_per_mtok=prices.input_usd_per_mtok,
        output_usd_per_mtok=prices.output_usd_per_mtok,
        cache=CacheConfig(
            read_multiplier=prices.read_multiplier,
            write_multiplier=prices.write_multiplier,
            ttl_ms=int(prices.ttl_s * 1000),
        )
        if has_cache
        else None,
        skills={"general": model.general},
    )
