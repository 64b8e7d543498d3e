"""An agent of Pydantic AI."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import pydantic_ai
from pydantic_ai import ModelRetry
from pydantic_ai.messages import ModelMessage, ModelResponse, TextPart, ToolCallPart, ToolReturnPart
from pydantic_ai.models.function import AgentInfo, DeltaToolCall, FunctionModel
from pydantic_ai.usage import RequestUsage

import sojourn
from sojourn.integrations.pydantic_ai import SojournModels
from tests.stacks.agents_under_test import Agent
from tests.stacks.fake_models import (
    CACHED_TOKENS,
    INPUT_TOKENS,
    NAMES,
    OUTPUT_TOKENS,
    OWN,
    SECRET,
    TOOL,
    Models,
    OutOfOrder,
)

USAGE = RequestUsage(input_tokens=INPUT_TOKENS, cache_read_tokens=CACHED_TOKENS, output_tokens=OUTPUT_TOKENS)


class StackAgent(Agent):
    """One agent; each conversation has a model of its own."""

    tells_tool_errors = True
    is_sync = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        fakes = {name: self._fake(name) for name in (*NAMES, OWN)}
        own = fakes.pop(OWN)
        self._models = SojournModels(client, fakes, own=own)
        self._agent = pydantic_ai.Agent(own, retries=3)

        @self._agent.tool_plain
        def web_search(query: str) -> str:
            """Search the web."""
            if self.tool_fails:
                self.tool_fails = False
                raise ModelRetry(SECRET)
            return SECRET

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        for _ in range(retries):
            try:
                await self._agent.run(SECRET, model=self._models.conversation(conversation_id))
            except OutOfOrder:
                continue
            return
        await self._agent.run(SECRET, model=self._models.conversation(conversation_id))

    async def run_streamed(self, conversation_id: str) -> None:
        async with self._agent.run_stream(SECRET, model=self._models.conversation(conversation_id)) as result:
            await result.get_output()

    def run_sync(self, conversation_id: str) -> None:
        self._agent.run_sync(SECRET, model=self._models.conversation(conversation_id))

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        return self._models.end(conversation_id, score=score, wait=True)

    def _fake(self, name: str) -> FunctionModel:
        def answer(messages: list[ModelMessage], info: AgentInfo) -> ModelResponse:
            self.models.call(name)
            part = TextPart(SECRET) if _is_answered(messages) else ToolCallPart(TOOL, {"query": SECRET})
            return ModelResponse(parts=[part], usage=USAGE)

        async def stream(messages: list[ModelMessage], info: AgentInfo) -> AsyncIterator[Any]:
            self.models.call(name)
            call = DeltaToolCall(name=TOOL, json_args=json.dumps({"query": SECRET}), tool_call_id="call-1")
            yield SECRET if _is_answered(messages) else {0: call}

        return FunctionModel(answer, stream_function=stream, model_name=name)


def _is_answered(messages: list[ModelMessage]) -> bool:
    return any(isinstance(part, ToolReturnPart) for part in messages[-1].parts)
