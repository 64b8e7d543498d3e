"""ParetoBandit, the package itself (PyPI `paretobandit`, Apache-2.0), behind the arena's bandit.

A LinUCB with geometric forgetting and a cost penalty (Taberner-Miller, "ParetoBandit: Budget-Paced Adaptive Routing
for Non-Stationary LLM Serving"). It gets the shared vector as a precomputed embedding, no warm-up priors, since
those belong to its own embedding, and the same reward as the others; so its own penalty for list prices is off by
default, else money would count twice.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pareto_bandit import BanditRouter, FeatureService, RouterConfig

from benchmarks.arena.policies.features import Context, Encoder
from benchmarks.arena.policies.learning import Turn
from sojourn_server.demo.tokens import Prices

REWARD_LOW, REWARD_HIGH = -1.0, 1.0


class ParetoRouter:
    """The package's router, asked with vectors."""

    def __init__(
        self,
        encoder: Encoder,
        prices: Mapping[str, Prices],
        *,
        seed: int,
        alpha: float = 0.01,
        forgetting: float = 0.997,
        cost_penalty: float = 0.0,
        reward_low: float = REWARD_LOW,
    ) -> None:
        """`alpha` (exploration) and `forgetting` (per decision) default to the package's own. `seed` >= 0.

        Utilities below `reward_low` (<= -1) or above 1 are clipped; the package learns in whatever scale it is given.
        """
        self._reward_low = reward_low
        self._encoder = encoder
        self._registry = {model: _registered(prices[model]) for model in encoder.models}
        self._router = BanditRouter.create(
            model_registry=self._registry,
            priors="none",
            feature_service=FeatureService.for_precomputed(encoder.size),
            bandit_seed=seed,
            config=RouterConfig(reward_min=reward_low, reward_max=REWARD_HIGH),
            cost_penalty=cost_penalty,
            alpha=alpha,
            forgetting_factor=forgetting,
        )

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        """The package's choice; its registry is what is offered."""
        self._router.registry = {model: self._registry[model] for model in offered}
        model, _ = self._router.route(self._encoder.encode(context), input_tokens=context.view.prompt_tokens)
        return model

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        """Feedback for each turn, as the package gives it for a request: its clock went on when it was asked."""
        reward = min(max(utility, self._reward_low), REWARD_HIGH)
        for turn in turns:
            self._router.update(turn.model, self._encoder.encode(turn.context), reward, advance_time=False)


def _registered(prices: Prices) -> dict[str, float]:
    return {"input_cost_per_m": prices.input_usd_per_mtok, "output_cost_per_m": prices.output_usd_per_mtok}
