"""Error details are read from the wire as google.rpc's own classes write them."""

from __future__ import annotations

import pytest
from google.protobuf import any_pb2, duration_pb2
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # has no stubs
from hypothesis import given
from hypothesis import strategies as st

from sojourn.errors import FieldViolation, InvalidRequest, error_for
from sojourn.status import refusal_from


def packed(message: error_details_pb2.ErrorInfo) -> any_pb2.Any:
    any_ = any_pb2.Any()
    any_.Pack(message)
    return any_


def rich_status() -> bytes:
    bad_request = error_details_pb2.BadRequest()
    bad_request.field_violations.add(field='context.features["é"]', description="is not finite")
    bad_request.field_violations.add(field="turn_index", description="is negative")
    retry = error_details_pb2.RetryInfo(retry_delay=duration_pb2.Duration(seconds=1, nanos=500_000_000))
    info = error_details_pb2.ErrorInfo(reason="INVALID_FIELD", domain="sojourn.v1", metadata={"a": "b"})
    details = [packed(info), packed(bad_request), packed(retry)]
    return bytes(status_pb2.Status(code=3, message="no", details=details).SerializeToString())


def test_reason_violations_and_retry_delay_are_read():
    refusal = refusal_from("INVALID_ARGUMENT", "no", rich_status())
    assert refusal.reason == "INVALID_FIELD"
    assert refusal.violations == (
        FieldViolation('context.features["é"]', "is not finite"),
        FieldViolation("turn_index", "is negative"),
    )
    assert refusal.retry_after_s == 1.5


def test_a_status_without_details_has_none():
    refusal = refusal_from("UNAVAILABLE", "gone", b"")
    assert (refusal.reason, refusal.violations, refusal.retry_after_s) == ("", (), 0.0)


@given(cut=st.integers(0, len(rich_status())), noise=st.binary(max_size=8))
def test_garbled_details_never_hide_the_status(cut: int, noise: bytes):
    refusal = refusal_from("INTERNAL", "oh", rich_status()[:cut] + noise)
    assert (refusal.code, refusal.message) == ("INTERNAL", "oh")


def test_the_exception_names_status_reason_and_fields():
    error = error_for(refusal_from("INVALID_ARGUMENT", "no", rich_status()))
    assert isinstance(error, InvalidRequest)
    assert error.reason == "INVALID_FIELD"
    with pytest.raises(InvalidRequest, match=r"INVALID_ARGUMENT \(INVALID_FIELD\): no; .*turn_index: is negative"):
        raise error
