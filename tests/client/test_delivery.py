"""The queue of reports keeps its order, its bound and its count, for threads and for asyncio alike.

The queues take the function that sends, so here a list of answers stands in for the network alone.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable
from random import Random

import pytest

from sojourn.async_delivery import AsyncDelivery
from sojourn.counters import Tally
from sojourn.delivery import Delivery
from sojourn.errors import DroppedReports, Refusal
from sojourn.reports import Acknowledgement, Report, ReportResponse
from sojourn.v1 import router_pb2

RECORDED = router_pb2.ReportTurnResponse(state=router_pb2.REPORT_STATE_RECORDED)
AWAY = Refusal("UNAVAILABLE", "gone")
WRONG = Refusal("INVALID_ARGUMENT", "no")

Answer = ReportResponse | Refusal


class AtOnce(Random):
    """Draws the lower end, so that retries do not wait."""

    def uniform(self, a: float, b: float) -> float:
        return a


def report(turn_index: int) -> Report:
    return Report(router_pb2.ReportTurnRequest(episode_id="e", turn_index=turn_index))


class Wire:
    """Answers from a list, one a call, and remembers the turns that were sent; RECORDED when the list is empty."""

    def __init__(self, *answers: Answer) -> None:
        self.answers = list(answers)
        self.sent: list[int] = []
        self.is_open = threading.Event()
        self.is_open.set()

    def send(self, sent: Report) -> Answer:
        self.is_open.wait()
        assert isinstance(sent.request, router_pb2.ReportTurnRequest)
        self.sent.append(sent.request.turn_index)
        return self.answers.pop(0) if self.answers else RECORDED

    async def send_later(self, sent: Report) -> Answer:
        await asyncio.to_thread(self.is_open.wait)
        return self.send(sent)


class Queue:
    """Both deliveries behind one asynchronous face."""

    def __init__(self, kind: type, wire: Wire, queue_size: int = 8) -> None:
        self.tally = Tally()
        self.wire = wire
        send: Callable[[Report], Answer] | Callable[[Report], Awaitable[Answer]]
        send = wire.send if kind is Delivery else wire.send_later
        self.delivery = kind(send, queue_size=queue_size, rng=AtOnce(), tally=self.tally)

    async def flush(self, timeout_s: float = 5.0) -> bool:
        flushed = self.delivery.flush(timeout_s)
        return bool(flushed if isinstance(flushed, bool) else await flushed)

    async def stop(self) -> int:
        if isinstance(self.delivery, Delivery):
            return self.delivery.stop(cancel_calls=self.wire.is_open.set)
        return int(await self.delivery.stop())


both = pytest.mark.parametrize("kind", [Delivery, AsyncDelivery])


@both
def test_reports_keep_their_order_through_retries(kind: type):
    async def scenario() -> None:
        queue = Queue(kind, Wire(AWAY, AWAY, RECORDED, AWAY))
        settled = [queue.delivery.offer(report(index)) for index in range(3)]
        assert await queue.flush()
        assert queue.wire.sent == [0, 0, 0, 1, 1, 2]
        assert [future.result() for future in settled] == [Acknowledgement("RECORDED")] * 3
        assert (queue.tally.read().reports_retried, queue.tally.read().reports_acknowledged) == (3, 3)
        assert await queue.stop() == 0

    asyncio.run(scenario())


@both
def test_a_report_refused_for_good_does_not_hold_up_the_next(kind: type):
    async def scenario() -> None:
        queue = Queue(kind, Wire(WRONG))
        first, second = queue.delivery.offer(report(0)), queue.delivery.offer(report(1))
        assert await queue.flush()
        assert (first.result(), second.result()) == (WRONG, Acknowledgement("RECORDED"))
        assert queue.tally.refused()[0].refusal == WRONG
        await queue.stop()

    asyncio.run(scenario())


@both
def test_a_full_queue_drops_the_newest_report_and_counts_it(kind: type):
    async def scenario() -> None:
        queue = Queue(kind, Wire(), queue_size=2)
        queue.wire.is_open.clear()
        settled = [queue.delivery.offer(report(index)) for index in range(4)]
        assert [future is None for future in settled] == [False, False, True, True]
        assert not await queue.flush(0.01)
        queue.wire.is_open.set()
        assert await queue.flush()
        assert queue.wire.sent == [0, 1]
        assert queue.tally.read().reports_dropped == 2
        await queue.stop()

    asyncio.run(scenario())


@both
def test_stopping_counts_what_is_left_and_refuses_what_comes_after(kind: type):
    async def scenario() -> None:
        queue = Queue(kind, Wire(*[AWAY] * 100_000))
        for index in range(3):
            queue.delivery.offer(report(index))
        assert not await queue.flush(0.05)
        assert await queue.stop() == 3
        with pytest.raises(DroppedReports):
            queue.delivery.offer(report(3))
        assert queue.tally.read().reports_dropped == 1

    asyncio.run(scenario())
