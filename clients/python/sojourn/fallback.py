"""What serves a turn when the router does not answer.

The incumbent, because staying is right more often than not; without one, the model that the caller's small
table names for the tool type. The client has no heuristic beyond that: a second one would drift from the
router's. What the caller forbade at this turn stays forbidden, and a model that just failed to serve the turn
is not tried again.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass

from sojourn.v1 import router_pb2

ANY_TOOL_TYPE = "*"


@dataclass(frozen=True, slots=True)
class FallbackTable:
    """Model by tool type, `"*"` for any other: `FallbackTable({"search": "small", "*": "big"})`."""

    model_by_tool_type: Mapping[str, str]

    def models(self, tool_type: str) -> tuple[str, ...]:
        """Return the models for a tool type, the one made for it first; empty if the table names none."""
        named = (self.model_by_tool_type.get(key) for key in (tool_type, ANY_TOOL_TYPE))
        return tuple(model for model in named if model)


def choose(
    request: router_pb2.DecideRequest, *, incumbent: str | None, table: FallbackTable, failed_models: Container[str]
) -> str | None:
    """Return the incumbent, else the table's model; None if none of them may serve the turn."""
    options = (incumbent or "", *table.models(request.context.tool_type))
    return next((m for m in options if m and m not in failed_models and _is_permitted(m, request)), None)


def _is_permitted(model: str, request: router_pb2.DecideRequest) -> bool:
    limits = request.constraints
    offered = not request.candidates or any(candidate.model == model for candidate in request.candidates)
    return offered and model not in limits.deny and (not limits.allow or model in limits.allow)
