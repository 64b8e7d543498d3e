"""When a decision opens, who is excluded, what the guards do: every reason and exclusion by a turn that has it."""

from __future__ import annotations

from typing import Any

import pytest

from sojourn.v1 import types_pb2 as pb
from sojourn_server import records
from sojourn_server.config import ChoiceSettings
from sojourn_server.errors import NoEligibleCandidate
from sojourn_server.policy import draws
from sojourn_server.policy.decision import Choice, fall_back
from sojourn_server.policy.distribution import UNIT
from tests.policy.play import Play, asked, excluded, model, models, others, probabilities, reasons

IDLE_MS = 300_001
TRIO = models(model("a"), model("b"), model("c"))


def started(**fields: Any) -> Play:
    """An episode after its first turn, a search."""
    play = Play(**fields)
    play.ask(0, tool_type="search")
    return play


def assert_held(choice: Choice, incumbent: str, reason: pb.Reason.ValueType = pb.REASON_HELD) -> None:
    """A hold keeps the incumbent for sure, learns nothing of the draw and lists nobody else."""
    assert (choice.model, choice.reason, choice.decision_point) == (incumbent, reason, False)
    assert (choice.propensity, choice.cell) == (1.0, UNIT)
    assert [offer.model.name for offer in choice.offers] == [incumbent]


# --- Openings ---


def test_the_first_turn_is_a_decision():
    choice = Play().ask(0, tool_type="search")
    assert (choice.reason, choice.decision_point) == (pb.REASON_FIRST_TURN, True)


def test_between_decision_points_the_incumbent_is_held():
    play = started()
    assert_held(play.ask(1, tool_type="search"), play.episode.now.incumbent)


@pytest.mark.parametrize("severity", [pb.SEVERITY_LOW, pb.SEVERITY_MEDIUM, pb.SEVERITY_HIGH])
def test_an_error_alone_never_opens_a_decision(severity: pb.Severity.ValueType):
    """However it is told: as the previous turn's fact, in the context, as a count, over and over."""
    play = started()
    incumbent = play.episode.now.incumbent
    facts = pb.TurnFacts(error=severity, error_code="boom")
    for t in range(1, 8):
        choice = play.ask(t, tool_type="search", previous_turn=facts, last_error=severity, error_count=10 * t)
        assert_held(choice, incumbent)


def test_another_kind_of_work_opens_a_decision():
    choice = started().ask(1, tool_type="code")
    assert (choice.reason, choice.decision_point) == (pb.REASON_PHASE_CHANGED, True)


def test_the_callers_phase_counts_before_the_tool_type():
    play = Play()
    play.ask(0, tool_type="search", phase="explore")
    assert_held(play.ask(1, tool_type="code", phase="explore"), play.episode.now.incumbent)
    assert play.ask(2, tool_type="code", phase="repair").reason == pb.REASON_PHASE_CHANGED


def gone_from_search_to_code() -> tuple[Play, str]:
    """An episode that searched and then coded with another model, and the model that searched."""
    play = started()
    searching = play.episode.now.incumbent
    play.ask(1, tool_type="code", constraints=pb.Constraints(deny=[searching]))
    return play, searching


def test_who_comes_back_to_a_phase_comes_back_to_its_model_for_sure():
    play, searching = gone_from_search_to_code()
    back = play.ask(2, tool_type="search")
    assert (back.reason, back.model, back.propensity, back.decision_point) == (pb.REASON_RETURNED, searching, 1, False)
    assert [offer.model.name for offer in back.offers] == [searching]


def test_a_phase_whose_model_may_not_serve_any_more_is_decided_anew():
    play, searching = gone_from_search_to_code()
    back = play.ask(2, tool_type="search", constraints=pb.Constraints(deny=[searching]))
    assert (back.reason, back.decision_point) == (pb.REASON_PHASE_CHANGED, True)
    play.ask(3, tool_type="code")
    assert play.ask(4, tool_type="search").model == back.model


def test_a_stay_that_the_caller_demanded_decides_nothing_for_the_phase():
    play, _ = gone_from_search_to_code()
    play.ask(2, tool_type="plan", constraints=pb.Constraints(must_stay_because="open tool call"))
    play.ask(3, tool_type="search")
    assert play.ask(4, tool_type="plan").reason == pb.REASON_PHASE_CHANGED


def test_a_phase_that_another_model_served_comes_back_to_that_one():
    play, _ = gone_from_search_to_code()
    (other, *_) = others(play.episode.now.incumbent)
    play.report(1, served_model=other)
    play.ask(2, tool_type="search")
    assert play.ask(3, tool_type="code").model == other


