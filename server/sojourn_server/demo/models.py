"""Six scripted models: they ask the expert and slip, more or less often by the hidden phase of the work.

A model takes the expert's action with the probability of its skill in the phase, else it slips. The luck of a turn
is a keyed hash of seed, task, turn and model, so every policy that puts the same model on the same turn of the same
task meets the same luck. Price tags are list prices of real models, whose names are given as `priced_like`; the
skills are ours, made up so that no model is best at everything, and nothing is claimed about the real ones.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any, NamedTuple

from sojourn_server.demo.tokens import Prices

FIVE_MINUTES_S = 300.0
PHASES = ("exploring", "approaching", "handling", "unlocking")


@dataclass(frozen=True)
class Advice:
    """The expert's next action and the hidden phase. `slips`: cumulative probability and action of each slip."""

    action: Any
    phase: str
    slips: Sequence[tuple[float, Any]]
    is_lost: bool = False


@dataclass(frozen=True)
class ScriptedModel:
    """A stand-in for an LLM.

    `general` (0 to 1) is the one number that a caller would believe of it, read by the heuristic alone;
    `output_tokens` are per turn; `skills` are probabilities of doing the right thing, by hidden phase.
    """

    name: str
    priced_like: str
    model_class: str
    prices: Prices
    general: float
    output_tokens: int
    skills: Mapping[str, float]


class Luck(NamedTuple):
    """Two independent uniform numbers in [0, 1): does the model slip, and how."""

    slips: float
    how: float


def luck(*, seed: int, task: int, turn: int, model: str) -> Luck:
    """The luck of one model at one turn of one task; equal arguments give equal luck in every process."""
    digest = blake2b(f"{seed} {task} {turn} {model}".encode(), digest_size=16).digest()
    return Luck(*(int.from_bytes(half, "big") / 2.0**64 for half in (digest[:8], digest[8:])))


def act(model: ScriptedModel, advice: Advice, fate: Luck) -> Any:
    """The action that the model takes where the expert gives this advice."""
    if fate.slips < model.skills[advice.phase]:
        return advice.action
    return next(action for limit, action in advice.slips if fate.how < limit)


def _skills(*by_phase: float) -> Mapping[str, float]:
    return dict(zip(PHASES, by_phase, strict=True))


def _cached(input_usd: float, output_usd: float, read_multiplier: float) -> Prices:
    return Prices(input_usd, output_usd, read_multiplier, ttl_s=FIVE_MINUTES_S)


MODELS = (
    ScriptedModel(
        "scripted-large-a", "gpt-5", "large", _cached(1.25, 10.0, 0.1), 0.74, 500,
        _skills(0.70, 0.70, 0.69, 0.72),
    ),
    ScriptedModel(
        "scripted-medium-b", "deepseek-v3.2", "medium", _cached(0.27, 0.42, 0.1), 0.57, 600,
        _skills(0.90, 0.38, 0.35, 0.42),
    ),
    ScriptedModel(
        "scripted-medium-c", "minimax-m2", "medium", _cached(0.20, 1.00, 0.15), 0.50, 700,
        _skills(0.30, 0.62, 0.32, 0.42),
    ),
    ScriptedModel(
        "scripted-medium-d", "kimi-k2", "medium", _cached(0.39, 1.90, 0.25), 0.53, 250,
        _skills(0.33, 0.36, 0.40, 0.94),
    ),
    ScriptedModel(
        "scripted-small-e", "gemini-2.5-flash-lite", "small", _cached(0.10, 0.40, 0.1), 0.52, 300,
        _skills(0.31, 0.42, 0.94, 0.38),
    ),
    ScriptedModel(
        "scripted-small-f", "gpt-oss-120b", "small", Prices(0.09, 0.36), 0.63, 500,
        _skills(0.57, 0.90, 0.46, 0.48),
    ),
)  # fmt: skip  # one line of identity, one of skills, reads as the table that it is

BY_NAME = {model.name: model for model in MODELS}
STRONGEST = MODELS[0].name
