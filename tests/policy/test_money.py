"""Laws of money: warm is cheaper than cold, the closed form is the sum turn by turn, prices act at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sojourn.v1 import types_pb2
from sojourn_server.policy.money import Horizon, Outlook, Rates, Tokens, mixed_rates, rates, switching_usd, turn_usd
from sojourn_server.policy.registry import Model
from tests.policy.play import Play, asked, default_registry, model, models

usd_per_token = st.floats(0, 1e-4)
tokens = st.floats(0, 200_000)
turns = st.integers(1, 60)


@st.composite
def any_rates(draw: st.DrawFn) -> Rates:
    """Rates at which a cached token never costs more than one that is written."""
    write = draw(usd_per_token)
    return Rates(write * draw(st.floats(0, 1)), write, draw(usd_per_token) * draw(st.floats(0, 10_000)))


@st.composite
def horizons(draw: st.DrawFn) -> Horizon:
    return Horizon(draw(tokens), draw(st.floats(0, 5_000)), float(draw(turns)), draw(st.floats(0, 1)))


def turn_by_turn(rate: Rates, tail: Rates, horizon: Horizon, *, warm_tokens: float, turns_to_go: int) -> float:
    """The same money as an explicit sum: this turn, then each later turn with the earlier prompt warm."""
    prompt, growth, sojourn, share = horizon
    usd = turn_usd(rate, prompt_tokens=prompt, warm_tokens=warm_tokens)
    for ahead in range(1, turns_to_go):
        served_by = rate if ahead < sojourn else tail
        warm = share * (prompt + (ahead - 1) * growth)
        usd += turn_usd(served_by, prompt_tokens=prompt + ahead * growth, warm_tokens=warm)
    return usd


@given(any_rates(), any_rates(), horizons(), tokens, turns)
def test_the_closed_form_equals_the_sum_turn_by_turn(
    rate: Rates, tail: Rates, horizon: Horizon, warm_tokens: float, turns_to_go: int
):
    closed = Outlook(horizon, tail).usd(rate, warm_tokens=warm_tokens, turns_to_go=turns_to_go)
    explicit = turn_by_turn(rate, tail, horizon, warm_tokens=warm_tokens, turns_to_go=turns_to_go)
    assert closed == pytest.approx(explicit, rel=1e-9, abs=1e-12)


@given(any_rates(), tokens, tokens, tokens)
def test_a_warmer_cache_never_costs_more(rate: Rates, prompt: float, warm: float, warmer_by: float):
    cold = turn_usd(rate, prompt_tokens=prompt, warm_tokens=warm)
    assert turn_usd(rate, prompt_tokens=prompt, warm_tokens=warm + warmer_by) <= cold + 1e-12


@given(any_rates(), horizons(), tokens, st.floats(1, 60), st.floats(0, 10))
def test_a_longer_way_to_go_never_costs_less(
    rate: Rates, horizon: Horizon, warm: float, turns_to_go: float, more: float
):
    outlook = Outlook(horizon, rate)
    shorter, longer = (outlook.usd(rate, warm_tokens=warm, turns_to_go=t) for t in (turns_to_go, turns_to_go + more))
    assert longer >= shorter - 1e-9


@given(any_rates(), tokens, tokens, tokens)
def test_the_switching_cost_is_what_a_colder_cache_adds_to_the_turn(
    rate: Rates, prompt: float, warm: float, incumbent_warm: float
):
    """Never negative; zero where this cache is as warm as the incumbent's."""
    warm, incumbent_warm = min(prompt, warm), min(prompt, incumbent_warm)
    actual = turn_usd(rate, prompt_tokens=prompt, warm_tokens=warm)
    as_warm = turn_usd(rate, prompt_tokens=prompt, warm_tokens=incumbent_warm)
    assert switching_usd(rate, incumbent_warm, warm) == pytest.approx(max(actual - as_warm, 0.0), abs=1e-12)


def test_a_turn_costs_what_a_bill_would_say():
    """1 USD in, cached .1, out 4 per million: 6,000 warm, 2,000 cold, 500 out = .0006 + .002 + .002."""
    rate = rates(Model.of(model("a")), 500)
    assert turn_usd(rate, prompt_tokens=8_000, warm_tokens=6_000) == pytest.approx(0.0046)


def test_a_model_without_a_cache_pays_the_full_price_for_every_token():
    bare = types_pb2.Model(name="a", input_usd_per_mtok=2.0)
    rate = rates(Model.of(bare), 0)
    assert (rate.cached_read_usd, rate.cache_write_usd) == (2e-6, 2e-6)


def test_a_mix_costs_the_average_of_its_parts_by_share():
    parts = [Rates(1.0, 2.0, 30.0), Rates(3.0, 6.0, 50.0)]
    assert mixed_rates(parts, [1.0, 3.0]) == pytest.approx((2.5, 5.0, 45.0))
    assert mixed_rates(parts, [0.0, 0.0]) == pytest.approx((2.0, 4.0, 40.0))