def test_an_incumbent_that_may_not_serve_opens_a_decision_without_it():
    play = started()
    incumbent = play.episode.now.incumbent
    choice = play.ask(1, tool_type="search", constraints=pb.Constraints(deny=[incumbent]))
    assert (choice.reason, choice.decision_point) == (pb.REASON_INCUMBENT_INELIGIBLE, True)
    assert choice.model != incumbent


def test_an_incumbent_that_is_not_offered_any_more_opens_a_decision():
    play = started()
    rest = [pb.Candidate(model=name) for name in others(play.episode.now.incumbent)]
    assert play.ask(1, tool_type="search", candidates=rest).reason == pb.REASON_INCUMBENT_INELIGIBLE


def test_a_cache_that_is_presumed_gone_makes_leaving_free_and_opens_a_decision():
    play = started(registry=TRIO)
    play.now_ms += IDLE_MS
    choice = play.ask(1, tool_type="search")
    assert (choice.reason, choice.decision_point) == (pb.REASON_CACHE_EXPIRED, True)
    assert all(a is not None and a.switching_cost_usd == 0.0 for a in choice.appraisals)


def test_a_cache_within_its_time_to_live_keeps_the_hold():
    play = started(registry=TRIO)
    play.now_ms += 290_000
    assert_held(play.ask(1, tool_type="search"), play.episode.now.incumbent)


def test_a_model_without_a_cache_never_opens_a_decision_by_idling():
    play = started(registry=models(pb.Model(name="a"), pb.Model(name="b")))
    play.now_ms += 100 * IDLE_MS
    assert_held(play.ask(1, tool_type="search"), play.episode.now.incumbent)


def test_the_cache_of_a_candidate_with_terms_of_its_own_lives_by_those_terms():
    """Whether the registry lacks it or has it with another time to live."""
    terms = [model(name, cache=pb.PromptCache(read_multiplier=0.1, ttl_ms=5_000)) for name in ("x", "a")]
    candidates = [pb.Candidate(model=m.name, terms=m) for m in terms]
    play = Play(registry=TRIO)
    for t in range(3):
        choice = play.ask(t, tool_type="search", candidates=candidates)
        play.now_ms += 6_000
        assert choice.reason == (pb.REASON_CACHE_EXPIRED if t else pb.REASON_FIRST_TURN)


def test_a_clock_that_went_back_counts_as_no_idle_time():
    play = started(registry=TRIO)
    play.now_ms -= 10 * IDLE_MS
    assert_held(play.ask(1, tool_type="search"), play.episode.now.incumbent)


def test_a_sojourn_lasts_as_long_as_its_phase():
    choices = Play(registry=TRIO).hold_until(70, tool_type="search")
    assert {choice.reason for choice in choices[1:]} == {pb.REASON_HELD}


def test_a_new_attempt_is_a_decision_without_the_models_that_failed():
    play = Play(registry=TRIO)
    first = play.ask(0, tool_type="search")
    second = play.ask(0, attempt=1, tool_type="search")
    third = play.ask(0, attempt=2, tool_type="search")
    assert reasons([second, third]) == ["NEW_ATTEMPT", "NEW_ATTEMPT"]
    assert excluded(third) == dict.fromkeys((first.model, second.model), pb.EXCLUSION_EARLIER_ATTEMPT)
    assert len({first.model, second.model, third.model}) == 3
    with pytest.raises(NoEligibleCandidate, match="earlier_attempt"):
        play.ask(0, attempt=3, tool_type="search")


def test_models_that_failed_a_turn_are_free_again_at_the_next():
    play = Play(registry=models(model("a"), model("b")))
    play.ask(0, tool_type="search")
    play.ask(0, attempt=1, tool_type="search")
    assert excluded(play.ask(1, tool_type="code")) == {}


def test_the_incumbent_of_a_new_attempt_is_the_one_before_the_model_that_failed():
    """The failed model never served: no friction is charged for not being it."""
    play = started(registry=TRIO)
    incumbent = play.episode.now.incumbent
    failed = play.ask(1, tool_type="code", constraints=pb.Constraints(deny=[incumbent])).model
    turn = play.turn(asked(1, attempt=1, tool_type="code"))
    assert failed != incumbent
    assert turn.incumbent == incumbent
    assert turn.failed_models == (failed,)


# --- Guards ---


def test_must_stay_keeps_the_incumbent_for_sure_and_says_so():
    """Whatever else would open the decision: another phase, an expired cache."""
    play = started(registry=TRIO)
    play.now_ms += IDLE_MS
    stay = pb.Constraints(must_stay_because="open tool call")
    assert_held(play.ask(9, tool_type="code", constraints=stay), play.episode.now.incumbent, pb.REASON_MUST_STAY)


