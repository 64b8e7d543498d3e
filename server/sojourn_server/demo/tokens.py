"""Tokens and money of a turn: a made-up prompt that grows, and a prompt cache by the provider's terms.

The prompt of turn t has min(base + t * growth, limit) tokens. A model that served the prompt keeps the cacheable
share of it warm for its time to live; a later turn reads that much from the cache and writes the rest. Providers
without a cache charge every input token in full. What a switch forfeits is the difference to the same turn on the
same model, had its cache been as warm as the incumbent's; it is a part of the turn's money, shown apart.
"""

from __future__ import annotations

from dataclasses import dataclass

CACHEABLE_SHARE = 0.9  # vendors' own figures are 0.77 to 0.91


@dataclass(frozen=True)
class Prices:
    """List prices in USD per million tokens; multipliers are of the input price. `ttl_s` 0 = no prompt cache."""

    input_usd_per_mtok: float
    output_usd_per_mtok: float
    read_multiplier: float = 1.0
    write_multiplier: float = 1.0
    ttl_s: float = 0.0


@dataclass(frozen=True)
class PromptShape:
    """How long prompts are, in tokens: at the first turn, more per turn, and at most."""

    base_tokens: int
    growth_tokens: int
    limit_tokens: int

    def prompt_tokens(self, turn_index: int) -> int:
        """Length of the prompt of a turn (from 0)."""
        return min(self.base_tokens + turn_index * self.growth_tokens, self.limit_tokens)


PROMPTS = {"small": PromptShape(1_500, 110, 8_000), "large": PromptShape(8_000, 880, 60_000)}


@dataclass(frozen=True)
class TurnSpend:
    """Tokens of one turn by kind, and their money in USD. `forfeited_usd` is contained in the other three."""

    input_tokens: int
    cached_read_tokens: int
    cache_write_tokens: int
    output_tokens: int
    fresh_usd: float
    read_usd: float
    output_usd: float
    forfeited_usd: float

    @property
    def usd(self) -> float:
        """All money of the turn."""
        return self.fresh_usd + self.read_usd + self.output_usd


def spend(
    prices: Prices, *, prompt_tokens: int, output_tokens: int, warm_tokens: int, incumbent_warm_tokens: int = 0
) -> TurnSpend:
    """Money of a turn of which `warm_tokens` are read from the model's cache (token counts >= 0)."""
    has_cache = prices.ttl_s > 0
    read = min(warm_tokens, prompt_tokens) if has_cache else 0
    fresh = prompt_tokens - read
    token_usd = prices.input_usd_per_mtok / 1e6
    fresh_usd = token_usd * (prices.write_multiplier if has_cache else 1.0)
    read_usd = token_usd * prices.read_multiplier
    forfeited = max(min(incumbent_warm_tokens, prompt_tokens) - read, 0) if has_cache else 0
    return TurnSpend(
        input_tokens=0 if has_cache else fresh,
        cached_read_tokens=read,
        cache_write_tokens=fresh if has_cache else 0,
        output_tokens=output_tokens,
        fresh_usd=fresh * fresh_usd,
        read_usd=read * read_usd,
        output_usd=output_tokens * prices.output_usd_per_mtok / 1e6,
        forfeited_usd=forfeited * max(fresh_usd - read_usd, 0.0),
    )


class WarmCaches:
    """What lies warm in each model's cache during one episode, by the caller's clock in seconds."""

    def __init__(self) -> None:
        """Nothing is warm."""
        self._warm: dict[str, tuple[int, float]] = {}  # model -> tokens, time of expiry; owner: this object

    def warm_tokens(self, model: str, now_s: float) -> int:
        """Tokens of the prompt's beginning that are warm at the model now."""
        tokens, expires_at_s = self._warm.get(model, (0, 0.0))
        return tokens if now_s < expires_at_s else 0

    def served(self, model: str, prices: Prices, *, prompt_tokens: int, now_s: float) -> None:
        """Notes that the model has just served a prompt."""
        self._warm[model] = (int(prompt_tokens * CACHEABLE_SHARE), now_s + prices.ttl_s)