def test_no_turns_cost_nothing():
    assert Horizon(8_000.0, 500.0, 6.0, 0.9).warm_turns(1.0, 0.0) == Tokens(0.0, 0.0, 0.0)


# --- As the choice uses it ---

PAIR = models(model("a"), model("b"))
PROMPT_TOKENS = 40_000


def _second_turn(play: Play) -> dict[str, tuple[float, float]]:
    """(USD, switching USD) by model at a phase change after one turn on the incumbent."""
    play.ask(0, tool_type="search", prompt_tokens=PROMPT_TOKENS)
    choice = play.choose(asked(1, tool_type="code", prompt_tokens=PROMPT_TOKENS))
    appraised = zip(choice.offers, choice.appraisals, strict=True)
    return {o.model.name: (a.cost_usd, a.switching_cost_usd) for o, a in appraised if a}


def test_leaving_a_warm_incumbent_costs_its_forfeited_cache():
    """The cacheable share of the prompt at the difference between a written and a cached token."""
    play = Play(registry=PAIR)
    costs = _second_turn(play)
    incumbent = play.episode.now.incumbent
    (other,) = set(costs) - {incumbent}
    forfeited_usd = 0.9 * PROMPT_TOKENS * (1.0 - 0.1) / 1e6
    assert costs[incumbent][1] == 0.0
    assert costs[other][1] == pytest.approx(forfeited_usd)


def test_going_back_to_a_cache_that_is_still_warm_is_not_paid_again():
    play = Play(registry=PAIR)
    first = play.ask(0, tool_type="search", prompt_tokens=PROMPT_TOKENS).model
    (second,) = {"a", "b"} - {first}
    play.ask(1, tool_type="code", prompt_tokens=PROMPT_TOKENS, candidates=[types_pb2.Candidate(model=second)])
    back = play.choose(asked(2, tool_type="plan", prompt_tokens=PROMPT_TOKENS))
    costs = {o.model.name: a.switching_cost_usd for o, a in zip(back.offers, back.appraisals, strict=True) if a}
    assert play.episode.now.incumbent == second
    assert costs == {first: 0.0, second: 0.0}


@pytest.mark.parametrize("turn_index", [0, 1])
def test_no_switching_cost_is_negative_and_the_incumbents_is_zero(turn_index: int):
    play = Play(registry=default_registry())
    for t in range(turn_index):
        play.ask(t, tool_type="search", prompt_tokens=PROMPT_TOKENS)
    choice = play.choose(asked(turn_index, tool_type="code", prompt_tokens=PROMPT_TOKENS))
    for offer, appraisal in zip(choice.offers, choice.appraisals, strict=True):
        assert appraisal is not None
        assert appraisal.switching_cost_usd >= 0.0
        if offer.model.name == play.episode.now.incumbent:
            assert appraisal.switching_cost_usd == 0.0


def test_a_new_price_acts_on_the_next_choice_without_relearning():
    """The same knowledge, ten times the price: a costs ten times as much where it serves alone, b stays the same."""
    request = asked(prompt_tokens=PROMPT_TOKENS, expected_output_tokens=100)
    dear = models(model("a", input_usd_per_mtok=10.0, output_usd_per_mtok=40.0), model("b"))
    alike, changed = (Play(registry=r).choose(request).appraisals for r in (PAIR, dear))
    assert alike[0] is not None
    assert changed[0] is not None
    assert changed[0].score == alike[0].score
    assert changed[0].cost_usd > 3 * alike[0].cost_usd
    assert changed[0].utility < alike[0].utility


def test_the_cost_weight_of_a_request_prices_score_against_money():
    """utility = score - weight x USD, without an incumbent to leave."""
    for weight in (0.0, 2.5):
        for appraisal in Play().choose(asked(prompt_tokens=PROMPT_TOKENS, cost_weight=weight)).appraisals:
            assert appraisal is not None
            assert appraisal.utility == pytest.approx(appraisal.score - weight * appraisal.cost_usd)


def test_friction_is_charged_to_all_but_the_incumbent():
    play = Play(registry=PAIR)
    play.ask(0, tool_type="search")
    choice = play.choose(asked(1, tool_type="code", cost_weight=0.0))
    for offer, appraisal in zip(choice.offers, choice.appraisals, strict=True):
        assert appraisal is not None
        friction = 0.0 if offer.model.name == play.episode.now.incumbent else play.settings.friction
        assert appraisal.utility == pytest.approx(appraisal.score - friction)


def test_a_prompt_that_became_shorter_than_what_is_cached_is_read_whole_from_the_cache():
    rate = rates(Model.of(model("a")), 0.0)
    assert turn_usd(rate, prompt_tokens=1_000, warm_tokens=50_000) == pytest.approx(1_000 * rate.cached_read_usd)
