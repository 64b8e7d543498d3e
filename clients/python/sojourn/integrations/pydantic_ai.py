"""Pydantic AI: a model for each conversation that has each request served by the router's choice, and reports it.

    sojourn_models = SojournModels(client, {"gpt-5": large, "glm-4.6": small}, own=large)
    agent.run(task, model=sojourn_models.conversation("task-17"))

`own` serves where the router has not chosen. A request that failed and is made again is served by another model.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

from pydantic_ai.messages import ModelMessage, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters, StreamedResponse
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings, merge_model_settings

from sojourn.client import Client
from sojourn.integrations.conversations import Call, OwnedModels
from sojourn.integrations.tool_results import ToolResult
from sojourn.messages import TurnReport

FAILED_OUTCOMES = ("failed", "retried")


class SojournModels(OwnedModels[Model]):
    """Models to choose from, by the router's names for them."""

    def __init__(
        self, client: Client, models: Mapping[str, Model], *, own: Model, task_type: str | None = None
    ) -> None:
        super().__init__(client, models, own=own, own_name=own.model_name, task_type=task_type)

    def conversation(self, conversation_id: str) -> Model:
        """Return the model for the runs of one conversation, which is one episode."""
        return _ChosenModel(self, conversation_id)


class _ChosenModel(WrapperModel):
    """Each of its requests is served by the model that the router chooses for it, else by the one it wraps."""

    def __init__(self, models: SojournModels, conversation_id: str) -> None:
        super().__init__(models.own)
        self._models = models
        self._conversations = models.conversations
        self._conversation_id = conversation_id

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, parameters: ModelRequestParameters
    ) -> ModelResponse:
        call, model = await self._choose(messages)
        settings, began = merge_model_settings(model.settings, model_settings), time.monotonic()
        try:
            response = await model.request(messages, settings, model.customize_request_parameters(parameters))
        except Exception as error:
            self._conversations.could_not_serve(call, error)
            raise
        self._report(call, response, began)
        return response

    @asynccontextmanager
    async def request_stream(
        self,
        messages: list[ModelMessage],
        model_settings: ModelSettings | None,
        model_request_parameters: ModelRequestParameters,
        run_context: Any = None,
    ) -> AsyncIterator[StreamedResponse]:
        call, model = await self._choose(messages)
        settings, began = merge_model_settings(model.settings, model_settings), time.monotonic()
        parameters = model.customize_request_parameters(model_request_parameters)
        try:
            async with model.request_stream(messages, settings, parameters, run_context) as stream:
                yield stream
                self._report(call, stream.get(), began)
        except Exception as error:
            self._conversations.could_not_serve(call, error)
            raise

    async def _choose(self, messages: Sequence[ModelMessage]) -> tuple[Call | None, Model]:
        answers_before = sum(isinstance(message, ModelResponse) for message in messages)
        tool = last_tool_result(messages)
        return await self._models.choose(self._conversation_id, tool, answers_before=answers_before)

    def _report(self, call: Call | None, response: ModelResponse, began: float) -> None:
        latency_ms = (time.monotonic() - began) * 1000
        facts: TurnReport = {**usage_facts(response.usage), "latency_ms": latency_ms, "error": "NONE"}
        self._conversations.report(call, **facts)


def last_tool_result(messages: Sequence[ModelMessage]) -> ToolResult | None:
    """Return the newest tool result after the model's last answer."""
    newest = messages[-1]
    parts: list[Any] = [] if isinstance(newest, ModelResponse) else list(newest.parts)
    for part in reversed(parts):
        if part.part_kind == "tool-return":
            return ToolResult(part.tool_name, failed=getattr(part, "outcome", "success") in FAILED_OUTCOMES)
        if part.part_kind == "retry-prompt" and part.tool_name:  # a failed result, before version 2
            return ToolResult(part.tool_name, failed=True)
    return None


def usage_facts(usage: Any) -> TurnReport:
    """Return the usage of a request, whose input tokens count cached ones in, as the router counts."""
    return {
        "input_tokens": max(0, usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens),
        "cached_read_tokens": usage.cache_read_tokens,
        "cache_write_tokens": usage.cache_write_tokens,
        "output_tokens": usage.output_tokens,
    }