def test_must_stay_needs_no_words():
    play = Play()
    play.ask(0, tool_type="search")
    (choice,) = reasons([play.ask(1, tool_type="code", constraints=pb.Constraints(must_stay_because=""))])
    assert choice == "MUST_STAY"


def test_beliefs_are_as_wide_as_their_share_of_the_utility_range():
    """Twice the range is as twice the width: neither changes what is best, only how sharply it is chosen."""
    request = asked(0, tool_type="search", prompt_tokens=9_000)
    double = ChoiceSettings().prior_width * 2
    settings = (ChoiceSettings(utility_range=2.0), ChoiceSettings(prior_width=double), ChoiceSettings())
    wide, blunt, plain = (Play(settings=given).choose(request) for given in settings)
    assert wide.probabilities == pytest.approx(blunt.probabilities)
    assert max(wide.probabilities) < max(plain.probabilities)


def test_must_stay_cannot_keep_an_incumbent_that_may_not_serve():
    play = started(registry=TRIO)
    stay = pb.Constraints(must_stay_because="open tool call", deny=[play.episode.now.incumbent])
    assert play.ask(1, tool_type="search", constraints=stay).reason == pb.REASON_INCUMBENT_INELIGIBLE


def test_the_last_of_the_budget_goes_to_the_cheapest_for_sure_and_says_so():
    """A point, never learned: no candidate fits, so nothing was chosen freely."""
    priced = models(model("dear", input_usd_per_mtok=9.0), model("cheap"), model("middle", input_usd_per_mtok=3.0))
    choice = Play(registry=priced).ask(
        0, tool_type="search", prompt_tokens=10_000, constraints=pb.Constraints(remaining_budget_usd=0.0001)
    )
    assert (choice.model, choice.reason, choice.decision_point) == ("cheap", pb.REASON_BUDGET, False)
    assert (choice.propensity, choice.cell) == (1.0, UNIT)
    assert probabilities(choice) == {"cheap": 1.0, "dear": 0.0, "middle": 0.0}
    assert excluded(choice) == dict.fromkeys(("dear", "middle"), pb.EXCLUSION_BUDGET)


def test_a_model_that_is_barred_otherwise_does_not_become_the_budgets_last_resort():
    choice = Play(registry=TRIO).ask(0, constraints=pb.Constraints(remaining_budget_usd=0.0, deny=["a"]))
    assert choice.model in ("b", "c")
    assert excluded(choice)["a"] == pb.EXCLUSION_DENIED


def test_a_warm_incumbent_fits_a_budget_that_cold_models_exceed():
    """.9 x 10,000 tokens cost a tenth, so this turn is 1.9 mUSD instead of 10."""
    play = Play(registry=TRIO)
    play.ask(0, tool_type="search", prompt_tokens=10_000)
    choice = play.ask(1, tool_type="code", prompt_tokens=10_000, constraints=pb.Constraints(remaining_budget_usd=0.002))
    assert choice.reason == pb.REASON_PHASE_CHANGED
    assert excluded(choice) == dict.fromkeys(others(choice.model, registry=TRIO), pb.EXCLUSION_BUDGET)


# --- Exclusions ---


@pytest.mark.parametrize(
    ("fields", "constraints", "why"),
    [
        ({}, {"allow": ["b"]}, pb.EXCLUSION_NOT_ALLOWED),
        ({}, {"deny": ["a"]}, pb.EXCLUSION_DENIED),
        ({"drained": True}, {}, pb.EXCLUSION_DRAINED),
        ({}, {"required_capabilities": ["vision"]}, pb.EXCLUSION_MISSING_CAPABILITY),
        ({"context_length_tokens": 999}, {}, pb.EXCLUSION_CONTEXT_LENGTH),
        ({"input_usd_per_mtok": 1e6}, {"remaining_budget_usd": 1.0}, pb.EXCLUSION_BUDGET),
    ],
)
def test_each_exclusion_bars_its_candidate_and_is_named(
    fields: dict[str, Any], constraints: dict[str, Any], why: pb.Exclusion.ValueType
):
    registry = models(model("a", **fields), model("b", capabilities=["vision"]))
    choice = Play(registry=registry).ask(
        0, prompt_tokens=900, expected_output_tokens=100, constraints=pb.Constraints(**constraints)
    )
    assert choice.model == "b"
    assert excluded(choice) == {"a": why}
    assert probabilities(choice) == {"a": 0.0, "b": 1.0}


def test_prompt_and_reply_that_just_fit_the_context_length_are_no_exclusion():
    registry = models(model("a", context_length_tokens=1_000))
    assert Play(registry=registry).ask(0, prompt_tokens=900, expected_output_tokens=100).model == "a"


