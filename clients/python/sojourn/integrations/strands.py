"""Strands Agents: a model for each conversation that has each call served by the router's choice, and reports it.

    sojourn_models = SojournModels(client, {"gpt-5": large, "glm-4.6": small}, own=large)
    Agent(model=sojourn_models.conversation("task-17"), tools=tools)

`own` serves where the router has not chosen. A call that failed and is made again, as the SDK does by itself when a
provider throttles, is served by another model.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterable, Callable, Mapping, Sequence
from typing import Any

from strands.models import Model

from sojourn.client import Client
from sojourn.integrations.conversations import OWN_MODEL, OwnedModels
from sojourn.integrations.tool_results import ToolResult
from sojourn.messages import TurnReport


class SojournModels(OwnedModels[Model]):
    """Models to choose from, by the router's names for them."""

    def __init__(
        self, client: Client, models: Mapping[str, Model], *, own: Model, task_type: str | None = None
    ) -> None:
        super().__init__(client, models, own=own, own_name=_name(own), task_type=task_type)

    def conversation(self, conversation_id: str) -> Model:
        """Return the model for the agent of one conversation, which is one episode."""
        return _ChosenModel(self, conversation_id)


class _ChosenModel(Model):
    """Each of its calls is served by the model that the router chooses for it, else by `own`, whose settings it has."""

    def __init__(self, models: SojournModels, conversation_id: str) -> None:
        self._models = models
        self._conversations = models.conversations
        self._conversation_id = conversation_id

    def update_config(self, **model_config: Any) -> None:
        self._models.own.update_config(**model_config)

    def get_config(self) -> Any:
        return self._models.own.get_config()

    async def stream(self, messages: Any, *args: Any, **options: Any) -> AsyncGenerator[Any, None]:
        async for event in self._serve(messages, lambda model: model.stream(messages, *args, **options)):
            yield event

    async def structured_output(
        self, output_model: Any, prompt: Any, *args: Any, **options: Any
    ) -> AsyncGenerator[Any, None]:
        async for event in self._serve(
            prompt, lambda model: model.structured_output(output_model, prompt, *args, **options)
        ):
            yield event

    async def _serve(
        self, messages: Sequence[Any], ask: Callable[[Model], AsyncIterable[Any]]
    ) -> AsyncGenerator[Any, None]:
        answers_before = sum(message["role"] == "assistant" for message in messages)
        tool = last_tool_result(messages)
        call, model = await self._models.choose(self._conversation_id, tool, answers_before=answers_before)
        usage, began = None, time.monotonic()
        try:
            async for event in ask(model):
                usage = event.get("metadata", {}).get("usage") or usage
                yield event
        except Exception as error:
            self._conversations.could_not_serve(call, error)
            raise
        latency_ms = (time.monotonic() - began) * 1000
        facts: TurnReport = {**usage_facts(usage), "latency_ms": latency_ms, "error": "NONE"}
        self._conversations.report(call, **facts)


def last_tool_result(messages: Sequence[Any]) -> ToolResult | None:
    """Return the newest tool result after the model's last answer, which names the call that the result is of."""
    if len(messages) < 2:
        return None
    *_, asked, newest = messages
    results = [block["toolResult"] for block in newest["content"] if "toolResult" in block]
    names = {call["toolUseId"]: call["name"] for block in asked["content"] if (call := block.get("toolUse"))}
    found = next((result for result in reversed(results) if result["toolUseId"] in names), None)
    return ToolResult(names[found["toolUseId"]], failed=found.get("status") == "error") if found else None


def usage_facts(usage: Any) -> TurnReport:
    """Return the usage of a call as the router counts.

    Some providers count cached tokens in the input and some apart: the total tells which, as it does for the SDK.
    """
    if not usage:
        return {}
    read, written = usage.get("cacheReadInputTokens") or 0, usage.get("cacheWriteInputTokens") or 0
    counts_cached_in = usage["inputTokens"] + usage["outputTokens"] == usage["totalTokens"]
    return {
        "input_tokens": max(0, usage["inputTokens"] - (read + written if counts_cached_in else 0)),
        "cached_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": usage["outputTokens"],
    }


def _name(model: Model) -> str:
    config = model.get_config()
    return str((config.get("model_id") if isinstance(config, Mapping) else None) or OWN_MODEL)
