"""The blocking client. One `Client` serves any number of threads; one `Episode` belongs to one agent's loop.

A decision waits for the router at most its deadline and then goes on without it. Reports are queued and sent
by one background thread, so that ending an episode never waits either, unless it is asked to.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import grpc

from sojourn.channel import OPTIONS, closed_channel, refusal_of
from sojourn.client_base import ClientBase, ClientSettings
from sojourn.decision import Decision
from sojourn.delivery import Delivery
from sojourn.episode_base import EpisodeBase
from sojourn.errors import DroppedReports, Refusal, RouterUnavailable, error_for
from sojourn.messages import ReportRequest
from sojourn.progress import Progress, Question
from sojourn.reports import Acknowledgement, Metadata, Report, ReportResponse
from sojourn.v1 import router_pb2
from sojourn.v1.router_pb2_grpc import RouterServiceStub

AnswerT = TypeVar("AnswerT")

_log = logging.getLogger("sojourn")


class Client(ClientBase["Episode", Acknowledgement | None]):
    """A connection to the router, safe to share between threads; `ClientSettings` says what it is made with.

    As a context manager it waits for the router on entry but goes on without one, and flushes and closes on
    exit.
    """

    def __init__(self, target: str, **settings: Unpack[ClientSettings]) -> None:
        super().__init__(target, **settings)
        if self._credentials is None:
            self._channel = grpc.insecure_channel(target, OPTIONS)
        else:
            self._channel = grpc.secure_channel(target, self._credentials, OPTIONS)
        self._stub = RouterServiceStub(self._channel)
        self._delivery = Delivery(self._send, queue_size=self._queue_size, rng=self._rng, tally=self._tally)

    def connect(self, timeout_s: float = 2.0) -> None:
        """Wait until the channel is ready. Raises RouterUnavailable; the client may be used all the same."""
        ready = grpc.channel_ready_future(self._channel)
        try:
            ready.result(timeout_s)
        except grpc.FutureTimeoutError:
            ready.cancel()
            raise RouterUnavailable(f"no router at {self.target} within {timeout_s:g} s") from None

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until every report is acknowledged or refused; False if the time ran out first."""
        return self._delivery.flush(timeout_s)

    def close(self, timeout_s: float = 5.0) -> None:
        """Flush, then close. Raises DroppedReports for all reports that were ever given up unacknowledged."""
        self.flush(timeout_s)
        if left := self._delivery.stop(cancel_calls=self._channel.close):
            self._tally.count_dropped(left, f"not acknowledged within {timeout_s:g} s of close()")
        if dropped := self.counters.reports_dropped:
            raise DroppedReports(dropped, "see the client's counters and log")

    def __enter__(self) -> Self:
        try:
            self.connect()
        except RouterUnavailable as error:
            _log.warning("%s: going on without it", error)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.close()
        except DroppedReports:
            if error is None:  # else the caller's own exception matters more; the drop is logged and counted
                raise

    def _begin(self, progress: Progress) -> Episode:
        return Episode(self, progress)

    def _decide(self, request: router_pb2.DecideRequest) -> router_pb2.DecideResponse | Refusal:
        return _call(
            self._stub.Decide,
            request,
            timeout_s=self._decide_deadline_s,
            metadata=self._with_token(self._metadata(request)),
        )

    def _send(self, report: Report) -> ReportResponse | Refusal:
        is_turn = isinstance(report.request, router_pb2.ReportTurnRequest)
        method: Callable[..., ReportResponse] = self._stub.ReportTurn if is_turn else self._stub.ReportOutcome
        return _call(
            method, report.request, timeout_s=self._report_deadline_s, metadata=self._with_token(report.metadata)
        )

    def _deliver(self, request: ReportRequest, *, wait: bool = False) -> Acknowledgement | None:
        settled = self._delivery.offer(Report(request, self._metadata(request)))
        if not wait:
            return None
        if settled is None:
            raise DroppedReports(1, "the queue is full")
        try:
            result = settled.result(self._report_deadline_s)
        except TimeoutError:
            raise RouterUnavailable("the report is not acknowledged yet; it stays queued") from None
        if isinstance(result, Refusal):
            raise error_for(result)
        return result


class Episode(EpisodeBase[Decision, Acknowledgement | None]):
    """An episode of the blocking client; `EpisodeBase` says what it can do."""

    def __init__(self, client: Client, progress: Progress) -> None:
        super().__init__(progress)
        self._client = client

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress.is_to_be_abandoned:
            self.abandon()

    def _settle(self, question: Question) -> Decision:
        answer = self._client._decide(question.request)
        decision = self._progress.settle(question, answer)
        self._client._tally.count_decision(decision)
        if decision.fallback is not None:
            # The facts rode on a request that may not have arrived; telling them twice is harmless.
            self._volunteer(self._progress.turn_report(question.previous))
        return decision

    def _deliver(
        self, request: router_pb2.ReportOutcomeRequest, *, before: router_pb2.ReportTurnRequest | None, wait: bool
    ) -> Acknowledgement | None:
        self._volunteer(before)
        return self._client._deliver(request, wait=wait)

    def _volunteer(self, request: router_pb2.ReportTurnRequest | None) -> Acknowledgement | None:
        return None if request is None else self._client._deliver(request)


def _call(method: Callable[..., AnswerT], request: Any, *, timeout_s: float, metadata: Metadata) -> AnswerT | Refusal:
    try:
        return method(request, timeout=timeout_s, metadata=metadata)
    except grpc.RpcError as error:
        return refusal_of(error)
    except ValueError:  # the only sign by which grpc tells of a closed channel
        return closed_channel()
