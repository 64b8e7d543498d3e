"""The edge to grpc that both clients share: channel options, and failed calls turned into values.

A channel reconnects by itself; the defaults would let it sleep for up to two minutes after an outage, which
is a long time to go on without the router, so the ceiling is lower here. (`min_reconnect` is also how long
one attempt may take.)
"""

from __future__ import annotations

import string
from collections.abc import Iterable
from typing import Any, Protocol, cast
from urllib.parse import quote

import grpc

from sojourn.errors import Refusal
from sojourn.status import DETAILS_KEY, refusal_from

OPTIONS = (
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 2_000),
    ("grpc.max_reconnect_backoff_ms", 5_000),
)
TRACEPARENT_KEY = "traceparent"
EPISODE_KEY = "sojourn-episode"
MAX_ID_BYTES = 128
_KEPT_IN_HEADERS = string.punctuation.replace("%", "")


class _FailedCall(Protocol):
    """What a grpc.RpcError of a finished call also is, in the blocking and the asyncio API alike."""

    def code(self) -> grpc.StatusCode: ...

    def details(self) -> str | None: ...

    def trailing_metadata(self) -> Iterable[tuple[str, Any]] | None: ...


def episode_header(episode_id: str) -> str:
    """Return an episode's id as the header by which a proxy keeps its turns together, "" for an id that is none.

    Of the id's UTF-8, visible ASCII but for "%" stays; any other byte becomes "%" and two hexadecimal digits. An id
    that the router refuses for its length is left out: a header may be too long for the transport, which says less
    clearly why.
    """
    return quote(episode_id, safe=_KEPT_IN_HEADERS) if len(episode_id.encode()) <= MAX_ID_BYTES else ""


def refusal_of(error: grpc.RpcError) -> Refusal:
    """Return a failed call as a value."""
    call = cast(_FailedCall, error)
    details = next((value for key, value in call.trailing_metadata() or () if key == DETAILS_KEY), b"")
    return refusal_from(call.code().name, call.details() or "", details)


def closed_channel() -> Refusal:
    """Return what a call on a closed channel amounts to."""
    return Refusal("CANCELLED", "the client is closed")
