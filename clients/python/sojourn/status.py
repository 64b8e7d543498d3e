"""Reads the error details that travel beside a gRPC status.

They are a serialised google.rpc.Status in the trailing metadata. Its Python classes live in a package of
their own, too much for a client of two dependencies. The wire format knows fields by number alone, so each
message is parsed as an empty one, and its fields are picked from the unknown ones by the numbers of
google/rpc/status.proto and google/rpc/error_details.proto. Details that cannot be read are left out: the
status itself still tells the matter.
"""

from __future__ import annotations

from typing import Any

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError
from google.protobuf.unknown_fields import UnknownFieldSet

from sojourn.errors import FieldViolation, Refusal

DETAILS_KEY = "grpc-status-details-bin"


def refusal_from(code: str, message: str, details: bytes) -> Refusal:
    """Return the refusal that a status name, its message and a google.rpc.Status in bytes describe."""
    try:
        by_type = {_text(any_, 1).rpartition(".")[2]: _last(any_, 2, b"") for any_ in _all(details, 3)}
        return Refusal(
            code,
            message,
            reason=_text(by_type.get("ErrorInfo", b""), 1),
            violations=tuple(
                FieldViolation(_text(violation, 1), _text(violation, 2))
                for violation in _all(by_type.get("BadRequest", b""), 1)
            ),
            retry_after_s=_seconds(_last(by_type.get("RetryInfo", b""), 1, b"")),
        )
    except (DecodeError, TypeError, UnicodeDecodeError):
        return Refusal(code, message)


def _all(message: bytes, number: int) -> list[Any]:
    fields = UnknownFieldSet(Empty.FromString(message))
    return [fields[i].data for i in range(len(fields)) if fields[i].field_number == number]


def _last(message: bytes, number: int, absent: Any) -> Any:
    values = _all(message, number)
    return values[-1] if values else absent


def _text(message: bytes, number: int) -> str:
    return str(_last(message, number, b""), "utf-8")


def _seconds(duration: bytes) -> float:
    return float(_last(duration, 1, 0) + _last(duration, 2, 0) / 1e9)
