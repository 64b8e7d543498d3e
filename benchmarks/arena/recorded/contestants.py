"""Who chooses once an episode: the arena's single-turn rivals and the product, all with the same features.

A learner is taught the chosen model's utility when the episode is over. "+import" behind a name: it has learned every
outcome of other tasks before its first choice. Settings of Sojourn are changed behind a "?", as in the arena.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from benchmarks.arena.policies.bandits import Knn, LinearThompson, LinUcb
from benchmarks.arena.policies.features import Context, Encoder
from benchmarks.arena.policies.learning import Bandit, Turn
from benchmarks.arena.recorded.product import RecordedSojourn, settings
from benchmarks.arena.recorded.tables import Item, Outcome, Table, best_by_kind, best_single
from benchmarks.arena.sojourn import changed
from sojourn.v1 import types_pb2
from sojourn_server.config import HeuristicSettings
from sojourn_server.demo.play import TurnView
from sojourn_server.demo.tokens import Prices
from sojourn_server.policy import heuristic
from sojourn_server.policy.registry import Model
from sojourn_server.world import model_terms

IMPORT = "+import"
DONOR = "sojourn-cold"  # whose shares "random-matched" has
EXPLORATION = 0.1  # of LinUCB (alpha) and Thompson (assumed noise): the spread of a judge's reward, not tuned
PARETO_ALPHA, PARETO_FORGETTING = 0.05, 0.997  # the package's published settings for a cold start on these prompts

LIGHT = "cost_weight=1&lesson.prior.events=250&lesson.prior.gap=0.05&lesson.prior.turns=1"
ALIASES = {"sojourn-warm-light": f"sojourn-warm?{LIGHT}", "sojourn-cold-sharp": "sojourn-cold?prior_width=0.02"}
"""Chosen on other orders of half of ParetoBandit's prompts; they are what a lighter prior and less exploration do."""


class Contestant(Protocol):
    """Chooses a model for an item, then learns what that came to."""

    def choose(self, item: Item) -> str:
        """One of the table's models."""

    def learn(self, item: Item, model: str, outcome: Outcome) -> None:
        """The episode is over."""


class Case(NamedTuple):
    """What a contestant is made for. `imported` and `shares` (of the donor's choices) are empty where not asked for."""

    table: Table
    cost_weight: float
    seed: int
    imported: Sequence[Item] = ()
    shares: Mapping[str, float] = {}


class Fixed:
    """Choices that are known beforehand, by item."""

    def __init__(self, choice_of: Callable[[Item], str]) -> None:
        self._choice_of = choice_of

    def choose(self, item: Item) -> str:
        """The known choice."""
        return self._choice_of(item)

    def learn(self, item: Item, model: str, outcome: Outcome) -> None:
        """Nothing to do."""


class Learner:
    """A bandit of the arena, asked once an episode."""

    def __init__(self, bandit: Bandit, case: Case) -> None:
        self._bandit = bandit
        self._models = case.table.model_names
        self._cost_weight = case.cost_weight
        for item in case.imported:
            for model, outcome in item.outcomes.items():
                self.learn(item, model, outcome)

    def choose(self, item: Item) -> str:
        """The bandit's pick."""
        return self._bandit.pick(_context(item.context), self._models)

    def learn(self, item: Item, model: str, outcome: Outcome) -> None:
        """Teaches the utility; unknown money counts as none, which `Table.utilities` allows at cost weight 0 only."""
        usd = outcome.usd or 0.0
        turn = Turn(_context(item.context), model, "NONE", usd)
        self._bandit.learn([turn], outcome.score - self._cost_weight * usd)


def _context(context: types_pb2.Context) -> Context:
    view = TurnView(
        task_type=context.task_type,
        turn_index=0,
        tool_type=context.tool_type,
        prompt_tokens=context.prompt_tokens,
        error_count=0,
        last_error="NONE",
        features=context.features,
    )
    return Context(view, None)


