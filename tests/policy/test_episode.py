"""What an episode's records add up to: who serves, since when, what is warm, which phase, how many errors."""

from __future__ import annotations

from itertools import pairwise

import pytest

from benchmarks.memory import resident_mib
from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.config import ChoiceSettings
from sojourn_server.policy.distribution import UNIT
from sojourn_server.policy.episode import Episode, after_facts
from tests.policy.play import Play, asked, model, models, others, reasons

PAIR = models(model("a"), model("b"))
PROMPT_TOKENS = 10_000


def warm(play: Play, turn_index: int) -> dict[str, float]:
    """Tokens presumed warm by model, as the next turn would see them."""
    turn = play.turn(asked(turn_index, prompt_tokens=PROMPT_TOKENS))
    return {offer.model.name: offer.warm_tokens for offer in turn.offers}


# --- Incumbent ---


def test_the_incumbent_is_the_chosen_model_unless_told_otherwise():
    play = Play(registry=PAIR)
    chosen = play.ask(0, tool_type="search").model
    assert play.turn(asked(1)).incumbent == chosen


def test_the_incumbent_is_the_served_model_of_the_previous_turn():
    """Piggy-backed with the request, and the sojourn begins with the turn that it served."""
    play = Play(registry=PAIR)
    chosen = play.ask(0, tool_type="search").model
    (other,) = others(chosen, registry=PAIR)
    turn = play.turn(asked(1, previous_turn=pb.TurnFacts(served_model=other)))
    assert turn.incumbent == other


def test_a_committed_report_of_the_turn_counts_as_well_as_a_piggy_backed_one():
    play = Play(registry=PAIR)
    chosen = play.ask(0, tool_type="search").model
    (other,) = others(chosen, registry=PAIR)
    play.report(0, served_model=other)
    assert play.turn(asked(1)).incumbent == other


def test_the_first_facts_of_a_turn_win():
    play = Play(registry=PAIR)
    chosen = play.ask(0, tool_type="search").model
    (other,) = others(chosen, registry=PAIR)
    play.report(0, served_model=chosen, error=pb.SEVERITY_LOW)
    play.report(0, served_model=other, error=pb.SEVERITY_HIGH)
    turn = play.turn(asked(1, previous_turn=pb.TurnFacts(served_model=other)))
    assert (turn.incumbent, turn.error_count, turn.last_error) == (chosen, 1, pb.SEVERITY_LOW)


def test_facts_that_rode_on_a_request_do_not_keep_the_request_in_memory():
    """Ten thousand open episodes are cached: what each keeps must not grow with the features that it was asked with."""
    episode, before_mib = Episode(), resident_mib()
    for turn in range(1, 2_001):
        request = asked(turn, previous_turn=pb.TurnFacts(error_code="no such file"))
        request.context.features.update({f"feature_{i}": float(i) for i in range(60)})
        received = router_pb2.DecideRequest.FromString(request.SerializeToString())
        episode = after_facts(episode, turn - 1, received.previous_turn, at_ms=0, cacheable_share=0.9)
    assert len(episode.facts) == 2_000
    assert resident_mib() - before_mib < 6


def test_facts_of_an_older_turn_do_not_move_the_incumbent():
    play = Play(registry=PAIR)
    play.ask(0, tool_type="search")
    chosen = play.ask(1, tool_type="search").model
    (other,) = others(chosen, registry=PAIR)
    play.report(0, served_model=other)
    assert play.turn(asked(2)).incumbent == chosen


def test_a_turn_that_the_client_decided_meanwhile_moves_the_incumbent():
    """Turn 1 never came here; turn 2 tells what served it."""
    play = Play(registry=PAIR)
    chosen = play.ask(0, tool_type="search").model
    (other,) = others(chosen, registry=PAIR)
    facts = pb.TurnFacts(served_model=other, decided_by_client=True)
    turn = play.turn(asked(2, previous_turn=facts))
    assert turn.incumbent == other


