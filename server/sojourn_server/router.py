"""The way of a request: episode -> turn -> choice -> journal -> answer; and of reports: check -> journal -> answer.

The router owns no truth. What it decides is committed before it answers; what it knows comes from the journal (through
the episode cache), the world (what administrators set) and the published snapshot. Time comes in with each call.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, Protocol

import structlog

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server import records
from sojourn_server.episodes import (
    Episodes,
    check_order,
    contradicts,
    duplicate_or_conflict,
    same_or_conflict,
    with_previous_turn,
)
from sojourn_server.errors import (
    FieldViolation,
    InvalidField,
    JournalUnavailable,
    NoEligibleCandidate,
    UnknownDecision,
    UnknownPolicy,
)
from sojourn_server.journal.journal import Journal, decision_key
from sojourn_server.policy import draws, heuristic
from sojourn_server.policy.decision import Choice, decide, fall_back
from sojourn_server.policy.episode import Episode, after_decision, after_record
from sojourn_server.policy.learned import Knowledge, prompt_growth_tokens
from sojourn_server.policy.turn import Turn, phase_of, see
from sojourn_server.world import PolicyState, World

DEFAULT_POLICY = "default"
_RECORDED = router_pb2.REPORT_STATE_RECORDED
_DUPLICATE = router_pb2.REPORT_STATE_DUPLICATE
_LATE = router_pb2.REPORT_STATE_LATE
_NO_COHORT = draws.Assignment(types_pb2.COHORT_UNSPECIFIED, 1.0)
log = structlog.get_logger(__name__)


class Call(NamedTuple):
    """What the edge knows about a call: when it came (ms since 1970), from whom, trusted or not, under which span."""

    received_at_ms: int
    reporter: str = ""
    quarantined: bool = False
    trace_id: bytes = b""
    span_id: bytes = b""


class Wakeable(Protocol):
    """Whoever follows the journal."""

    def wake(self) -> None:
        """Something was committed."""


class Router:
    """Decides turns and takes reports. Safe to call from many threads."""

    def __init__(self, journal: Journal, episodes: Episodes, *, world: World, secret: bytes) -> None:
        """`secret` keys the draws (at most 64 bytes); `world` is what administrators have set so far."""
        self._journal = journal
        self._episodes = episodes
        self._secret = secret
        self._world = world  # replaced whole by administration
        self._knowledge: Mapping[str, Knowledge] = MappingProxyType({})  # replaced whole by the learner
        self._learner: Wakeable | None = None

    @property
    def world(self) -> World:
        """What administrators have set, as deciders see it."""
        return self._world

    def follow(self, world: World) -> None:
        """Decides under a newer world from the next turn on, once there is a version of each of its policies."""
        if world.position > self._world.position and self._knowledge.keys() >= world.policies.keys():
            self._world = world

    def use(self, policy: str, knowledge: Knowledge) -> None:
        """Decides by another version of a policy from the next turn on."""
        self._knowledge = MappingProxyType({**self._knowledge, policy: knowledge})

    def knowledge(self, policy: str) -> Knowledge:
        """The version that decides for a policy now. Raises UnknownPolicy."""
        self._state(policy)
        return self._knowledge[policy]

    def wakes(self, learner: Wakeable) -> None:
        """Whom to wake when an outcome is committed."""
        self._learner = learner

    def _state(self, policy: str) -> PolicyState:
        state = self._world.policies.get(policy)
        if state is None:
            raise UnknownPolicy(f"policy: {policy!r} is not configured; there are {sorted(self._world.policies)}")
        return state

    # --- Decide ---

    def decide(self, request: router_pb2.DecideRequest, call: Call) -> router_pb2.DecideResponse:
        """Chooses the model of a turn; raises the errors of RouterService.Decide, but never fails on an inner fault."""
        policy = request.policy or DEFAULT_POLICY
        state = self._state(policy)
        with self._episodes.lock(policy, request.episode_id):
            try:
                return self._decide(policy, state, request, call)
            except JournalUnavailable as error:
                log.error("decided_without_journal", policy=policy, episode_id=request.episode_id, error=str(error))
                self._episodes.forget(policy, request.episode_id)
                return self._decide_without_journal(policy, state, request, call)

    def _decide(
        self, policy: str, state: PolicyState, request: router_pb2.DecideRequest, call: Call
    ) -> router_pb2.DecideResponse:
        share = state.settings.choice.cacheable_share
        episode = self._episodes.get(policy, request.episode_id, cacheable_share=share)
        earlier = self._earlier_answer(policy, request, episode)
        if earlier is not None:
            return earlier
        check_order(request, episode)
        met = with_previous_turn(episode, request, at_ms=call.received_at_ms, cacheable_share=share)
        turn = self._see(policy, state, request, met, call=call)
        choice, version = self._choose(policy, turn, state)
        key = decision_key(policy, request.episode_id, request.turn_index, request.attempt)
        answer = records.answer(turn, choice, decision_id=key.hex(), policy_version=version)
        answer.previous_turn_ignored = contradicts(episode, request)
        record = _record(policy, request.episode_id, call)
        decision = record.decision
        records.write_decision(decision, turn, choice, answer, settings_version=state.settings_version)
        decision.trace_id, decision.span_id = call.trace_id, call.span_id
        appended = self._journal.append(record)
        if appended.first is not None:
            self._episodes.forget(policy, request.episode_id)
            return same_or_conflict(request, appended.first)
        now_ms = call.received_at_ms
        self._episodes.put(
            policy, request.episode_id, after_decision(met, decision, at_ms=now_ms, cacheable_share=share)
        )
        return answer

    def _earlier_answer(
        self, policy: str, request: router_pb2.DecideRequest, episode: Episode
    ) -> router_pb2.DecideResponse | None:
        newest = episode.newest
        if newest is None or (request.turn_index, request.attempt) > (newest.turn_index, newest.attempt):
            return None
        first = self._journal.get(decision_key(policy, request.episode_id, request.turn_index, request.attempt))
        return same_or_conflict(request, first) if first is not None else None

    def _see(
        self, policy: str, state: PolicyState, request: router_pb2.DecideRequest, episode: Episode, *, call: Call
    ) -> Turn:
        settings, context, registry = state.settings.choice, request.context, self._world.registry
        _check_candidates(request, registry.models)
        kind = heuristic.tool_type(settings.heuristic, given=context.tool_type, tool_name=context.tool_name)
        phase = phase_of(request, episode, kind, debounce_turns=settings.phase_debounce_turns)
        growth = settings.default_prompt_growth_tokens
        if policy in self._knowledge:
            growth = prompt_growth_tokens(self._knowledge[policy].statistics, settings)
        return see(
            request,
            episode,
            registry,
            settings=settings,
            tool_type=kind,
            phase=phase,
            draw=draws.phase_draw(self._secret, policy, request.episode_id, phase.phase),
            assignment=episode.assignment or self._assign(policy, state, request),
            mode=state.mode,
            prompt_growth_tokens=growth,
            now_ms=call.received_at_ms,
        )

    def _assign(self, policy: str, state: PolicyState, request: router_pb2.DecideRequest) -> draws.Assignment:
        draw = draws.cohort_draw(self._secret, policy, request.assignment_key or request.episode_id)
        share = state.settings.choice.control_share
        return draws.assign(state.mode, draw, live_share=state.live_share, control_share=share)

    def _choose(self, policy: str, turn: Turn, state: PolicyState) -> tuple[Choice, int]:
        """The choice and the version that made it; an inner fault keeps the incumbent, else takes the heuristic's."""
        knowledge = self._knowledge[policy]
        try:
            return decide(turn, knowledge, state.settings.choice), knowledge.version
        except NoEligibleCandidate:
            raise
        except Exception:  # whatever broke inside, an agent must not stop for it
            log.exception("choice_failed", policy=policy, episode_id=turn.request.episode_id)
            return fall_back(turn, state.settings.choice, types_pb2.REASON_INNER_FAULT), knowledge.version

    def _decide_without_journal(
        self, policy: str, state: PolicyState, request: router_pb2.DecideRequest, call: Call
    ) -> router_pb2.DecideResponse:
        """Depends on the request alone, so that all hosts agree; never learned."""
        share = state.settings.choice.cacheable_share
        met = with_previous_turn(Episode(), request, at_ms=call.received_at_ms, cacheable_share=share)
        turn = self._see(policy, state, request, met._replace(assignment=_NO_COHORT), call=call)
        choice = fall_back(turn, state.settings.choice, types_pb2.REASON_JOURNAL_UNAVAILABLE)
        return records.answer(turn, choice, decision_id="", policy_version=0)

    # --- Reports ---

    def report_turn(self, request: router_pb2.ReportTurnRequest, call: Call) -> router_pb2.ReportTurnResponse:
        """Records the facts of a turn; raises the errors of RouterService.ReportTurn."""
        request = self._named(request)
        policy, episode_id = request.policy or DEFAULT_POLICY, request.episode_id
        share = self._state(policy).settings.choice.cacheable_share
        with self._episodes.lock(policy, episode_id):
            episode = self._episodes.get(policy, episode_id, cacheable_share=share)
            known = episode.facts.get(request.turn_index)
            if known is not None:
                return duplicate_or_conflict(known == request.facts, f"turn {request.turn_index}")
            self._check_decided(policy, request, episode)
            turn = journal_pb2.TurnRecord(request=request, late=episode.ended)
            record = _record(policy, episode_id, call, turn=turn)
            appended = self._journal.append(record)
            if appended.first is not None:
                same = appended.first.turn.request.facts == request.facts
                return duplicate_or_conflict(same, f"turn {request.turn_index}")
            self._episodes.put(policy, episode_id, after_record(episode, record, cacheable_share=share))
        return router_pb2.ReportTurnResponse(state=_LATE if turn.late else _RECORDED)

    def _named(self, request: router_pb2.ReportTurnRequest) -> router_pb2.ReportTurnRequest:
        """The request with its policy, episode and turn filled in from `decision_id`, where it is given."""
        if not request.decision_id:
            return request
        found = self._journal.get(bytes.fromhex(request.decision_id))
        if found is None or found.WhichOneof("body") != "decision":
            raise UnknownDecision(f"decision_id: no decision {request.decision_id!r}")
        return router_pb2.ReportTurnRequest(
            policy=found.policy,
            episode_id=found.episode_id,
            turn_index=found.decision.request.turn_index,
            facts=request.facts,
        )

    def _check_decided(self, policy: str, request: router_pb2.ReportTurnRequest, episode: Episode) -> None:
        """A turn that was never decided here may be reported only as one that the client decided."""
        newest = episode.newest
        decided = newest is not None and newest.turn_index == request.turn_index
        if decided or request.facts.decided_by_client:
            return
        if self._journal.get(decision_key(policy, request.episode_id, request.turn_index, 0)) is None:
            raise UnknownDecision(
                f"episode {request.episode_id!r} has no decision at turn {request.turn_index}; "
                "set facts.decided_by_client for a turn that the client decided"
            )

    def report_outcome(self, request: router_pb2.ReportOutcomeRequest, call: Call) -> router_pb2.ReportOutcomeResponse:
        """Ends an episode, durably; raises the errors of RouterService.ReportOutcome."""
        policy, episode_id = request.policy or DEFAULT_POLICY, request.episode_id
        share = self._state(policy).settings.choice.cacheable_share
        with self._episodes.lock(policy, episode_id):
            episode = self._episodes.get(policy, episode_id, cacheable_share=share)
            outcome = journal_pb2.OutcomeRecord(
                request=request, late=episode.expired, joined_decisions=episode.decisions, quarantined=call.quarantined
            )
            appended = self._journal.append(_record(policy, episode_id, call, outcome=outcome), durable=True)
            self._episodes.forget(policy, episode_id)
        if appended.first is None:
            if self._learner is not None:
                self._learner.wake()
            state = _LATE if outcome.late else _RECORDED
            return router_pb2.ReportOutcomeResponse(state=state, joined_decisions=episode.decisions)
        if appended.first.WhichOneof("body") == "episode_expired":
            return self.report_outcome(request, call)  # it expired while we looked: now the cache knows
        duplicate_or_conflict(appended.first.outcome.request == request, f"the outcome of episode {episode_id!r}")
        return router_pb2.ReportOutcomeResponse(
            state=_DUPLICATE, joined_decisions=appended.first.outcome.joined_decisions
        )


def _record(policy: str, episode_id: str, call: Call, **body: Any) -> journal_pb2.JournalRecord:
    return journal_pb2.JournalRecord(
        received_at_ms=call.received_at_ms, reporter=call.reporter, policy=policy, episode_id=episode_id, **body
    )


def _check_candidates(request: router_pb2.DecideRequest, known: Mapping[str, object]) -> None:
    unknown = [
        FieldViolation(f"candidates[{i}].terms", f"{c.model!r} is not in the registry, so its terms are needed")
        for i, c in enumerate(request.candidates)
        if c.model not in known and not c.HasField("terms")
    ]
    if unknown:
        raise InvalidField(unknown)
