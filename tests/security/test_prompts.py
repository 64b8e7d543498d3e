"""No prompt reaches the router unless a caller squeezes one into a name: the contract has no place for a text."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.protobuf.descriptor import Descriptor, FieldDescriptor

from sojourn.v1 import router_pb2
from sojourn_server.errors import InvalidField
from sojourn_server.rpc.validation import MAX_NAME_BYTES, check_decide

REQUESTS = (router_pb2.DecideRequest, router_pb2.ReportTurnRequest, router_pb2.ReportOutcomeRequest)
NAMES = {
    "assignment_key", "capabilities", "decision_id", "episode_id", "error_code", "language", "model", "model_class",
    "must_stay_because", "name", "phase", "policy", "served_model", "task_type", "tool_name", "tool_type",
    "allow", "deny", "required_capabilities", "categories", "features", "metrics", "skills",
}  # fmt: skip
"""Fields that hold names, or numbers and words under names. Whoever adds one has to say here that it is no text."""
TEXT = "You are a helpful assistant. The customer's card number is 4111 1111 1111 1111. " * 2


def texts(message: Descriptor, seen: frozenset[str] = frozenset()) -> Iterator[str]:
    """Names of all fields below a message that can hold characters; a map counts by its own name."""
    for field in message.fields:
        inner = field.message_type
        if inner is not None and inner.GetOptions().map_entry:
            yield field.name
        elif inner is not None and inner.full_name not in seen:
            yield from texts(inner, seen | {inner.full_name})
        elif field.type in (FieldDescriptor.TYPE_STRING, FieldDescriptor.TYPE_BYTES):
            yield field.name


def test_every_field_that_can_hold_characters_holds_a_name():
    assert {name for request in REQUESTS for name in texts(request.DESCRIPTOR)} == NAMES


@pytest.mark.parametrize("field", ["tool_name", "tool_type", "phase", "task_type", "language"])
def test_a_text_is_too_long_for_a_name(field: str):
    assert len(TEXT) > MAX_NAME_BYTES
    request = router_pb2.DecideRequest(episode_id="e")
    setattr(request.context, field, TEXT)
    with pytest.raises(InvalidField, match=field):
        check_decide(request)
