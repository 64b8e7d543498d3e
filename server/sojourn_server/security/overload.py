"""What happens beyond the limit of calls in flight: the surplus is refused at once and told when to come back.

A call waits in the pool's queue until a thread takes it, so an unbounded queue makes everybody late. gRPC's own bound
refuses too, but with no time to come back, so callers hammer. Here a call that arrives while the pool is full is
refused where it comes in, at a third of the price of a decision. A flood too large for that is cut before Python sees
it: gRPC's core keeps few calls waiting to be taken in, and cancels the rest.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc

PENDING = 64
MAX_PENDING = 96
"""Calls that may wait to be taken in, a burst: beyond the first the core cancels some, beyond the other all."""
REFUSALS_IN_FLIGHT = 512
"""How many refusals may wait on top of the calls; beyond these gRPC refuses by itself, without details."""


class WorkPool(ThreadPoolExecutor):
    """The threads that serve calls; knows how many calls it holds."""

    def __init__(self, threads: int, *, limit: int) -> None:
        """`threads` work at once; with `limit` calls running or waiting it is full."""
        super().__init__(threads, thread_name_prefix="rpc")
        self._limit = limit
        self._held = 0  # owned under _counting
        self._counting = threading.Lock()

    @property
    def is_full(self) -> bool:
        """Whether the next call should be refused."""
        return self._held >= self._limit

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Counts a call from its arrival to its end, whichever way it ends."""
        with self._counting:
            self._held += 1
        try:
            future = super().submit(fn, *args, **kwargs)
        except RuntimeError:  # shut down
            self._release()
            raise
        future.add_done_callback(self._release)
        return future

    def _release(self, _: object = None) -> None:
        with self._counting:
            self._held -= 1


class _Here(ThreadPoolExecutor):
    """No pool at all: what is submitted is done before `submit` returns, by the thread that takes calls in."""

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Does it; errors are the future's."""
        future: Future[Any] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except BaseException as error:  # noqa: BLE001 - as in every executor
            future.set_exception(error)
        return future


def refusing_handler(refused: Callable[[], None], status: grpc.Status) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]  # generic in its stubs only
    """A handler that answers any call with `status`, and tells `refused`.

    It calls itself a taker of streams: gRPC does not let those wait for a message, so they can be answered in place.
    """

    def refuse(requests: object, context: grpc.ServicerContext) -> bytes:
        refused()
        context.abort_with_status(status)
        raise AssertionError("abort raises")

    refuse.experimental_thread_pool = _Here(1)  # type: ignore[attr-defined]  # gRPC looks for it
    return grpc.stream_unary_rpc_method_handler(refuse)
