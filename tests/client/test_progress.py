"""What an episode asks and tells, turn by turn. The router is played by its own messages."""

from __future__ import annotations

import pytest

from sojourn.decision import Decision
from sojourn.errors import Conflict, InvalidRequest, NoFallback, NotFound, Refusal, UnmetPrecondition
from sojourn.fallback import FallbackTable
from sojourn.messages import turn_facts
from sojourn.progress import EpisodeKey, Progress, Question
from sojourn.v1 import router_pb2, types_pb2

AWAY = Refusal("UNAVAILABLE", "connection refused")


def episode(first_turn_index: int = 0, table: dict[str, str] | None = None) -> Progress:
    return Progress(
        EpisodeKey(
            policy="default",
            episode_id="e",
            fallback=FallbackTable(table or {}),
            task_type="coding",
            assignment_key="tenant",
            first_turn_index=first_turn_index,
        )
    )


def answered(progress: Progress, question: Question, model: str) -> Decision:
    answer = router_pb2.DecideResponse(decision_id="d", model=model, propensity=0.5)
    return progress.settle(question, answer)


def decided(progress: Progress, model: str) -> Decision:
    return answered(progress, progress.ask({}), model)


def test_turns_count_up_from_the_first_index():
    progress = episode(first_turn_index=5)
    assert [decided(progress, "small").turn_index for _ in range(3)] == [5, 6, 7]


def test_the_episodes_own_fields_are_in_every_request():
    progress = episode()
    decided(progress, "small")
    request = progress.ask({"tool_type": "search"}).request
    assert request.context == types_pb2.Context(tool_type="search", task_type="coding")
    assert (request.policy, request.episode_id, request.assignment_key) == ("default", "e", "tenant")


def test_facts_ride_on_the_next_request_with_the_model_that_served():
    progress = episode()
    decided(progress, "small")
    progress.record(turn_facts({"output_tokens": 7}))
    assert progress.ask({}).request.previous_turn == types_pb2.TurnFacts(
        served_model="small", usage=types_pb2.Usage(output_tokens=7)
    )


def test_a_turn_without_a_report_tells_nothing():
    progress = episode()
    decided(progress, "small")
    assert not progress.ask({}).request.HasField("previous_turn")
    assert not progress.end("SUCCEEDED", {})[0].HasField("last_turn")


def test_a_second_report_adds_to_the_first_and_wins_field_by_field():
    progress = episode()
    decided(progress, "small")
    progress.record(turn_facts({"input_tokens": 1, "error": "LOW"}))
    progress.record(turn_facts({"output_tokens": 2, "error": "HIGH", "served_model": "big"}))
    assert progress.end("FAILED", {})[0].last_turn == types_pb2.TurnFacts(
        served_model="big", usage=types_pb2.Usage(input_tokens=1, output_tokens=2), error=types_pb2.SEVERITY_HIGH
    )


def test_a_report_belongs_to_its_own_turn_only():
    progress = episode()
    decided(progress, "small")
    progress.record(turn_facts({"error": "LOW"}))
    decided(progress, "small")
    assert not progress.ask({}).request.HasField("previous_turn")


def test_a_turn_that_the_client_decided_is_told_even_without_a_report():
    progress = episode(table={"*": "big"})
    decision = progress.settle(progress.ask({}), AWAY)
    assert (decision.model, decision.fallback, decision.reason) == ("big", "UNAVAILABLE", "DECIDED_BY_CLIENT")
    assert (decision.decision_id, decision.propensity, decision.switched) == (None, 1.0, False)
    told = types_pb2.TurnFacts(served_model="big", decided_by_client=True)
    assert progress.ask({}).request.previous_turn == told
    outcome, before = progress.end("SUCCEEDED", {})
    assert not outcome.HasField("last_turn")
    assert before is not None
    assert (before.turn_index, before.facts) == (0, told)


def test_a_turn_that_the_router_could_not_write_down_is_told_like_one_that_the_client_decided():
    """While its journal is away the router decides without a decision_id, and forgets."""
    progress = episode()
    answer = router_pb2.DecideResponse(model="small", propensity=1.0, reason=types_pb2.REASON_JOURNAL_UNAVAILABLE)
    assert progress.settle(progress.ask({}), answer).fallback is None
    told = types_pb2.TurnFacts(served_model="small", decided_by_client=True)
    assert progress.ask({}).request.previous_turn == told
    outcome, before = progress.end("SUCCEEDED", {})
    assert not outcome.HasField("last_turn")
    assert before is not None
    assert (before.turn_index, before.facts) == (0, told)


def test_the_client_stays_with_the_model_that_really_served():
    progress = episode(table={"*": "big"})
    decided(progress, "small")
    progress.record(turn_facts({"served_model": "mid"}))
    decision = progress.settle(progress.ask({}), AWAY)
    assert (decision.model, decision.incumbent, decision.switched) == ("mid", "mid", False)


def test_the_client_says_so_when_it_must_leave_the_incumbent():
    progress = episode(table={"*": "big"})
    decided(progress, "small")
    decision = progress.settle(progress.ask({"deny": ["small"]}), AWAY)
    assert (decision.model, decision.incumbent, decision.switched) == ("big", "small", True)