def test_an_episode_may_begin_at_a_later_turn_with_an_incumbent_of_the_clients():
    """The incumbent is warm for as much as the client says, and held like any other: this is no first turn."""
    play = Play(registry=PAIR)
    facts = pb.TurnFacts(served_model="b", decided_by_client=True, usage=pb.Usage(input_tokens=4_000))
    turn = play.turn(asked(7, tool_type="search", previous_turn=facts))
    assert turn.incumbent == "b"
    assert {o.model.name: o.warm_tokens for o in turn.offers} == {"a": 0.0, "b": pytest.approx(3_600)}


def test_facts_of_the_turn_before_that_come_late_are_met_by_a_new_attempt():
    """Turn 1 was decided before anybody said who served turn 0; its second attempt knows."""
    play = Play(registry=models(model("a"), model("b"), model("c")))
    chosen = play.ask(0, tool_type="search").model
    (served, _) = others(chosen, registry=play.registry)
    play.ask(1, tool_type="code")
    play.report(0, served_model=served)
    assert play.turn(asked(1, attempt=1, tool_type="code")).incumbent == served


# --- Warmth ---


def test_the_cacheable_share_of_the_prompt_is_presumed_warm_after_a_turn():
    play = Play(registry=PAIR)
    chosen = play.ask(0, prompt_tokens=PROMPT_TOKENS).model
    (other,) = others(chosen, registry=PAIR)
    assert warm(play, 1) == {chosen: pytest.approx(9_000), other: 0.0}


@pytest.mark.parametrize(
    ("usage", "tokens"),
    [
        ({"cached_read_tokens": 6_000, "cache_write_tokens": 1_500, "input_tokens": 500}, 7_500),
        ({"cached_read_tokens": 6_000, "input_tokens": 2_000}, 0.9 * 8_000),
        ({"output_tokens": 300}, 0.9 * PROMPT_TOKENS),
    ],
    ids=["written", "read", "nothing measured"],
)
def test_what_was_measured_is_warm_rather_than_what_was_presumed(usage: dict[str, int], tokens: float):
    play = Play(registry=PAIR)
    chosen = play.ask(0, prompt_tokens=PROMPT_TOKENS).model
    play.report(0, usage=pb.Usage(**usage))
    assert warm(play, 1)[chosen] == pytest.approx(tokens)


def test_warmth_belongs_to_each_model_of_an_episode_and_lasts_as_long_as_its_cache():
    play = Play(registry=PAIR)
    first = play.ask(0, prompt_tokens=PROMPT_TOKENS).model
    (second,) = others(first, registry=PAIR)
    play.now_ms += 200_000
    play.ask(1, tool_type="code", prompt_tokens=PROMPT_TOKENS, constraints=pb.Constraints(deny=[first]))
    assert warm(play, 2) == {first: pytest.approx(9_000), second: pytest.approx(9_000)}
    play.now_ms += 150_000
    assert warm(play, 2) == {first: 0.0, second: pytest.approx(9_000)}


def test_a_model_that_did_not_serve_is_not_warm():
    """Neither one that the caller replaced nor one whose attempt failed: it has no tokens in its cache."""
    replaced, failed = Play(registry=PAIR), Play(registry=PAIR)
    chosen = replaced.ask(0, prompt_tokens=PROMPT_TOKENS).model
    (other,) = others(chosen, registry=PAIR)
    replaced.report(0, served_model=other)
    assert warm(replaced, 1) == {chosen: 0.0, other: pytest.approx(9_000)}
    first = failed.ask(0, prompt_tokens=PROMPT_TOKENS).model
    second = failed.ask(0, attempt=1, prompt_tokens=PROMPT_TOKENS).model
    assert warm(failed, 1) == {first: 0.0, second: pytest.approx(9_000)}


# --- Phase ---


def test_a_debounce_of_two_waits_for_a_second_turn_of_the_same_other_kind():
    play = Play(settings=ChoiceSettings(phase_debounce_turns=2))
    kinds = ["search", "code", "search", "code", "code", "code", "search", "plan", "plan"]
    choices = [play.ask(t, tool_type=kind) for t, kind in enumerate(kinds)]
    assert reasons(choices) == [
        "FIRST_TURN", "HELD", "HELD", "HELD", "PHASE_CHANGED", "HELD", "HELD", "HELD", "PHASE_CHANGED",
    ]  # fmt: skip
    assert play.episode.now.phase == "plan"


