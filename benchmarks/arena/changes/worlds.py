"""What changes in a world: prices, skills, the roster of models, what callers want, or how outcomes arrive.

A change of the roster, or of the cost weight that callers ask for, happens between two episodes. Whether a router is
told follows from what its registry can show: prices, withdrawals and arrivals are told, skills are not. A fault of
outcomes lasts from the first episode.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import NamedTuple

from benchmarks.arena.environments import Environment
from benchmarks.arena.tables import COST_WEIGHT
from sojourn_server.demo.models import ScriptedModel
from sojourn_server.demo.play import Task

Roster = tuple[ScriptedModel, ...]

STRONGEST, MOST_USED, SPECIALIST = "scripted-large-a", "scripted-medium-b", "scripted-small-e"
NEWCOMER = "scripted-new-g"
BETTER_SKILL = 0.95


class Fault(NamedTuple):
    """What happens to outcomes: episodes of delay, and the shares in [0, 1] that get lost or are turned around."""

    delay_episodes: int = 0
    lost_share: float = 0.0
    poisoned_share: float = 0.0


def _same(roster: Roster) -> Roster:
    return roster


@dataclass(frozen=True)
class Change:
    """One change. `alter` gives the new roster; `watched` finds, in it, the model that is now worth using.

    `cost_weight` (score per USD) is what callers ask for from then on, and what values the episodes.
    """

    name: str
    alter: Callable[[Roster], Roster] = _same
    fault: Fault | None = None
    cost_weight: float = COST_WEIGHT
    watched: Callable[[Roster], str] | None = None

    @property
    def is_asked(self) -> bool:
        """Whether callers ask for another cost weight."""
        return self.cost_weight != COST_WEIGHT

    def after(self, environment: Environment) -> Environment:
        """The environment once it has changed, under a name of its own."""
        models = self.alter(environment.models)
        by_name = {model.name: model for model in models}

        def tasks(count: int, seed: int) -> list[Task]:
            made = environment.make_tasks(count, seed)
            return [replace(task, level=replace(task.level, models=by_name)) for task in made]

        return replace(environment, name=f"{environment.name}/changes/{self.name}", models=models, make_tasks=tasks)


def priced(name: str, factor: float) -> Callable[[Roster], Roster]:
    """Multiplies both list prices of a model."""

    def alter(model: ScriptedModel) -> ScriptedModel:
        old = model.prices
        new = replace(
            old,
            input_usd_per_mtok=old.input_usd_per_mtok * factor,
            output_usd_per_mtok=old.output_usd_per_mtok * factor,
        )
        return replace(model, prices=new)

    return lambda roster: tuple(alter(m) if m.name == name else m for m in roster)


def degraded(name: str) -> Callable[[Roster], Roster]:
    """In the phase that a model is best at it gets as bad as in the one that it is worst at."""

    def alter(model: ScriptedModel) -> ScriptedModel:
        best = max(model.skills, key=model.skills.__getitem__)
        return replace(model, skills={**model.skills, best: min(model.skills.values())})

    return lambda roster: tuple(alter(m) if m.name == name else m for m in roster)


def withdrawn(name: str) -> Callable[[Roster], Roster]:
    """Takes a model away."""
    return lambda roster: tuple(m for m in roster if m.name != name)


def _skilled(model: ScriptedModel) -> ScriptedModel:
    return replace(model, skills=dict.fromkeys(model.skills, BETTER_SKILL))


def arrived(roster: Roster) -> Roster:
    """Adds a model that is good at everything, on the terms of the most used one."""
    like = next(m for m in roster if m.name == MOST_USED)
    return (*roster, replace(_skilled(like), name=NEWCOMER, priced_like=f"{like.priced_like}, made up"))


def least_special(roster: Roster) -> str:
    """The model whose best skill is the lowest: nobody has a reason to use it."""
    return min(roster, key=lambda model: max(model.skills.values())).name


def improved(roster: Roster) -> Roster:
    """The model that nobody uses gets good at everything; nobody is told."""
    name = least_special(roster)
    return tuple(_skilled(m) if m.name == name else m for m in roster)


def most_skilled(roster: Roster) -> str:
    """The model whose worst skill is the highest."""
    return max(roster, key=lambda model: min(model.skills.values())).name


CHANGES = {
    change.name: change
    for change in (
        Change("none"),
        Change("price-doubles", priced(STRONGEST, 2.0)),
        Change("price-halves", priced(STRONGEST, 0.5)),
        Change("degrades", degraded(MOST_USED)),
        Change("arrives", arrived, watched=most_skilled),
        Change("withdrawn", withdrawn(SPECIALIST)),
        Change("improves", improved, watched=most_skilled),
        Change("cost-weight-quadruples", cost_weight=4.0 * COST_WEIGHT),
        Change("cost-weight-quarters", cost_weight=0.25 * COST_WEIGHT),
        Change("late", fault=Fault(delay_episodes=100)),
        Change("lost", fault=Fault(lost_share=0.20)),
        Change("poisoned", fault=Fault(poisoned_share=0.05)),
    )
}
"""All changes by name. Under "none" it shows how far a policy had learned anyway, beside who knows the old world."""
