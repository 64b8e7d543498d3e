"""What one episode has seen so far, and what to ask and tell next; both clients put their calls around it.

A turn begins when its answer is settled, so a refused request leaves everything as it was. The facts of turn
t ride on the request of turn t + 1, and those of the last turn on the outcome. A retry raises `attempt` on
the same turn: it sends the facts of the turn before once more, forgets those of the failed attempt, and
denies the models that the client itself chose for it, since the router knows only its own. A turn that the
router has no record of, because the client decided or because its journal was away, is always told.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from sojourn.decision import Decision, clients_decision, routers_decision
from sojourn.errors import MISTAKES, NoFallback, Refusal, UnmetPrecondition, error_for
from sojourn.fallback import FallbackTable, choose
from sojourn.messages import OutcomeReport, Status, TurnInputs, check_size, decide_request, outcome_request
from sojourn.v1 import router_pb2, types_pb2


@dataclass(frozen=True, slots=True)
class EpisodeKey:
    """What stays the same through an episode. `fallback` serves turns that the router does not answer."""

    policy: str
    episode_id: str
    fallback: FallbackTable
    task_type: str | None = None
    assignment_key: str | None = None
    first_turn_index: int = 0


@dataclass(frozen=True, slots=True)
class Turn:
    """A decided turn; `reported` is what the caller told of it, None if nothing."""

    inputs: TurnInputs
    decision: Decision
    failed: tuple[Decision, ...] = ()
    reported: types_pb2.TurnFacts | None = None

    @property
    def is_on_record(self) -> bool:
        """True if the router decided this turn and could write it down."""
        return bool(self.decision.decision_id)

    def facts(self) -> types_pb2.TurnFacts | None:
        """Return what the router should hear of this turn; None lets it assume that its choice served."""
        if self.reported is None and self.is_on_record:
            return None
        facts = types_pb2.TurnFacts(served_model=self.decision.model, decided_by_client=not self.is_on_record)
        if self.reported is not None:
            facts.MergeFrom(self.reported)
        return facts

    def served_model(self) -> str:
        """Return the model that served, as far as the client knows."""
        return (self.reported.served_model if self.reported else "") or self.decision.model


@dataclass(frozen=True, slots=True)
class Question:
    """A request under way; `previous` is the turn before it, `failed` the earlier attempts at this turn."""

    request: router_pb2.DecideRequest
    inputs: TurnInputs
    previous: Turn | None
    failed: tuple[Decision, ...] = ()


class Progress:
    """The turns of one episode. Owned by the one thread or task that runs the agent's loop."""

    def __init__(self, key: EpisodeKey) -> None:
        self.key = key
        self.ended = False
        self._newest: Turn | None = None
        self._before_newest: Turn | None = None

    @property
    def newest(self) -> Turn | None:
        """The newest decided turn, None before the first."""
        return self._newest

    def ask(self, inputs: TurnInputs) -> Question:
        """Return the question for the next turn."""
        newest = self._newest
        index = newest.decision.turn_index + 1 if newest else self.key.first_turn_index
        return self._question(inputs, previous=newest, turn_index=index)

    def ask_again(self, changes: TurnInputs) -> Question:
        """Return the question for another model at the newest turn: its inputs again, with `changes`."""
        newest = self._newest
        if newest is None:
            raise ValueError("nothing to retry: no turn has been decided")
        return self._question(
            {**newest.inputs, **changes},
            previous=self._before_newest,
            turn_index=newest.decision.turn_index,
            failed=(*newest.failed, newest.decision),
        )

    def settle(self, question: Question, answer: router_pb2.DecideResponse | Refusal) -> Decision:
        """Take the answer and begin the turn. Raises for the caller's mistakes, and NoFallback."""
        if isinstance(answer, Refusal):
            decision = self._decide_alone(question, answer)
        else:
            decision = routers_decision(question.request, answer)
        self._newest = Turn(question.inputs, decision, question.failed)
        self._before_newest = question.previous
        return decision

    def record(self, facts: types_pb2.TurnFacts) -> None:
        """Add facts to the newest turn; a later value of the same field wins."""
        if self._newest is None:
            raise ValueError("nothing to report on: no turn has been decided")
        merged = types_pb2.TurnFacts()
        if self._newest.reported is not None:
            merged.CopyFrom(self._newest.reported)
        merged.MergeFrom(facts)
        self._newest = replace(self._newest, reported=merged)

    def end(
        self, status: Status | None, outcome: OutcomeReport
    ) -> tuple[router_pb2.ReportOutcomeRequest, router_pb2.ReportTurnRequest | None]:
        """End the episode and return its outcome, and what is to be told before it, if anything.

        The facts of the last turn ride on the outcome, which counts them to the newest turn that the router
        has on record. So those of a turn that it has not go before it, under their own index.
        """
        self._check_open()
        last = self._newest
        told_apart = last is not None and not last.is_on_record
        request = outcome_request(
            status,
            outcome,
            policy=self.key.policy,
            episode_id=self.key.episode_id,
            last_turn=last.facts() if last and not told_apart else None,
        )
        self.ended = True
        return request, self.turn_report(last) if told_apart else None

    @property
    def is_to_be_abandoned(self) -> bool:
        """True for an episode that has begun and was neither ended nor left open."""
        return self._newest is not None and not self.ended

    def leave(self) -> router_pb2.ReportTurnRequest | None:
        """Take the episode as ended elsewhere and return its last turn's report, None if there is none."""
        self._check_open()
        self.ended = True
        return self.turn_report(self._newest)

    def turn_report(self, turn: Turn | None) -> router_pb2.ReportTurnRequest | None:
        """Return a turn's facts as a report of their own; None if there is nothing to tell."""
        facts = turn.facts() if turn else None
        if turn is None or facts is None:
            return None
        return router_pb2.ReportTurnRequest(
            policy=self.key.policy, episode_id=self.key.episode_id, turn_index=turn.decision.turn_index, facts=facts
        )

    def _question(
        self, inputs: TurnInputs, *, previous: Turn | None, turn_index: int, failed: tuple[Decision, ...] = ()
    ) -> Question:
        self._check_open()
        request = decide_request(
            inputs,
            policy=self.key.policy,
            episode_id=self.key.episode_id,
            turn_index=turn_index,
            attempt=len(failed),
            previous_turn=previous.facts() if previous else None,
            assignment_key=self.key.assignment_key,
        )
        if self.key.task_type:
            request.context.task_type = self.key.task_type
        request.constraints.deny.extend(decision.model for decision in failed if decision.fallback)
        check_size(request)
        return Question(request, inputs, previous, failed)

    def _decide_alone(self, question: Question, refusal: Refusal) -> Decision:
        if refusal.code in MISTAKES:
            raise error_for(refusal)
        incumbent = question.previous.served_model() if question.previous else None
        model = choose(
            question.request,
            incumbent=incumbent,
            table=self.key.fallback,
            failed_models={decision.model for decision in question.failed},
        )
        if model is None:
            raise NoFallback(
                f"the router did not decide ({refusal.code}: {refusal.message}), and no incumbent and no "
                "fallback model may serve this turn"
            )
        return clients_decision(question.request, model=model, incumbent=incumbent, because=refusal.code)

    def _check_open(self) -> None:
        if self.ended:
            raise UnmetPrecondition(
                Refusal("FAILED_PRECONDITION", f"episode {self.key.episode_id!r} has ended", "EPISODE_ENDED")
            )
