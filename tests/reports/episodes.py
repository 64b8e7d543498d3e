"""Hand-made episodes for the figures."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

from sojourn.v1 import types_pb2
from sojourn_server.evaluation.savings import Assigned
from sojourn_server.exchange.episodes import Episode, Turn
from sojourn_server.policy.draws import HEURISTIC, LEARNED, NEVER_SWITCH

NONE, LOW, MEDIUM = types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_LOW, types_pb2.SEVERITY_MEDIUM


def turns(models: str, *, errors: str = "", tools: Sequence[str] = (), forfeited_usd: float | None = 0.5) -> list[Turn]:
    """A turn a letter of `models`; "!" in `errors` is a medium error, "," a low one. Each switch forfeits money."""
    severities = {"!": MEDIUM, ",": LOW}
    made = list[Turn]()
    for i, model in enumerate(models):
        before = models[i - 1] if i else model
        made.append(
            Turn(
                tool_type=tools[i] if tools else "search",
                model=model,
                error=severities.get(errors[i : i + 1], NONE),
                stayed=None if i == 0 else model == before,
                left="" if model == before else before,
                forfeited_usd=None if model == before else forfeited_usd,
            )
        )
    return made


def episode(models: str = "aa", score: float | None = 1.0, **changes: Any) -> Episode:
    """An ended episode that the policy served; arguments of `turns` shape its turns."""
    shaped = {name: changes.pop(name) for name in ("errors", "tools", "forfeited_usd") if name in changes}
    given = {"ended": True, "is_control": False, "imported": False, "cost_usd": 1.0, "assigned": None}
    return Episode("e", 1_000, score=score, turns=tuple(turns(models, **shaped)), **{**given, **changes})


def history(count: int, seed: int = 1) -> list[Episode]:
    """A service's episodes, in which the policy learns, specialises and has control cohorts."""
    random, made = Random(seed), list[Episode]()
    for i in range(count):
        cohort = random.choices((LEARNED, HEURISTIC, NEVER_SWITCH), (8, 1, 1))[0]
        learned = cohort == LEARNED
        tools = [random.choice(("search", "code", "reasoning")) for _ in range(8)]
        models = "".join("a" if tool == "search" or random.random() < 0.2 else "b" for tool in tools)
        errors = "".join(random.choice("    !,") for _ in tools)
        score = float(random.random() < (0.4 + 0.5 * i / count if learned else 0.5))
        cost = random.uniform(0.1, 0.2) if learned else random.uniform(0.4, 0.5)
        assigned = Assigned(cohort, f"k{i}", (1, "t"), score, cost)
        made.append(
            episode(
                models if learned else "bbbbbbbb",
                score,
                errors=errors,
                tools=tools,
                is_control=not learned,
                cost_usd=cost,
                assigned=assigned,
            )
        )
    return made
