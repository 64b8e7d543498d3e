"""The blocking client's queue of reports, emptied by one thread.

A report stays at the head until it is settled, so the length of the queue is the number of reports that
nobody has acknowledged. One condition guards the queue and carries every signal: a new report, a settled one,
the end.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from random import Random

from sojourn.counters import Tally
from sojourn.errors import DroppedReports, Refusal
from sojourn.reports import Acknowledgement, Report, ReportResponse, backoff_s, conclude, is_to_be_retried

Settled = Future[Acknowledgement | Refusal]


class Delivery:
    """A bounded queue and the thread that sends it, begun at the first report."""

    def __init__(
        self, send: Callable[[Report], ReportResponse | Refusal], *, queue_size: int, rng: Random, tally: Tally
    ) -> None:
        self._send = send
        self._queue_size = queue_size
        self._rng = rng
        self._tally = tally
        self._changed = threading.Condition()
        self._queue: deque[tuple[Report, Settled]] = deque()  # guarded by _changed
        self._stopped = False  # guarded by _changed
        self._thread: threading.Thread | None = None  # guarded by _changed

    def offer(self, report: Report) -> Settled | None:
        """Queue a report; None if the queue is full and it is dropped. Raises DroppedReports once stopped."""
        with self._changed:
            if self._stopped:
                self._tally.count_dropped(1, "the client is closed")
                raise DroppedReports(1, "the client is closed")
            if len(self._queue) >= self._queue_size:
                self._tally.count_dropped(1, "the queue is full")
                return None
            settled = Settled()
            self._queue.append((report, settled))
            self._begin()
            self._changed.notify_all()
            return settled

    def flush(self, timeout_s: float) -> bool:
        """Wait until every report is settled; False if the time ran out first."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def stop(self, cancel_calls: Callable[[], None]) -> int:
        """End the thread, cancelling its call; give up the reports that are left and return their number."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()
        cancel_calls()
        if self._thread is not None:
            self._thread.join()
        with self._changed:
            left = len(self._queue)
            self._queue.clear()
        return left

    def _begin(self) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="sojourn-reports", daemon=True)
            self._thread.start()

    def _run(self) -> None:
        retries = 0
        while head := self._head():
            report, settled = head
            answer = self._send(report)
            if is_to_be_retried(answer):
                self._tally.count("reports_retried")
                self._pause(backoff_s(retries, answer.retry_after_s, self._rng))
                retries += 1
            else:
                self._settle(settled, conclude(report, answer, self._tally))
                retries = 0

    def _head(self) -> tuple[Report, Settled] | None:
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopped)
            return None if self._stopped else self._queue[0]

    def _pause(self, seconds: float) -> None:
        with self._changed:
            self._changed.wait_for(lambda: self._stopped, seconds)

    def _settle(self, settled: Settled, result: Acknowledgement | Refusal) -> None:
        with self._changed:
            self._queue.popleft()
            self._changed.notify_all()
        settled.set_result(result)