def test_with_nobody_left_the_error_says_who_was_barred_by_what():
    constraints = pb.Constraints(deny=["a"], required_capabilities=["vision"])
    with pytest.raises(NoEligibleCandidate, match=r"a \(denied\), b \(missing_capability\)"):
        Play(registry=models(model("a"), model("b"))).ask(0, constraints=constraints)


# --- Fallback ---


def _fallback(play: Play, turn_index: int, **fields: Any) -> Choice:
    return fall_back(play.turn(asked(turn_index, **fields)), play.settings, pb.REASON_INNER_FAULT)


def test_a_fallback_keeps_the_incumbent_and_without_one_takes_the_heuristics_choice():
    play = Play()
    assert _fallback(play, 0, tool_type="reasoning").model == "gpt-5"
    incumbent = play.ask(0, tool_type="search").model
    assert_held(_fallback(play, 1, tool_type="reasoning"), incumbent, pb.REASON_INNER_FAULT)


def test_a_fallback_leaves_an_incumbent_that_may_not_serve():
    play = started(registry=TRIO)
    incumbent = play.episode.now.incumbent
    assert _fallback(play, 1, constraints=pb.Constraints(deny=[incumbent])).model != incumbent


def test_a_fallback_lets_the_cheapest_serve_where_nobody_fits_the_budget():
    """As the choice does: the router never stops an agent for money."""
    priced = models(model("dear", input_usd_per_mtok=9.0), model("cheap"))
    assert _fallback(Play(registry=priced), 0, constraints=pb.Constraints(remaining_budget_usd=0.0)).model == "cheap"


# --- Cohorts ---


@pytest.mark.parametrize(("kind", "tabled"), [("search", "gpt-oss-120b"), ("reasoning", "gpt-5")])
def test_the_heuristics_cohort_is_served_by_the_table_for_sure(kind: str, tabled: str):
    choice = Play(assignment=draws.Assignment(draws.HEURISTIC, 0.02)).ask(0, tool_type=kind)
    assert (choice.model, choice.propensity, choice.decision_point) == (tabled, 1.0, True)


def test_the_never_switch_cohort_is_served_by_the_reference_model_whatever_the_work():
    play = Play(assignment=draws.Assignment(draws.NEVER_SWITCH, 0.02))
    kinds = ("search", "reasoning", "code", "file_io")
    assert {play.ask(t, tool_type=kind).model for t, kind in enumerate(kinds)} == {"gpt-5"}


def test_without_its_reference_model_the_never_switch_cohort_takes_the_tables():
    play = Play(assignment=draws.Assignment(draws.NEVER_SWITCH, 0.02))
    choice = play.ask(0, tool_type="search", constraints=pb.Constraints(deny=["gpt-5"]))
    assert choice.model == "gpt-oss-120b"


def test_an_explore_share_spreads_the_heuristics_choice_evenly_and_leaves_the_other_control_alone():
    settings = ChoiceSettings(explore_share=0.3)
    heuristic, never = (
        Play(registry=TRIO, settings=settings, assignment=draws.Assignment(cohort, 0.02)).ask(0)
        for cohort in (draws.HEURISTIC, draws.NEVER_SWITCH)
    )
    assert sorted(probabilities(heuristic).values()) == pytest.approx([0.1, 0.1, 0.8])
    assert sorted(probabilities(never).values()) == [0.0, 0.0, 1.0]


# --- The answer ---


def test_the_answer_ranks_by_utility_with_excluded_candidates_last():
    play = Play()
    request = asked(0, tool_type="search", constraints=pb.Constraints(deny=["gpt-5"]))
    turn = play.turn(request)
    answer = records.answer(turn, play.choose(request), decision_id="x", policy_version=3)
    utilities = [candidate.utility for candidate in answer.ranked[:-1]]
    assert utilities == sorted(utilities, reverse=True)
    assert (answer.ranked[-1].model, answer.ranked[-1].excluded_because) == ("gpt-5", pb.EXCLUSION_DENIED)
    assert not answer.ranked[-1].HasField("utility")
    assert sum(candidate.probability for candidate in answer.ranked) == pytest.approx(1.0)
    assert (answer.switched, answer.incumbent) == (False, "")


def test_every_reason_and_every_exclusion_has_a_test_here_or_at_the_router():
    """REASON_JOURNAL_UNAVAILABLE and REASON_INNER_FAULT need the router: see tests/rpc/test_faults.py."""
    from pathlib import Path

    texts = [Path(__file__).read_text(), Path(__file__, "../../rpc/test_faults.py").resolve().read_text()]
    names = [n for n in (*pb.Reason.keys(), *pb.Exclusion.keys()) if not n.endswith("UNSPECIFIED")]
    names = [n.removeprefix("REASON_").removeprefix("EXCLUSION_") for n in names]
    assert [n for n in names if not any(n in text for text in texts)] == []
