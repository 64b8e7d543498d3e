"""Which tool a turn works on, read off a conversation of dictionaries. No text is kept, only names.

Three shapes are known: OpenAI's chat messages (`role: tool`), its responses items (`function_call_output`) and
Anthropic's content blocks (`tool_result`). In each a result names the id of its call, and the call, which the
model made earlier, the tool.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

Part = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ToolResult:
    """The newest result that the model has not answered yet: its tool's name, and whether the tool failed."""

    name: str
    failed: bool = False


def last_tool_result(conversation: Sequence[Any]) -> ToolResult | None:
    """Return the newest tool result after the model's last answer, None if there is none (the first turn)."""
    unanswered = takewhile(lambda item: not is_models(item), reversed(conversation))
    results = (part for item in unanswered for part in reversed(list(_parts(item))) if _call_id(part))
    result = next(results, None)
    if result is None:
        return None
    call = next(
        (part for item in reversed(conversation) for part in _calls(item) if _id_of(part) == _call_id(result)), {}
    )
    name = call.get("name") or call.get("function", {}).get("name") or result.get("name")
    return ToolResult(str(name), failed=bool(result.get("is_error"))) if name else None


def count_answers(conversation: Sequence[Any]) -> int:
    """Return how often the model has answered: an answer may be several items in a row."""
    made = [is_models(item) for item in conversation]
    return sum(now and not before for now, before in zip(made, [False, *made], strict=False))


def is_models(item: Any) -> bool:
    """Tell whether the model made a message or an item."""
    if not isinstance(item, Mapping):
        return False
    kind = str(item.get("type", "message"))
    return item["role"] == "assistant" if "role" in item else kind != "message" and not kind.endswith("_output")


def _parts(item: Any) -> Iterator[Part]:
    """The item itself, and the content blocks in it."""
    if isinstance(item, Mapping):
        yield item
        content = item.get("content")
        yield from (
            (block for block in content or () if isinstance(block, Mapping)) if not isinstance(content, str) else ()
        )


def _calls(item: Any) -> Iterator[Part]:
    for part in _parts(item):
        if part.get("type") in ("function_call", "custom_tool_call", "tool_use"):
            yield part
        yield from part.get("tool_calls") or ()


def _call_id(part: Part) -> str | None:
    """The id of the call that a part is the result of, None if it is no result."""
    if part.get("role") == "tool":
        return part.get("tool_call_id")
    if part.get("type") == "tool_result":
        return part.get("tool_use_id")
    return part.get("call_id") if str(part.get("type", "")).endswith("_output") else None


def _id_of(call: Part) -> str | None:
    return call.get("call_id") or call.get("id")
