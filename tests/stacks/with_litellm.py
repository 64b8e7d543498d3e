"""An agent's loop over LiteLLM's `Router`."""

from __future__ import annotations

import os
from contextlib import ExitStack
from typing import Any

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks the network at import

import litellm

import sojourn
from sojourn.integrations.litellm import SojournCallback
from tests.stacks.agents_under_test import Agent
from tests.stacks.fake_models import NAMES, SECRET, USD_PER_CACHED_TOKEN, USD_PER_TOKEN, Models, served

GROUP = "agent"


class StackAgent(Agent):
    """Asks one model group; a group of one, `own`, stands for what serves without a router's choice."""

    tells_cost = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        self._resources = ExitStack()
        url = self._resources.enter_context(served(models))
        self._callback = SojournCallback(client, group=GROUP)
        litellm.callbacks = [self._callback]
        self._deployments = [_deployment(name, url) for name in NAMES]
        self._router = litellm.Router(model_list=self._deployments, num_retries=0, disable_cooldowns=True)

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        await self._loop(litellm_session_id=conversation_id, num_retries=retries)

    async def run_streamed(self, conversation_id: str) -> None:
        await self._loop(metadata={"session_id": conversation_id}, stream=True)

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        return await self._callback.end(conversation_id, score=score, wait=True)

    async def close(self) -> None:
        litellm.logging_callback_manager._reset_all_callbacks()
        self._resources.close()

    async def _loop(self, **options: Any) -> None:
        messages: list[Any] = [{"role": "user", "content": f"find {SECRET}"}]
        tools = [{"type": "function", "function": {"name": "web_search", "parameters": {"type": "object"}}}]
        while True:
            answer = await self._router.acompletion(model=GROUP, messages=messages, tools=tools, **options)
            if options.get("stream"):
                answer = litellm.stream_chunk_builder([chunk async for chunk in answer], messages=messages)
            message = answer.choices[0].message
            messages.append(message.model_dump())
            if not message.tool_calls:
                return
            messages += [{"role": "tool", "tool_call_id": c.id, "content": SECRET} for c in message.tool_calls]


def _deployment(name: str, url: str) -> dict[str, Any]:
    prices = {
        "input_cost_per_token": USD_PER_TOKEN,
        "output_cost_per_token": USD_PER_TOKEN,
        "cache_read_input_token_cost": USD_PER_CACHED_TOKEN,
    }
    return {
        "model_name": GROUP,
        "litellm_params": {"model": f"openai/{name}", "api_key": "none", "api_base": url, "max_retries": 0, **prices},
    }
