"""A relay between client and router that refuses the next calls as it is told, for want of a router that would.

It keeps which episode each call names in its header, and knows no message: bytes go through, and so do the router's
own refusals with their details.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn

import grpc
from google.protobuf import any_pb2, duration_pb2
from google.rpc import code_pb2, error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

RETRY_AFTER_MS = 400
"""What RetryInfo says, beside RESOURCE_EXHAUSTED alone."""
EPISODE_HEADER = "sojourn-episode"


class Relay(grpc.GenericRpcHandler):  # type: ignore[type-arg]  # generic in its stubs alone
    """Listens on a free port of 127.0.0.1 and passes calls on to `target` until `close`."""

    def __init__(self, target: str) -> None:
        self._channel = grpc.insecure_channel(target)
        self._refusals: list[str] = []  # owned by the one thread of the server, but for `stumble`
        self.called_at_s: list[float] = []
        self.episodes: list[str | None] = []
        self._server = grpc.server(ThreadPoolExecutor(1), handlers=[self])
        self.address = f"127.0.0.1:{self._server.add_insecure_port('127.0.0.1:0')}"
        self._server.start()

    def stumble(self, codes: Sequence[str]) -> None:
        """Refuses the next calls with these gRPC status names, in order."""
        self._refusals = list(codes)
        self.called_at_s = []
        self.episodes = []

    def pauses_ms(self) -> list[float]:
        """The times between calls since `stumble`."""
        times = self.called_at_s
        return [1_000 * (after - before) for before, after in itertools.pairwise(times)]

    def close(self) -> None:
        """Stops listening."""
        self._server.stop(None).wait()
        self._channel.close()

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler[bytes, bytes]:
        """Serves whatever method is called."""
        call = self._channel.unary_unary(handler_call_details.method, None, None)  # bytes as they are

        def answer(request: bytes, context: grpc.ServicerContext) -> Any:
            self.called_at_s.append(time.monotonic())
            headers = {key: str(value) for key, value in handler_call_details.invocation_metadata}
            self.episodes.append(headers.get(EPISODE_HEADER))
            if self._refusals:
                _refuse(context, self._refusals.pop(0))
            answered = call.future(request)
            if answered.exception():
                context.set_trailing_metadata(answered.trailing_metadata())
                context.abort(answered.code(), answered.details() or "")
            return answered.result()

        return grpc.unary_unary_rpc_method_handler(answer)


def _refuse(context: grpc.ServicerContext, code: str) -> NoReturn:
    status = status_pb2.Status(code=code_pb2.Code.Value(code), message="told to")
    if code == "RESOURCE_EXHAUSTED":
        wish = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(nanos=RETRY_AFTER_MS * 1_000_000))
        packed = any_pb2.Any()
        packed.Pack(wish)
        status.details.append(packed)
    context.abort_with_status(rpc_status.to_status(status))