def test_a_retry_raises_the_attempt_and_sends_the_turns_inputs_and_the_facts_before_it_again():
    progress = episode()
    decided(progress, "small")
    progress.record(turn_facts({"output_tokens": 7}))
    first = progress.ask({"tool_type": "search", "prompt_tokens": 5})
    answered(progress, first, "small")
    again = progress.ask_again({"prompt_tokens": 6})
    assert (again.request.turn_index, again.request.attempt) == (1, 1)
    assert (again.request.context.tool_type, again.request.context.prompt_tokens) == ("search", 6)
    assert again.request.previous_turn == first.request.previous_turn
    assert answered(progress, again, "big").attempt == 1
    assert progress.ask_again({}).request.attempt == 2
    assert progress.ask({}).request.turn_index == 2


def test_a_retry_forgets_what_was_reported_of_the_failed_attempt():
    progress = episode()
    decided(progress, "small")
    progress.record(turn_facts({"error": "HIGH"}))
    answered(progress, progress.ask_again({}), "big")
    assert not progress.end("SUCCEEDED", {})[0].HasField("last_turn")


def test_a_retry_denies_the_models_that_the_client_chose_since_the_router_knows_only_its_own():
    progress = episode(table={"*": "big"})
    progress.settle(progress.ask({}), AWAY)
    again = progress.ask_again({})
    assert list(again.request.constraints.deny) == ["big"]
    answered(progress, again, "small")
    assert list(progress.ask_again({}).request.constraints.deny) == ["big"]


def test_a_retry_never_falls_back_on_a_model_that_just_failed():
    progress = episode(table={"*": "big"})
    decided(progress, "big")
    with pytest.raises(NoFallback):
        progress.settle(progress.ask_again({}), AWAY)


@pytest.mark.parametrize(
    ("code", "error"),
    [
        ("INVALID_ARGUMENT", InvalidRequest),
        ("FAILED_PRECONDITION", UnmetPrecondition),
        ("ALREADY_EXISTS", Conflict),
        ("NOT_FOUND", NotFound),
    ],
)
def test_a_mistake_is_raised_and_leaves_the_turn_unbegun(code: str, error: type[Exception]):
    progress = episode(table={"*": "big"})
    decided(progress, "small")
    progress.record(turn_facts({"output_tokens": 7}))
    before = progress.ask({})
    with pytest.raises(error):
        progress.settle(before, Refusal(code, "no"))
    assert progress.ask({}) == before


@pytest.mark.parametrize(
    "code", ["DEADLINE_EXCEEDED", "UNAVAILABLE", "RESOURCE_EXHAUSTED", "INTERNAL", "UNKNOWN", "UNAUTHENTICATED"]
)
def test_whatever_is_not_the_callers_mistake_never_stops_the_agent(code: str):
    progress = episode(table={"*": "big"})
    decided(progress, "small")
    assert progress.settle(progress.ask({}), Refusal(code, "oh")).fallback == code


def test_without_any_model_left_the_error_says_why_the_router_did_not_decide():
    with pytest.raises(NoFallback, match="UNAVAILABLE: connection refused"):
        episode().settle(episode().ask({}), AWAY)


def test_an_ended_episode_takes_nothing_more():
    progress = episode()
    decided(progress, "small")
    progress.end("SUCCEEDED", {"score": 0.5})
    for more in (lambda: progress.ask({}), lambda: progress.end("FAILED", {}), progress.leave):
        with pytest.raises(UnmetPrecondition) as raised:
            more()
        assert raised.value.reason == "EPISODE_ENDED"


def test_an_outcome_that_cannot_be_built_leaves_the_episode_open():
    progress = episode()
    with pytest.raises(InvalidRequest):
        progress.end("SUCCEEDED", {"metrics": {f"{i:0128}": 1.0 for i in range(500)}})
    assert progress.end("SUCCEEDED", {})[0].status == types_pb2.OUTCOME_STATUS_SUCCEEDED


def test_only_an_episode_that_began_and_has_no_end_is_to_be_abandoned():
    progress = episode()
    assert not progress.is_to_be_abandoned
    decided(progress, "small")
    assert progress.is_to_be_abandoned
    progress.leave()
    assert not progress.is_to_be_abandoned


def test_leaving_an_episode_open_tells_its_last_turn_by_its_key():
    progress = episode(first_turn_index=4)
    decided(progress, "small")
    progress.record(turn_facts({"output_tokens": 7}))
    report = progress.leave()
    assert report is not None
    assert (report.episode_id, report.turn_index, report.facts.served_model) == ("e", 4, "small")


def test_nothing_can_be_reported_or_retried_before_the_first_decision():
    with pytest.raises(ValueError, match="no turn"):
        episode().record(turn_facts({}))
    with pytest.raises(ValueError, match="no turn"):
        episode().ask_again({})


def test_values_that_a_newer_router_added_appear_by_their_numbers():
    progress = episode()
    answer = router_pb2.DecideResponse(model="small", ranked=[types_pb2.RankedCandidate(model="small")])
    answer.MergeFromString(b"\x20\x63")  # reason = 99
    decision = progress.settle(progress.ask({}), answer)
    assert decision.reason == "99"
    assert decision.ranked[0].score is None
    assert decision.ranked[0].excluded_because is None
