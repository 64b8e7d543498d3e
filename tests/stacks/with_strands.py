"""An agent of Strands Agents."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

from strands import Agent as StrandsAgent
from strands import tool
from strands.models import Model

import sojourn
from sojourn.integrations.strands import SojournModels
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

USAGE = {
    "inputTokens": INPUT_TOKENS,
    "outputTokens": OUTPUT_TOKENS,
    "totalTokens": INPUT_TOKENS + OUTPUT_TOKENS,
    "cacheReadInputTokens": CACHED_TOKENS,
}


class FakeModel(Model):
    """One of the fakes as the SDK's model."""

    def __init__(self, name: str, models: Models) -> None:
        self.name = name
        self.models = models

    def update_config(self, **model_config: Any) -> None:
        raise NotImplementedError

    def get_config(self) -> Any:
        return {"model_id": self.name}

    def structured_output(self, *args: Any, **options: Any) -> Any:
        raise NotImplementedError

    async def stream(self, messages: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        self.models.call(self.name)
        is_answered = any("toolResult" in block for block in messages[-1]["content"])
        call = {"toolUse": {"name": TOOL, "toolUseId": "call-1"}}
        delta = {"text": SECRET} if is_answered else {"toolUse": {"input": json.dumps({"query": SECRET})}}
        yield {"messageStart": {"role": "assistant"}}
        yield {"contentBlockStart": {"start": {} if is_answered else call}}
        yield {"contentBlockDelta": {"delta": delta}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if is_answered else "tool_use"}}
        yield {"metadata": {"usage": USAGE, "metrics": {"latencyMs": 1}}}


class StackAgent(Agent):
    """An agent a task; each conversation has a model of its own."""

    tells_tool_errors = True
    is_sync = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        fakes = {name: FakeModel(name, models) for name in NAMES}
        self._models = SojournModels(client, fakes, own=FakeModel(OWN, models))

        @tool
        def web_search(query: str) -> str:
            """Search the web.

            Args:
                query: What to look for.
            """
            if self.tool_fails:
                raise RuntimeError(SECRET)
            return SECRET

        self._tools = [web_search]

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        for _ in range(retries):
            try:
                await self._agent(conversation_id).invoke_async(SECRET)
            except OutOfOrder:
                continue
            return
        await self._agent(conversation_id).invoke_async(SECRET)

    async def run_streamed(self, conversation_id: str) -> None:
        async for _ in self._agent(conversation_id).stream_async(SECRET):
            pass

    def run_sync(self, conversation_id: str) -> None:
        self._agent(conversation_id)(SECRET)

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        return self._models.end(conversation_id, score=score, wait=True)

    def _agent(self, conversation_id: str) -> StrandsAgent:
        model = self._models.conversation(conversation_id)
        return StrandsAgent(model=model, tools=self._tools, callback_handler=None)
