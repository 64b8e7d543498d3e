"""The edge to grpc that both clients share: channel options, and failed calls turned into values.

A channel reconnects by itself; the defaults would let it sleep for up to two minutes after an outage, which
is a long time to go on without the router, so the ceiling is lower here. (`min_reconnect` is also how long
one attempt may take.)
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol, cast

import grpc

from sojourn.errors import Refusal
from sojourn.status import DETAILS_KEY, refusal_from

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
TRACEPARENT_KEY = "traceparent"


class _FailedCall(Protocol):
    """What a grpc.RpcError of a finished call also is, in the blocking and the asyncio API alike."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, Any]] | None: ...


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Return a failed call as a value."""
    call = cast(_FailedCall, error)
    details = next((value for key, value in call.trailing_metadata() or () if key == DETAILS_KEY), b"")
    return refusal_from(call.code().name, call.details() or "", details)


def closed_channel() -> Refusal:
    """Return what a call on a closed channel amounts to."""
    return Refusal("CANCELLED", "the client is closed")
