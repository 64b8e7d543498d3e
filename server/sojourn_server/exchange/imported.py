"""Trajectories as journal records: what a router would have written down, had it only looked on.

Nobody here chose, so a decision names no model and its propensity is 0: unknown. The mode is SHADOW and the model that
served stands in the turn's facts; so the fold learns from it only where `lesson.learn_served_in_shadow` says so, and no
importance weight can be made of it. The policy might have left at the first turn, where the phase changes, and
where the recorded model changes: these are the decision points, but where a model chosen once had to stay. Incumbent,
warmth and errors come from the same fold over the episode that the router runs.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server import records
from sojourn_server.exchange.trajectories import RecordedTurn, Trajectory
from sojourn_server.journal.journal import decision_key
from sojourn_server.policy import heuristic
from sojourn_server.policy.decision import Choice
from sojourn_server.policy.distribution import UNIT
from sojourn_server.policy.draws import Assignment
from sojourn_server.policy.episode import Episode, after_decision, after_facts
from sojourn_server.policy.registry import Registry
from sojourn_server.policy.turn import Turn, phase_of, see
from sojourn_server.world import PolicyState

REPORTER = "sojourn import"
_CHOSEN_ONCE = "chosen once an episode"
_NO_COHORT = Assignment(types_pb2.COHORT_UNSPECIFIED, 0.0)


class Place(NamedTuple):
    """Where records go: a policy as administrators have set it, with every served model in the registry."""

    policy: str
    state: PolicyState
    registry: Registry
    now_ms: int


def journal_records(trajectory: Trajectory, place: Place) -> Iterator[journal_pb2.JournalRecord]:
    """A trajectory's records in journal order: each turn's decision and facts, then the outcome."""
    share = place.state.settings.choice.cacheable_share
    episode = Episode()
    for turn in trajectory.turns:
        at_ms = _first_of(turn.at_ms, trajectory.at_ms, place.now_ms)
        record = _record(trajectory, place, at_ms)
        decision = record.decision
        _write_decision(decision, turn, trajectory, episode=episode, place=place)
        episode = after_decision(episode, decision, at_ms=at_ms, cacheable_share=share)
        episode = after_facts(episode, turn.turn_index, turn.facts, at_ms=at_ms, cacheable_share=share)
        decision.answer.model = ""  # the fold above needs to know who served; the record must not claim a choice
        yield record
        yield _record(trajectory, place, at_ms, turn=journal_pb2.TurnRecord(request=_report(turn, trajectory, place)))
    request = router_pb2.ReportOutcomeRequest(policy=place.policy)
    request.MergeFrom(trajectory.outcome)
    outcome = journal_pb2.OutcomeRecord(request=request, joined_decisions=len(trajectory.turns))
    ended_at_ms = _first_of(trajectory.at_ms, trajectory.turns[-1].at_ms, place.now_ms)
    yield _record(trajectory, place, ended_at_ms, outcome=outcome)


def _write_decision(
    record: journal_pb2.DecisionRecord, turn: RecordedTurn, trajectory: Trajectory, *, episode: Episode, place: Place
) -> None:
    request = router_pb2.DecideRequest(
        policy=place.policy, episode_id=trajectory.outcome.episode_id, turn_index=turn.turn_index, context=turn.context
    )
    if trajectory.chosen_once and turn.facts.served_model == episode.standing(turn.turn_index).incumbent:
        request.constraints.must_stay_because = _CHOSEN_ONCE
    seen = _see(request, episode, place, at_ms=_first_of(turn.at_ms, trajectory.at_ms, place.now_ms))
    choice = _choice(seen, turn.facts.served_model)
    key = decision_key(place.policy, request.episode_id, request.turn_index, 0)
    answer = records.answer(seen, choice, decision_id=key.hex(), policy_version=0)
    del answer.ranked[:]
    records.write_decision(record, seen, choice, answer, settings_version=place.state.settings_version)


def _see(request: router_pb2.DecideRequest, episode: Episode, place: Place, *, at_ms: int) -> Turn:
    settings, context = place.state.settings.choice, request.context
    kind = heuristic.tool_type(settings.heuristic, given=context.tool_type, tool_name=context.tool_name)
    return see(
        request,
        episode,
        place.registry,
        settings=settings,
        tool_type=kind,
        phase=phase_of(request, episode, kind, debounce_turns=settings.phase_debounce_turns),
        draw=0.0,
        assignment=_NO_COHORT,
        mode=types_pb2.MODE_SHADOW,
        prompt_growth_tokens=settings.default_prompt_growth_tokens,
        now_ms=at_ms,
    )


def _choice(turn: Turn, served: str) -> Choice:
    """What was played, as a choice of unknown probability; a held turn lists the model that served alone."""
    reason = _opening(turn, served)
    held = reason in (types_pb2.REASON_HELD, types_pb2.REASON_MUST_STAY)
    offers = tuple(o for o in turn.offers if not held or o.model.name == served)
    return Choice(
        model=served,
        propensity=0.0,
        reason=reason,
        decision_point=not held,
        offers=offers,
        probabilities=[0.0] * len(offers),
        appraisals=[None] * len(offers),
        excluded=[types_pb2.EXCLUSION_UNSPECIFIED] * len(offers),
        cell=UNIT,
    )


def _opening(turn: Turn, served: str) -> types_pb2.Reason.ValueType:
    """Why the turn counts as a decision point; the contract has no reason for a change that others made."""
    if not turn.incumbent:
        return types_pb2.REASON_FIRST_TURN
    if turn.request.constraints.HasField("must_stay_because"):
        return types_pb2.REASON_MUST_STAY
    if turn.phase != turn.earlier_phase:
        return types_pb2.REASON_PHASE_CHANGED
    return types_pb2.REASON_HELD if served == turn.incumbent else types_pb2.REASON_UNSPECIFIED


def _report(turn: RecordedTurn, trajectory: Trajectory, place: Place) -> router_pb2.ReportTurnRequest:
    return router_pb2.ReportTurnRequest(
        policy=place.policy, episode_id=trajectory.outcome.episode_id, turn_index=turn.turn_index, facts=turn.facts
    )


def _record(trajectory: Trajectory, place: Place, at_ms: int, **body: Any) -> journal_pb2.JournalRecord:
    return journal_pb2.JournalRecord(
        received_at_ms=at_ms, reporter=REPORTER, policy=place.policy, episode_id=trajectory.outcome.episode_id, **body
    )


def _first_of(*times: int | None) -> int:
    """The first time that is known, in ms since 1970; the last one is."""
    return next(time for time in times if time is not None)
