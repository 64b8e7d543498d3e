"""The heuristic: tool type -> model class. A policy of its own, and the learned policy's prior.

A target is a class ("small") or "best:<skill>". Inside a class the model with the highest general skill wins,
then the cheapest, then the first by name. Where no candidate has the wanted class, the next larger ones are
tried, then the smaller ones, so that the heuristic always has an answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from fnmatch import fnmatchcase
from functools import lru_cache

from sojourn_server.config import HeuristicSettings
from sojourn_server.policy.registry import Model

BEST = "best:"


def tool_type(settings: HeuristicSettings, *, given: str, tool_name: str) -> str:
    """The caller's tool type, else the first pattern that matches the tool's name, else ""."""
    if given or not tool_name:
        return given
    return _match(tuple(settings.tool_patterns.items()), tool_name)


@lru_cache(maxsize=4096)
def _match(patterns: tuple[tuple[str, str], ...], tool_name: str) -> str:
    lowered = tool_name.lower()
    return next((kind for pattern, kind in patterns if fnmatchcase(lowered, pattern)), "")


def choose(settings: HeuristicSettings, candidates: Sequence[Model], *, kind: str, language: str = "") -> Model:
    """The table's choice for a tool type among candidates (at least one)."""
    target = settings.table.get(kind, settings.default)
    if target.startswith(BEST):
        return _best(candidates, target.removeprefix(BEST), language)
    for wanted in _classes_by_distance(settings.class_order, target):
        members = [m for m in candidates if m.model_class == wanted]
        if members:
            return _best(members, "general", "")
    return _best(candidates, "general", "")


def _best(candidates: Sequence[Model], skill: str, language: str) -> Model:
    def rank(model: Model) -> tuple[float, float, str]:
        return (-_skill(model, skill, language), model.input_usd + model.output_usd, model.name)

    return min(candidates, key=rank)


def _skill(model: Model, skill: str, language: str) -> float:
    skills = model.terms.skills
    special = f"{skill}:{language}"
    if language and special in skills:
        return skills[special]
    return skills.get(skill, 0.0)


def _classes_by_distance(order: Sequence[str], target: str) -> list[str]:
    """The target, then larger classes, then smaller ones from the nearest down."""
    if target not in order:
        return [target]
    at = order.index(target)
    return [*order[at:], *reversed(order[:at])]
