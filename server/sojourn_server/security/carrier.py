"""How a call is carried: on the loop that takes calls in, by a thread, or, beyond the limit in flight, not at all.

What waits for nothing is done on the loop itself: handing a call over to a thread and back costs more than deciding it
(docs/decisions/0017). What may wait, for a sync, for a network, for an administrator's work, goes to a pool of threads.
A call counts from its arrival to its end. One that arrives while the limit is reached is refused where it comes in and
told when to come back. A flood too large for that is cut before Python sees it: gRPC's core keeps few calls waiting to
be taken in, and cancels the rest.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import grpc
import uvloop

PENDING = 64
MAX_PENDING = 96
"""Calls that may wait to be taken in, a burst: beyond the first the core cancels some, beyond the other all."""
KNOCK_EVERY = 8
KNOCK_TURNS = 8
"""Turns of the loop that gRPC needs to hand over a call that is there: its poller is another thread."""
THREADS_END_S = 1.0
T = TypeVar("T")
Context = grpc.aio.ServicerContext[Any, Any]
Serve = Callable[[Any, Context], Any]
_END: Any = grpc.aio.EOF  # type: ignore[attr-defined]  # missing in its stubs only


class Refused(Exception):
    """A call ends with this status."""

    def __init__(self, status: grpc.Status) -> None:
        super().__init__(status.details)
        self.status = status


class Carrier:
    """Carries calls, with a loop in a thread of its own and a pool of threads. What it carries may raise Refused."""

    def __init__(self, threads: int, *, limit: int, at_once: Callable[[], bool]) -> None:
        """`threads` for what may wait; `limit` calls in flight; `at_once` says that short work would not wait now."""
        self.pool = ThreadPoolExecutor(threads, thread_name_prefix="rpc")
        self._limit = limit
        self._at_once = at_once
        self._turn = asyncio.Lock()
        self._held = self._knocked = self._short_calls = 0  # owned by the loop

    def start(self) -> None:
        """Lets the loop run. Whoever has called this calls `close`."""
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="rpc-loop", daemon=True)
        self._thread.start()

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        """Does something on the loop, and waits for it; from another thread."""
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def close(self) -> None:
        """Ends pool and loop; a thread whose caller was given up still needs the loop, which then ends after it."""
        asyncio.run_coroutine_threadsafe(self._wind_down(), self._loop)
        self._thread.join(THREADS_END_S)

    def _run(self) -> None:
        self._loop.run_forever()
        self._loop.close()

    async def _wind_down(self) -> None:
        await self._loop.run_in_executor(None, self.pool.shutdown)
        self._loop.stop()

    def take_in(self) -> bool:
        """Counts the call whose task this is until it ends; False if too many are in flight already."""
        self._knocked += 1
        task = asyncio.current_task()
        if task is None or self._held >= self._limit:
            return False
        self._held += 1
        task.add_done_callback(self._let_go)
        return True

    def _let_go(self, _: object) -> None:
        self._held -= 1

    def unary(self, serve: Serve, *, short: bool) -> Serve:
        """A handler that answers with what `serve` returns; short work is done at once, where that is possible."""

        @_with_its_status
        async def carry(data: bytes, context: Context) -> Any:
            if short:
                async with self._turn:
                    await self._let_newcomers_in()
                    if self._at_once():
                        return serve(data, context)
            return await self._in_thread(serve, data, context)

        return carry

    def stream(self, serve: Serve) -> Serve:
        """A handler that sends what `serve` yields, from one thread, each after the one before is gone."""

        @_with_its_status
        async def carry(data: bytes, context: Context) -> None:
            def send_all() -> None:
                for answer in serve(data, context):
                    self.do(context.write(answer))

            await self._in_thread(send_all)

        return carry

    def upload(self, serve: Serve) -> Serve:
        """A handler whose `serve` iterates over the caller's messages, in a thread."""

        @_with_its_status
        async def carry(_: object, context: Context) -> Any:
            def pieces() -> Iterator[Any]:
                while (piece := self.do(context.read())) is not _END:
                    yield piece

            return await self._in_thread(serve, pieces(), context)

        return carry

    async def _let_newcomers_in(self) -> None:
        """Now and then, all who knock come in before the next short call is done, or the core would cancel them."""
        self._short_calls += 1
        if self._short_calls % KNOCK_EVERY:
            return
        for _ in range(MAX_PENDING):
            before = self._knocked
            for _ in range(KNOCK_TURNS):
                await asyncio.sleep(0)
            if self._knocked == before:
                return

    async def _in_thread(self, work: Callable[..., Any], *values: Any) -> Any:
        return await self._loop.run_in_executor(self.pool, work, *values)


def _with_its_status(handler: Serve) -> Serve:
    """The handler, whose call ends with the status that it raises."""

    async def carry(data: Any, context: Context) -> Any:
        try:
            return await handler(data, context)
        except Refused as refused:
            await _end(context, refused.status)

    return carry


async def _end(context: Context, status: grpc.Status) -> None:
    await context.abort(status.code, status.details, status.trailing_metadata)


def refusing_handler(refused: Callable[[], None], status: grpc.Status) -> Any:
    """A handler that answers any call with `status`, and tells `refused`; it takes a stream, so it waits for none."""

    async def refuse(_: object, context: Context) -> None:
        refused()
        await _end(context, status)

    return grpc.stream_unary_rpc_method_handler(refuse)
