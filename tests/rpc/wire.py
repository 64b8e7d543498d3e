"""Stubs of a running server, and what an error says beyond its code."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import grpc
import pytest
from google.rpc import error_details_pb2  # type: ignore[import-untyped]  # ships no py.typed
from grpc_status import rpc_status

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn.v1.admin_pb2_grpc import AdminServiceStub
from sojourn.v1.router_pb2_grpc import RouterServiceStub


class Refusal(NamedTuple):
    """An error as a client reads it; `retry_ms` is None where no repeat is asked for."""

    code: grpc.StatusCode
    reason: str
    fields: tuple[str, ...]
    retry_ms: float | None


class Stubs:
    """Both services over one channel."""

    def __init__(self, channel: grpc.Channel) -> None:
        self.channel = channel
        self.router = RouterServiceStub(channel)
        self.admin = AdminServiceStub(channel)

    def decide(self, episode_id: str, turn_index: int = 0, **fields: Any) -> router_pb2.DecideResponse:
        """Asks for a turn's model; fields of the context go by their own names."""
        context = {n: fields.pop(n) for n in list(fields) if n in pb.Context.DESCRIPTOR.fields_by_name}
        request = router_pb2.DecideRequest(
            episode_id=episode_id, turn_index=turn_index, context=pb.Context(**context), **fields
        )
        return self.router.Decide(request, timeout=10)

    def end(self, episode_id: str, score: float = 1.0) -> router_pb2.ReportOutcomeResponse:
        """Reports an outcome."""
        return self.router.ReportOutcome(
            router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score), timeout=10
        )


@contextmanager
def connected(address: str) -> Iterator[Stubs]:
    """Stubs of the server at an address."""
    with grpc.insecure_channel(address) as channel:
        yield Stubs(channel)


def refusal(call: Callable[[], object]) -> Refusal:
    """The error that a call ends with."""
    with pytest.raises(grpc.RpcError) as caught:
        call()
    error = caught.value
    assert isinstance(error, grpc.Call)
    status = rpc_status.from_call(error)
    details = status.details if status is not None else ()
    info, bad, retry = (error_details_pb2.ErrorInfo(), error_details_pb2.BadRequest(), error_details_pb2.RetryInfo())
    asked_to_retry = False
    for detail in details:
        asked_to_retry |= detail.Unpack(retry)
        if not detail.Unpack(info):
            detail.Unpack(bad)
    fields = tuple(violation.field for violation in bad.field_violations)
    return Refusal(error.code(), info.reason, fields, retry.retry_delay.ToMilliseconds() if asked_to_retry else None)
