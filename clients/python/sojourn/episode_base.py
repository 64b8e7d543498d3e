"""What an episode can do, once for both clients.

`EpisodeBase` speaks in two types that its subclasses fill in: what a decision comes as (a `Decision`, or an
awaitable of one) and what a report comes as. So the two surfaces cannot drift apart, and only the waiting
differs.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Generic, TypeVar, Unpack

from sojourn.decision import Decision
from sojourn.messages import OutcomeReport, Status, TurnInputs, TurnReport, turn_facts
from sojourn.progress import Progress, Question
from sojourn.v1 import router_pb2

DecisionT = TypeVar("DecisionT")
ReceiptT = TypeVar("ReceiptT")


class EpisodeBase(ABC, Generic[DecisionT, ReceiptT]):
    """One episode, from first turn to outcome.

    A context manager: an exception that leaves the block abandons the episode, and so does a block that ends
    without an outcome; `leave_open` is for outcomes that come from elsewhere. One agent's loop owns it.
    """

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    @property
    def episode_id(self) -> str:
        """The caller's name for the episode."""
        return self._progress.key.episode_id

    @property
    def decision(self) -> Decision | None:
        """The newest decision, None before the first."""
        newest = self._progress.newest
        return newest.decision if newest else None

    def decide(self, **inputs: Unpack[TurnInputs]) -> DecisionT:
        """Return the model for the next turn, within the decide deadline.

        Without an answer from the router: the incumbent, else the fallback table's model, and the decision's
        `fallback` says why. Raises InvalidRequest, UnmetPrecondition, Conflict or NotFound for the caller's
        mistakes, which leave the turn unbegun, and NoFallback if no model is left.
        """
        return self._settle(self._progress.ask(inputs))

    def retry(self, **changes: Unpack[TurnInputs]) -> DecisionT:
        """Return another model for the newest turn, because the chosen one could not serve (an outage).

        The turn's inputs are asked again, with `changes`; what was reported of the failed attempt is
        forgotten. Raises as `decide` does, and ValueError before the first decision.
        """
        return self._settle(self._progress.ask_again(changes))

    def report(self, **facts: Unpack[TurnReport]) -> None:
        """Record facts of the newest turn; they ride on the next Decide, or on the outcome.

        May be called again: a later value of the same field wins. Raises ValueError before the first
        decision.
        """
        self._progress.record(turn_facts(facts))

    def succeed(self, *, wait: bool = False, **outcome: Unpack[OutcomeReport]) -> ReceiptT:
        """End the episode as SUCCEEDED, score 1 unless given.

        Gives None at once, while the outcome is sent in the background. With `wait`, gives the router's
        acknowledgement: the outcome is durable. Then raises RouterUnavailable after the report deadline (the
        outcome stays queued), DroppedReports if the queue is full, RequestRefused if the router refuses.
        """
        return self._end("SUCCEEDED", outcome, wait=wait)

    def fail(self, *, wait: bool = False, **outcome: Unpack[OutcomeReport]) -> ReceiptT:
        """End the episode as FAILED, score 0 unless given. `wait` as in `succeed`."""
        return self._end("FAILED", outcome, wait=wait)

    def abandon(self, *, wait: bool = False, **outcome: Unpack[OutcomeReport]) -> ReceiptT:
        """End the episode as ABANDONED: not learned unless a score is given. `wait` as in `succeed`."""
        return self._end("ABANDONED", outcome, wait=wait)

    def finish(self, *, wait: bool = False, **outcome: Unpack[OutcomeReport]) -> ReceiptT:
        """End the episode by its `score` alone, 0 to 1. `wait` as in `succeed`."""
        return self._end(None, outcome, wait=wait)

    def leave_open(self) -> ReceiptT:
        """Leave without an outcome; `report_outcome` gives it later. Sends the last facts, gives None."""
        return self._volunteer(self._progress.leave())

    def _end(self, status: Status | None, outcome: OutcomeReport, *, wait: bool) -> ReceiptT:
        request, before = self._progress.end(status, outcome)
        return self._deliver(request, before=before, wait=wait)

    @abstractmethod
    def _settle(self, question: Question) -> DecisionT:
        """Ask the router and settle the answer."""

    @abstractmethod
    def _deliver(
        self, request: router_pb2.ReportOutcomeRequest, *, before: router_pb2.ReportTurnRequest | None, wait: bool
    ) -> ReceiptT:
        """Queue the outcome, after another report if there is one."""

    @abstractmethod
    def _volunteer(self, request: router_pb2.ReportTurnRequest | None) -> ReceiptT:
        """Queue facts that the caller did not ask to send, if there are any."""
