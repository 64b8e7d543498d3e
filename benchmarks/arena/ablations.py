"""Sojourn with one thing taken away, or put in another's place, to see what that thing is worth.

Each is the product's own code, learner included, but for one of these: what the router is shown of a turn (a function
from `Turn` to `Turn`, applied before the choice and kept in the record, so that the lesson sees the same), a choice
setting, or what the caller says. A name may carry a size behind a colon: "sojourn-flat:0.03".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Any, NamedTuple

from benchmarks.arena.sojourn import Sojourn
from sojourn.messages import TurnInputs
from sojourn.v1 import types_pb2
from sojourn_server.demo.models import luck
from sojourn_server.demo.play import Task, TurnFacts, TurnView
from sojourn_server.demo.tokens import CACHEABLE_SHARE
from sojourn_server.policy.distribution import UNIT
from sojourn_server.policy.draws import uniform
from sojourn_server.policy.turn import Offer, Turn
from sojourn_server.router import Router

Sees = Callable[[Turn], Turn]
COST_WEIGHTS = (0.0, 0.25, 0.5, 1.0, 2.0, 4.0)  # score per USD


class SeeingRouter(Router):
    """A router that is shown turns otherwise than they are."""

    def __init__(self, *args: Any, sees: Sees, **kwargs: Any) -> None:
        """`sees` gives the turn as it is shown; the rest is a router's."""
        super().__init__(*args, **kwargs)
        self._sees = sees

    def _see(self, *args: Any, **kwargs: Any) -> Turn:
        return self._sees(super()._see(*args, **kwargs))


def every_turn(turn: Turn) -> Turn:
    """Each turn is a decision point, as if the incumbent's cache had expired; what is warm stays as it is.

    No phase is bound to the model that served it before.
    """
    return turn._replace(incumbent_cache_expired=True, phase_model="")


def fresh_draw(turn: Turn) -> Turn:
    """Exploration is drawn anew at each decision point, not once per episode and phase."""
    draw = uniform(b"arena", "turn", turn.request.episode_id, str(turn.request.turn_index))
    return turn._replace(draw=draw, surviving=UNIT, phase_model="")


def blind_to_warmth(turn: Turn) -> Turn:
    """Every candidate's cache looks as warm as that of one who has just served, so money sees no price of a switch."""
    warm = CACHEABLE_SHARE * turn.prompt_tokens if turn.incumbent else 0.0
    return turn._replace(offers=tuple(_warmed(offer, warm) for offer in turn.offers))


def _warmed(offer: Offer, tokens: float) -> Offer:
    return offer._replace(warm_tokens=tokens) if offer.model.has_cache else offer


def without_errors(turn: Turn) -> Turn:
    """No feature tells of errors; the credit of a turn still counts them."""
    return turn._replace(error_count=0, last_error=types_pb2.SEVERITY_UNSPECIFIED)


def both(first: Sees, second: Sees) -> Sees:
    """One after the other."""
    return lambda turn: second(first(turn))


class Budgeted(Sojourn):
    """Tells the router before each turn what is left of the episode's budget (`constraints.remaining_budget_usd`)."""

    def __init__(self, *args: Any, budget_usd: float, **kwargs: Any) -> None:
        """`budget_usd` > 0 is for one episode; the rest is Sojourn's."""
        super().__init__(*args, **kwargs)
        self._budget_usd = budget_usd
        self._left_usd = budget_usd  # of the episode under way; owner: play()

    def begin(self, task: Task) -> None:
        """The whole budget is left."""
        super().begin(task)
        self._left_usd = self._budget_usd

    def inputs(self, view: TurnView) -> TurnInputs:
        """What is left goes with each turn."""
        return {**super().inputs(view), "remaining_budget_usd": max(self._left_usd, 0.0)}

    def observe(self, facts: TurnFacts) -> None:
        """Takes the turn's money off."""
        super().observe(facts)
        self._left_usd -= facts.spend.usd


class MixedWeights(Sojourn):
    """One policy whose callers value money differently: each episode's requests carry a cost weight of its own."""

    def begin(self, task: Task) -> None:
        """Draws the weight."""
        super().begin(task)
        self.cost_weight = cost_weight_of(task)


def cost_weight_of(task: Task) -> float:
    """The weight, one of COST_WEIGHTS, that the mixed policy meets in a task; each equally likely."""
    drawn = luck(seed=task.seed, task=task.index, turn=0, model="the cost weight").how
    return COST_WEIGHTS[int(drawn * len(COST_WEIGHTS))]


class Variant(NamedTuple):
    """How a variant of Sojourn is made: its chooser, keywords of `sojourn.settings`, and choice settings to change."""

    make: Callable[..., Sojourn] = Sojourn
    base: Mapping[str, Any] = MappingProxyType({})
    choice: Mapping[str, Any] = MappingProxyType({})


def _seeing(sees: Sees, **choice: float) -> Variant:
    return Variant(partial(Sojourn, make_router=partial(SeeingRouter, sees=sees)), choice=choice)


_HEURISTIC = {"mode": "HEURISTIC"}

PLAIN = {
    "sojourn-warm": Variant(),
    "sojourn-cold": Variant(base={"warm": False}),
    "heuristic": Variant(base=_HEURISTIC),
    "sojourn-every-turn": _seeing(every_turn),
    "sojourn-fresh-draws": _seeing(fresh_draw),
    "sojourn-every-turn-fresh-draws": _seeing(both(every_turn, fresh_draw)),
    "sojourn-no-switch-price": _seeing(blind_to_warmth, friction=0.0),
    "sojourn-free": _seeing(every_turn, friction=0.0),
    "sojourn-no-errors": _seeing(without_errors),
    "sojourn-mixed-weights": Variant(MixedWeights),
}
"""Variants by name. "sojourn-free" has nothing imposed on it: what it does of switches, the policy chose."""

SIZED: dict[str, Callable[[float], Variant]] = {
    "sojourn-flat": lambda penalty: _seeing(blind_to_warmth, friction=penalty),
    "sojourn-budget": lambda usd: Variant(partial(Budgeted, budget_usd=usd)),
    "heuristic-budget": lambda usd: Variant(partial(Budgeted, budget_usd=usd), _HEURISTIC),
}
"""Variants with a size: a flat penalty of each switch, in score, in place of prices; USD that an episode may spend."""


def variant(name: str) -> Variant | None:
    """A variant by its name, with its size behind a colon where it has one; None if there is no such variant."""
    base, _, size = name.partition(":")
    return SIZED[base](float(size)) if size and base in SIZED else PLAIN.get(name)
