"""Expected USD of going on with a candidate, from this turn to the end of the episode.

money = this turn at the cache's actual warmth + warm turns for the rest of the phase + a tail, until the episode
ends, at the prices of the running mix of models. Prompts grow by `prompt_growth_tokens` a turn; of the earlier
prompt the `cacheable_share` is read from the cache. Prices enter here and nowhere else, so a new price acts at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from sojourn_server.policy.registry import Model


class Rates(NamedTuple):
    """What a warm turn costs on a model or a mix of models: USD per input token by kind, and USD per reply."""

    cached_read_usd: float
    cache_write_usd: float
    reply_usd: float


class Tokens(NamedTuple):
    """What a number of warm turns needs: input tokens read from and written to the cache, and the turns themselves."""

    cached_read: float
    cache_write: float
    turns: float

    def usd(self, rate: Rates) -> float:
        """Their price."""
        cached_read_usd, cache_write_usd, reply_usd = rate
        return self.cached_read * cached_read_usd + self.cache_write * cache_write_usd + self.turns * reply_usd


NO_TOKENS = Tokens(0.0, 0.0, 0.0)


class Horizon(NamedTuple):
    """How far money looks: tokens of this turn's prompt, growth per turn, turns of the phase, cacheable share."""

    prompt_tokens: float
    prompt_growth_tokens: float
    phase_turns: float
    cacheable_share: float

    def warm_turns(self, first: float, turns: float) -> Tokens:
        """Tokens of `turns` (may be fractional; < 0 counts as 0) turns that each find the earlier prompt warm.

        With growth g, the turn that is k ahead sends P_k = P + k * g tokens, k from `first` on: of the P_(k-1) before
        it the cacheable share is read from the cache, the rest of P_k is written. The sum over k is closed.
        """
        if turns <= 0.0:
            return NO_TOKENS
        prompt, growth, _, cacheable_share = self
        prompts = turns * (prompt + first * growth)
        if turns > 1.0:
            prompts += growth * turns * (turns - 1.0) / 2.0
        read = cacheable_share * (prompts - growth * turns)
        return Tokens(read, prompts - read, turns)


def rates(model: Model, output_tokens: float) -> Rates:
    """A model's rates at a given reply length."""
    return Rates(model.cached_read_usd, model.cache_write_usd, model.output_usd * output_tokens)


def mixed_rates(rates: Sequence[Rates], shares: Sequence[float]) -> Rates:
    """Rates of a mix; shares >= 0 need not sum to 1 (all zero = equal shares). At least one part."""
    total = sum(shares)
    weights = [share / total for share in shares] if total > 0 else [1.0 / len(rates)] * len(rates)
    read = write = reply = 0.0
    for weight, (cached_read_usd, cache_write_usd, reply_usd) in zip(weights, rates, strict=True):
        read += weight * cached_read_usd
        write += weight * cache_write_usd
        reply += weight * reply_usd
    return Rates(read, write, reply)


def turn_usd(rate: Rates, *, prompt_tokens: float, warm_tokens: float) -> float:
    """USD of one turn of which `warm_tokens` (at most the prompt) are read from the cache."""
    cached_read_usd, cache_write_usd, reply_usd = rate
    warm = min(warm_tokens, prompt_tokens)
    return warm * cached_read_usd + (prompt_tokens - warm) * cache_write_usd + reply_usd


class Outlook:
    """Money from here to the end of the episode: this turn, the rest of the phase, a tail at the mix's rates."""

    def __init__(self, horizon: Horizon, mix: Rates) -> None:
        self._horizon = horizon
        self._mix = mix
        self._usual_rest = horizon.warm_turns(1.0, horizon.phase_turns - 1.0)

    def usd(self, rate: Rates, *, warm_tokens: float, turns_to_go: float) -> float:
        """USD of going on at these rates, with so many tokens warm now and so many turns (>= 1) to go."""
        horizon = self._horizon
        now_usd = turn_usd(rate, prompt_tokens=horizon.prompt_tokens, warm_tokens=warm_tokens)
        if turns_to_go <= horizon.phase_turns:
            return now_usd + horizon.warm_turns(1.0, turns_to_go - 1.0).usd(rate)
        tail = horizon.warm_turns(horizon.phase_turns, turns_to_go - horizon.phase_turns)
        return now_usd + self._usual_rest.usd(rate) + tail.usd(self._mix)


def switching_usd(rate: Rates, incumbent_warm_tokens: float, warm_tokens: float) -> float:
    """Part of a turn's USD that is paid only because this cache is colder than the incumbent's; >= 0.

    Both are tokens of this turn's prompt.
    """
    colder = incumbent_warm_tokens - warm_tokens
    dearer_usd = rate.cache_write_usd - rate.cached_read_usd
    return colder * dearer_usd if colder > 0.0 and dearer_usd > 0.0 else 0.0
