from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn_server.demo.models import MODELS
from sojourn_server.demo.tokens import CACHEABLE_SHARE, PROMPTS, Prices, TurnSpend, WarmCaches, spend

CACHED = Prices(1.25, 10.0, 0.1, ttl_s=300.0)
UNCACHED = Prices(1.25, 10.0)

tokens = st.integers(0, 100_000)
prices = st.sampled_from([model.prices for model in MODELS])


@given(prices=prices, prompt=tokens, output=tokens, warm=tokens, incumbent=tokens)
def test_money_is_the_sum_of_its_parts_and_tokens_are_the_prompt(
    prices: Prices, prompt: int, output: int, warm: int, incumbent: int
):
    spent = _spend(prices, prompt, output, warm=warm, incumbent=incumbent)
    assert spent.usd == spent.fresh_usd + spent.read_usd + spent.output_usd
    assert spent.input_tokens + spent.cached_read_tokens + spent.cache_write_tokens == prompt
    by_list = (
        (spent.input_tokens + spent.cache_write_tokens + spent.cached_read_tokens * prices.read_multiplier)
        * prices.input_usd_per_mtok
        + spent.output_tokens * prices.output_usd_per_mtok
    ) / 1e6
    assert spent.usd == pytest.approx(by_list)


@given(prompt=st.integers(1, 100_000), warm=tokens, warmer=tokens)
def test_a_warmer_turn_is_never_dearer_and_a_warm_one_is_cheaper_than_a_cold_one(prompt: int, warm: int, warmer: int):
    warm, warmer = sorted((warm, warmer))
    dearer, cheaper = _spend(CACHED, prompt, 100, warm=warm), _spend(CACHED, prompt, 100, warm=warmer)
    assert cheaper.usd <= dearer.usd + 1e-12
    if warmer > 0:
        assert cheaper.usd < _spend(CACHED, prompt, 100, warm=0).usd


@given(prices=prices, prompt=tokens, warm=tokens, incumbent=tokens)
def test_the_forfeited_money_is_the_difference_to_a_cache_as_warm_as_the_incumbent_s(
    prices: Prices, prompt: int, warm: int, incumbent: int
):
    spent = _spend(prices, prompt, 0, warm=warm, incumbent=incumbent)
    as_warm = _spend(prices, prompt, 0, warm=max(warm, incumbent))
    assert spent.forfeited_usd == pytest.approx(spent.usd - as_warm.usd)


def test_a_provider_without_a_cache_forfeits_nothing_and_reads_nothing():
    spent = _spend(UNCACHED, 1000, 0, warm=900, incumbent=900)
    assert (spent.input_tokens, spent.cached_read_tokens, spent.forfeited_usd) == (1000, 0, 0.0)


def test_a_cache_is_warm_until_its_time_to_live_has_passed():
    caches = WarmCaches()
    caches.served("a", CACHED, prompt_tokens=1000, now_s=10.0)
    assert caches.warm_tokens("a", 309.9) == int(1000 * CACHEABLE_SHARE)
    assert caches.warm_tokens("a", 310.0) == 0
    assert caches.warm_tokens("b", 10.0) == 0


@pytest.mark.parametrize("shape", PROMPTS.values(), ids=PROMPTS.keys())
def test_prompts_grow_from_their_base_to_their_limit(shape):
    lengths = [shape.prompt_tokens(turn) for turn in range(200)]
    assert lengths == sorted(lengths)
    assert (lengths[0], lengths[-1]) == (shape.base_tokens, shape.limit_tokens)


def _spend(prices: Prices, prompt: int, output: int, *, warm: int, incumbent: int = 0) -> TurnSpend:
    return spend(prices, prompt_tokens=prompt, output_tokens=output, warm_tokens=warm, incumbent_warm_tokens=incumbent)
