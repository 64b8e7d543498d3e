"""What happens beyond the limit of calls in flight: the surplus is refused at once and told when to come back.

A call waits in the pool's queue until a thread takes it, so an unbounded queue makes everybody late. gRPC's own bound
refuses too, but with no time to come back, so callers hammer. Here a call that arrives while the pool is full goes to
one thread beside it, whose short answer does not wait behind the work for which there is no room. gRPC's own bound
stays behind both, for the case that even refusals pile up.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import grpc

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


def refusing_handler(refused: Callable[[], None], status: grpc.Status) -> grpc.RpcMethodHandler:  # type: ignore[type-arg]  # generic in its stubs only
    """A handler that answers any call with `status`, from a thread of its own, and tells `refused`."""

    def refuse(request: bytes, context: grpc.ServicerContext) -> bytes:
        refused()
        context.abort_with_status(status)
        raise AssertionError("abort raises")

    refuse.experimental_thread_pool = ThreadPoolExecutor(1, "refusals")  # type: ignore[attr-defined]  # gRPC looks for it
    return grpc.unary_unary_rpc_method_handler(refuse)
