"""Policies to evaluate: each is the product's own `decide`, under other settings or in another cohort.

A target meets the logged turn as it was, with all that went before. Whether it may leave the incumbent there is decided
by the same rules, so a target that could differ at a held turn shows itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from sojourn_server.config import ChoiceSettings
from sojourn_server.policy.decision import decide
from sojourn_server.policy.distribution import UNIT
from sojourn_server.policy.draws import HEURISTIC, LEARNED, NEVER_SWITCH, Assignment
from sojourn_server.policy.learned import Knowledge
from sojourn_server.policy.turn import Turn

Reshape = Callable[[Sequence[str]], Mapping[str, float]]


class Target(NamedTuple):
    """A policy by name. `knowledge` None = what the logged policy knew at the time.

    `reshape` gives probabilities over the eligible at a decision point in place of the policy's own.
    """

    name: str
    settings: ChoiceSettings
    assignment: Assignment = Assignment(LEARNED, 1.0)
    cost_weight: float | None = None
    knowledge: Knowledge | None = None
    reshape: Reshape | None = None


def opinion(target: Target, turn: Turn, knowledge: Knowledge) -> Mapping[str, float]:
    """The target's probabilities at a logged turn, by model in the order of names. Raises NoEligibleCandidate."""
    weight = turn.cost_weight if target.cost_weight is None else target.cost_weight
    # A draw of 0 lies in every policy's first cell: only the distribution is asked for.
    seen = turn._replace(assignment=target.assignment, cost_weight=weight, draw=0.0, surviving=UNIT)
    choice = decide(seen, target.knowledge or knowledge, target.settings)
    if target.reshape is None or not choice.decision_point:
        return {offer.model.name: p for offer, p in zip(choice.offers, choice.probabilities, strict=True)}
    eligible = [offer.model.name for offer, why in zip(choice.offers, choice.excluded, strict=True) if not why]
    return target.reshape(eligible)


def controls(settings: ChoiceSettings, models: Sequence[str], shares: Mapping[str, float]) -> list[Target]:
    """What any claim must stand beside. `shares`: the logged policy's, of turns by model."""
    never = [
        Target(
            f"never-switch:{name}",
            settings.model_copy(update={"reference_model": name}),
            assignment=Assignment(NEVER_SWITCH, 1.0),
        )
        for name in models
    ]
    table = Target("heuristic", settings.model_copy(update={"explore_share": 0.0}), Assignment(HEURISTIC, 1.0))
    uniform = Target("uniform random", settings, reshape=lambda names: dict.fromkeys(names, 1.0 / len(names)))
    matched = Target("share-matched random", settings, reshape=lambda names: _shared(names, shares))
    return [*never, table, uniform, matched]


def _shared(names: Sequence[str], shares: Mapping[str, float]) -> dict[str, float]:
    total = sum(shares.get(name, 0.0) for name in names)
    if total <= 0.0:
        return dict.fromkeys(names, 1.0 / len(names))
    return {name: shares.get(name, 0.0) / total for name in names}