def make(name: str, case: Case) -> Contestant:
    """A contestant by its name. Raises KeyError for a name that nobody has."""
    name = name.removesuffix(IMPORT)
    name = ALIASES.get(name, name)
    base, _, query = name.partition("?")
    if base.startswith("never-switch:"):
        return Fixed(lambda item: base.removeprefix("never-switch:"))
    if base in _BASES:
        policy = changed(settings(case.table, cost_weight=case.cost_weight, **_BASES[base]), query)
        return RecordedSojourn(case.table, policy, cost_weight=case.cost_weight, seed=case.seed, imported=case.imported)
    return Learner(_BANDITS[base](case), case) if base in _BANDITS else Fixed(_KNOWN[base](case))


_BASES: dict[str, dict[str, Any]] = {"sojourn-warm": {}, "sojourn-cold": {"warm": False}}


def _encoder(table: Table) -> Encoder:
    return Encoder(table.model_names, task_types=table.task_types, tool_types=table.kinds, numbers=table.numbers)


def _pareto(case: Case) -> Bandit:
    from benchmarks.arena.policies.pareto import ParetoRouter  # heavy to import

    logging.getLogger("pareto_bandit").setLevel(logging.ERROR)
    prices = {model.name: Prices(model.input_usd_per_mtok, model.output_usd_per_mtok) for model in case.table.models}
    low = min(float(case.table.utilities(case.cost_weight).min()), -1.0)
    return ParetoRouter(
        _encoder(case.table), prices, seed=case.seed, alpha=PARETO_ALPHA, forgetting=PARETO_FORGETTING, reward_low=low
    )


_BANDITS: dict[str, Callable[[Case], Bandit]] = {
    "linucb": lambda case: LinUcb(_encoder(case.table), alpha=EXPLORATION),
    "thompson": lambda case: LinearThompson(_encoder(case.table), seed=case.seed, scale=EXPLORATION),
    "knn": lambda case: Knn(_encoder(case.table), seed=case.seed),
    "paretobandit": _pareto,
}


def _drawn(shares: Mapping[str, float], seed: int) -> Callable[[Item], str]:
    """A model drawn for each item, with given shares."""
    random, models = np.random.default_rng(seed), list(shares)
    return lambda item: models[int(random.choice(len(models), p=list(shares.values())))]


def _uniform(case: Case) -> Callable[[Item], str]:
    names = case.table.model_names
    return _drawn(dict.fromkeys(names, 1.0 / len(names)), case.seed)


def _tabled(case: Case) -> Callable[[Item], str]:
    """The heuristic's table alone."""
    models = [Model.of(model_terms(model)) for model in case.table.models]
    rule: HeuristicSettings = settings(case.table, cost_weight=0.0).choice.heuristic
    return lambda item: heuristic.choose(rule, models, kind=item.context.tool_type).name


def _by_place(case: Case, places: Sequence[int]) -> Callable[[Item], str]:
    named = {item.name: case.table.model_names[place] for item, place in zip(case.table.items, places, strict=True)}
    return lambda item: named[item.name]


def _oracle(case: Case) -> Callable[[Item], str]:
    """The best model of each item: what no router can know."""
    return _by_place(case, case.table.utilities(case.cost_weight).argmax(axis=1).tolist())


def _kind_oracle(case: Case) -> Callable[[Item], str]:
    """The best model of each kind, in hindsight over the whole table."""
    kinds = [item.context.tool_type for item in case.table.items]
    return _by_place(case, best_by_kind(case.table.utilities(case.cost_weight), kinds).tolist())


def _best_of_import(case: Case) -> Callable[[Item], str]:
    """The one model that was best on what is imported."""
    seen = {item.name for item in case.imported}
    rows = [place for place, item in enumerate(case.table.items) if item.name in seen]
    best = case.table.model_names[best_single(case.table.utilities(case.cost_weight)[rows])]
    return lambda item: best


_KNOWN: dict[str, Callable[[Case], Callable[[Item], str]]] = {
    "random": _uniform,
    "random-matched": lambda case: _drawn(case.shares, case.seed),
    "heuristic": _tabled,
    "kind-oracle": _kind_oracle,
    "oracle": _oracle,
    "best-single": _best_of_import,
}
