"""The asyncio client: the surface of `client`, with `await` where that one waits.

One `AsyncClient` belongs to one event loop and serves any number of tasks; one `AsyncEpisode` belongs to one
agent's loop. The channel is opened at the first use, because grpc.aio ties it to the loop that runs then.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Coroutine
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

import grpc

from sojourn.async_delivery import AsyncDelivery
from sojourn.channel import OPTIONS, closed_channel, refusal_of
from sojourn.client_base import ClientBase
from sojourn.decision import Decision
from sojourn.episode_base import EpisodeBase
from sojourn.errors import DroppedReports, Refusal, RouterUnavailable, error_for
from sojourn.messages import ReportRequest
from sojourn.progress import Progress, Question
from sojourn.reports import Acknowledgement, Metadata, Report, ReportResponse
from sojourn.v1 import router_pb2
from sojourn.v1.router_pb2_grpc import RouterServiceStub

if TYPE_CHECKING:  # the generated code has one stub for both clients; only its type file tells them apart
    from sojourn.v1.router_pb2_grpc import RouterServiceAsyncStub

AnswerT = TypeVar("AnswerT")
AsyncReceipt = Coroutine[Any, Any, Acknowledgement | None]

_log = logging.getLogger("sojourn")


class AsyncClient(ClientBase["AsyncEpisode", AsyncReceipt]):
    """A connection to the router for one event loop; `ClientSettings` says what it is made with.

    As a context manager it waits for the router on entry but goes on without one, and flushes and closes on
    exit.
    """

    async def connect(self, timeout_s: float = 2.0) -> None:
        """Wait until the channel is ready. Raises RouterUnavailable; the client may be used all the same."""
        try:
            async with asyncio.timeout(timeout_s):
                await self._channel.channel_ready()
        except TimeoutError:
            raise RouterUnavailable(f"no router at {self.target} within {timeout_s:g} s") from None

    async def flush(self, timeout_s: float = 5.0) -> bool:
        """Wait until every report is acknowledged or refused; False if the time ran out first."""
        return await self._delivery.flush(timeout_s)

    async def close(self, timeout_s: float = 5.0) -> None:
        """Flush, then close. Raises DroppedReports for all reports that were ever given up unacknowledged."""
        await self.flush(timeout_s)
        if left := await self._delivery.stop():
            self._tally.count_dropped(left, f"not acknowledged within {timeout_s:g} s of close()")
        await self._channel.close(None)
        if dropped := self.counters.reports_dropped:
            raise DroppedReports(dropped, "see the client's counters and log")

    async def __aenter__(self) -> Self:
        try:
            await self.connect()
        except RouterUnavailable as error:
            _log.warning("%s: going on without it", error)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await self.close()
        except DroppedReports:
            if error is None:  # else the caller's own exception matters more; the drop is logged and counted
                raise

    @cached_property
    def _channel(self) -> grpc.aio.Channel:
        if self._credentials is None:
            return grpc.aio.insecure_channel(self.target, OPTIONS)
        return grpc.aio.secure_channel(self.target, self._credentials, OPTIONS)

    @cached_property
    def _stub(self) -> RouterServiceAsyncStub:
        return cast("RouterServiceAsyncStub", RouterServiceStub(self._channel))

    @cached_property
    def _delivery(self) -> AsyncDelivery:
        return AsyncDelivery(self._send, queue_size=self._queue_size, rng=self._rng, tally=self._tally)

    def _begin(self, progress: Progress) -> AsyncEpisode:
        return AsyncEpisode(self, progress)

    async def _decide(self, request: router_pb2.DecideRequest) -> router_pb2.DecideResponse | Refusal:
        return await _call(
            self._stub.Decide,
            request,
            timeout_s=self._decide_deadline_s,
            metadata=self._with_token(self._metadata(request)),
        )

    async def _send(self, report: Report) -> ReportResponse | Refusal:
        is_turn = isinstance(report.request, router_pb2.ReportTurnRequest)
        method: Callable[..., Awaitable[ReportResponse]]
        method = self._stub.ReportTurn if is_turn else self._stub.ReportOutcome
        return await _call(
            method, report.request, timeout_s=self._report_deadline_s, metadata=self._with_token(report.metadata)
        )

    async def _deliver(self, request: ReportRequest, *, wait: bool = False) -> Acknowledgement | None:
        settled = self._delivery.offer(Report(request, self._metadata(request)))
        if not wait:
            return None
        if settled is None:
            raise DroppedReports(1, "the queue is full")
        await asyncio.wait({settled}, timeout=self._report_deadline_s)
        if not settled.done():
            raise RouterUnavailable("the report is not acknowledged yet; it stays queued")
        result = settled.result()
        if isinstance(result, Refusal):
            raise error_for(result)
        return result


class AsyncEpisode(EpisodeBase[Coroutine[Any, Any, Decision], AsyncReceipt]):
    """An episode of the asyncio client: `EpisodeBase` says what it can do, all but `report` awaited."""

    def __init__(self, client: AsyncClient, progress: Progress) -> None:
        super().__init__(progress)
        self._client = client

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._progress.is_to_be_abandoned:
            await self.abandon()

    async def _settle(self, question: Question) -> Decision:
        answer = await self._client._decide(question.request)
        decision = self._progress.settle(question, answer)
        self._client._tally.count_decision(decision)
        if decision.fallback is not None:
            # The facts rode on a request that may not have arrived; telling them twice is harmless.
            await self._volunteer(self._progress.turn_report(question.previous))
        return decision

    async def _deliver(
        self, request: router_pb2.ReportOutcomeRequest, *, before: router_pb2.ReportTurnRequest | None, wait: bool
    ) -> Acknowledgement | None:
        await self._volunteer(before)
        return await self._client._deliver(request, wait=wait)

    async def _volunteer(self, request: router_pb2.ReportTurnRequest | None) -> Acknowledgement | None:
        return None if request is None else await self._client._deliver(request)


async def _call(
    method: Callable[..., Awaitable[AnswerT]], request: Any, *, timeout_s: float, metadata: Metadata
) -> AnswerT | Refusal:
    try:
        return await method(request, timeout=timeout_s, metadata=metadata)
    except grpc.RpcError as error:
        return refusal_of(error)
    except grpc.aio.UsageError:  # the channel is closed
        return closed_channel()