def test_two_other_kinds_in_turn_do_not_add_up_under_a_debounce():
    play = Play(settings=ChoiceSettings(phase_debounce_turns=2))
    kinds = ["search", "code", "plan", "code", "plan"]
    assert reasons(play.ask(t, tool_type=kind) for t, kind in enumerate(kinds))[1:] == ["HELD"] * 4


def test_another_attempt_at_a_turn_is_not_another_turn_for_the_debounce():
    play = Play(settings=ChoiceSettings(phase_debounce_turns=2))
    play.ask(0, tool_type="search")
    play.ask(1, tool_type="code")
    play.ask(1, attempt=1, tool_type="code")
    assert play.episode.now.phase == "search"


def test_what_is_known_of_the_draw_is_kept_per_phase():
    play = Play()
    play.ask(0, tool_type="search")
    known = play.episode.interval("search")
    assert known.width < 1.0
    assert play.episode.interval("code") == UNIT
    play.ask(1, tool_type="code")
    assert play.episode.interval("search") == known


# --- Errors and lengths ---


def test_errors_are_counted_from_the_facts_unless_the_caller_counts_them():
    play = Play()
    play.ask(0)
    play.report(0, error=pb.SEVERITY_MEDIUM)
    play.ask(1, previous_turn=pb.TurnFacts(error=pb.SEVERITY_HIGH))
    play.report(1, error=pb.SEVERITY_NONE)
    seen, told = play.turn(asked(2)), play.turn(asked(2, error_count=9, last_error=pb.SEVERITY_LOW))
    assert (seen.error_count, seen.last_error) == (1, pb.SEVERITY_NONE)
    assert (told.error_count, told.last_error) == (9, pb.SEVERITY_LOW)


def test_a_prompts_length_is_the_callers_else_grows_from_the_newest_else_is_the_default():
    play = Play()
    settings = play.settings
    assert play.turn(asked(0)).prompt_tokens == settings.default_prompt_tokens
    assert play.turn(asked(0, prompt_tokens=7)).prompt_tokens == 7
    play.ask(0, prompt_tokens=20_000)
    assert play.turn(asked(1)).prompt_tokens == 20_000 + settings.default_prompt_growth_tokens


def test_a_report_of_an_older_turn_leaves_the_caches_as_the_newest_turns_left_them():
    """It names no model, so it must not be taken for the incumbent's, who served a longer prompt since."""
    play = Play(registry=PAIR)
    play.ask(0, tool_type="search", prompt_tokens=1_000)
    chosen = play.ask(1, tool_type="search", prompt_tokens=PROMPT_TOKENS).model
    play.report(0, usage=pb.Usage(input_tokens=1_000))
    assert warm(play, 2)[chosen] == pytest.approx(9_000)


def test_a_caller_that_refused_a_switch_has_not_begun_a_new_sojourn():
    """The incumbent served on, so its sojourn is as long as before."""
    play = Play(registry=PAIR)
    first = play.ask(0, tool_type="search").model
    play.ask(1, tool_type="code", constraints=pb.Constraints(deny=[first]))
    play.report(1, served_model=first)
    turn = play.turn(asked(2, tool_type="code"))
    assert turn.incumbent == first


def test_what_is_known_of_a_phases_draw_only_ever_narrows():
    """Search with a hold and an idle day, code, and a return; the cell of hold and return is everything."""
    flat = ChoiceSettings(prior_width=2.0, floor=0.01)
    play, known, cells = Play(settings=flat, phase_draws=0.2), [UNIT], []
    for turn, (kind, weight) in enumerate(
        [("search", 0.0), ("search", 0.0), ("search", 40.0), ("code", 0.0), ("search", 4.0)]
    ):
        play.now_ms += 86_400_000 * (turn == 2)
        cells.append(play.ask(turn, tool_type=kind, prompt_tokens=60_000, cost_weight=weight).cell)
        known.append(play.episode.interval("search"))
    assert (cells[1], cells[4]) == (UNIT, UNIT)
    for earlier, later in pairwise(known):
        assert later == later.intersect(earlier)
    assert known[-1].width < known[1].width
