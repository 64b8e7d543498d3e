"""The asyncio client's queue of reports, emptied by one task. The rules are those of `delivery`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from random import Random

from sojourn.counters import Tally
from sojourn.errors import DroppedReports, Refusal
from sojourn.reports import Acknowledgement, Report, ReportResponse, backoff_s, conclude, is_to_be_retried

AsyncSettled = asyncio.Future[Acknowledgement | Refusal]


class AsyncDelivery:
    """A bounded queue and the task that sends it, begun at the first report. Belongs to one event loop."""

    def __init__(
        self,
        send: Callable[[Report], Awaitable[ReportResponse | Refusal]],
        *,
        queue_size: int,
        rng: Random,
        tally: Tally,
    ) -> None:
        self._send = send
        self._queue_size = queue_size
        self._rng = rng
        self._tally = tally
        self._queue: asyncio.Queue[tuple[Report, AsyncSettled]] = asyncio.Queue()
        self._unsettled = 0  # queued reports and the one being sent
        self._stopped = False
        self._task: asyncio.Task[None] | None = None

    def offer(self, report: Report) -> AsyncSettled | None:
        """Queue a report; None if the queue is full and it is dropped. Raises DroppedReports once stopped."""
        if self._stopped:
            self._tally.count_dropped(1, "the client is closed")
            raise DroppedReports(1, "the client is closed")
        if self._unsettled >= self._queue_size:
            self._tally.count_dropped(1, "the queue is full")
            return None
        settled: AsyncSettled = asyncio.get_running_loop().create_future()
        self._queue.put_nowait((report, settled))
        self._unsettled += 1
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="sojourn-reports")
        return settled

    async def flush(self, timeout_s: float) -> bool:
        """Wait until every report is settled; False if the time ran out first."""
        if not self._unsettled:
            return True
        try:
            async with asyncio.timeout(timeout_s):
                await self._queue.join()
        except TimeoutError:
            return False
        return True

    async def stop(self) -> int:
        """End the task, cancelling its call; give up the reports that are left and return their number."""
        self._stopped = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait({self._task})
        left, self._unsettled = self._unsettled, 0
        return left

    async def _run(self) -> None:
        while True:
            report, settled = await self._queue.get()
            retries = 0
            while is_to_be_retried(answer := await self._send(report)):
                self._tally.count("reports_retried")
                await asyncio.sleep(backoff_s(retries, answer.retry_after_s, self._rng))
                retries += 1
            settled.set_result(conclude(report, answer, self._tally))
            self._unsettled -= 1
            self._queue.task_done()
