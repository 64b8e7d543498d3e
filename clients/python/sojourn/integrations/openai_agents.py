"""OpenAI Agents SDK: a model provider for each conversation that chooses the model of each call, and reports it.

    sojourn_models = SojournModels(client, {"gpt-5": "gpt-5", "glm-4.6": "litellm/zai/glm-4.6"})
    Runner.run(agent, task, run_config=RunConfig(model_provider=sojourn_models.conversation("task-17")))

The agent's own model, as the SDK's provider knows it, serves where the router has not chosen. A call that failed
and is tried again is served by another model. Tools are recognised where the input holds the whole conversation,
which is the SDK's habit: not if the provider keeps it (`previous_response_id`).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from typing import Any

from agents import Model, ModelProvider, MultiProvider

from sojourn.client import Client
from sojourn.integrations.conversations import OWN_MODEL, Call, Conversations, Ending
from sojourn.integrations.tool_results import count_answers, last_tool_result
from sojourn.messages import TurnReport


class SojournModels(Ending):
    """Models to choose from, by the router's names for them: each a model, or a name that `provider` knows."""

    def __init__(
        self,
        client: Client,
        models: Mapping[str, Model | str],
        *,
        provider: ModelProvider | None = None,
        task_type: str | None = None,
    ) -> None:
        self.models = models
        self.provider = provider or MultiProvider()
        self.conversations = Conversations(client, task_type=task_type)

    def conversation(self, conversation_id: str) -> ModelProvider:
        """Return the provider for the runs of one conversation, which is one episode."""
        return _Provider(self, conversation_id)

    def model(self, name: str | None) -> Model:
        """Return the model for a name of the router's or the agent's."""
        model = self.models.get(name, name) if name else None
        return model if isinstance(model, Model) else self.provider.get_model(model)


class _Provider(ModelProvider):
    def __init__(self, models: SojournModels, conversation_id: str) -> None:
        self._models = models
        self._conversation_id = conversation_id

    def get_model(self, model_name: str | None) -> Model:
        return _ChosenModel(self._models, self._conversation_id, model_name)


class _ChosenModel(Model):
    """Each of its calls is served by the model that the router chooses for it, else by the agent's own."""

    def __init__(self, models: SojournModels, conversation_id: str, own_name: str | None) -> None:
        self._models = models
        self._conversations = models.conversations
        self._conversation_id = conversation_id
        self._own_name = own_name

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **options: Any) -> Any:
        call, model = await self._choose(input)
        began = time.monotonic()
        try:
            response = await model.get_response(system_instructions, input, *args, **options)
        except Exception as error:
            self._conversations.could_not_serve(call, error)
            raise
        self._report(call, response.usage, began)
        return response

    async def stream_response(
        self, system_instructions: Any, input: Any, *args: Any, **options: Any
    ) -> AsyncIterator[Any]:
        call, model = await self._choose(input)
        began = time.monotonic()
        try:
            async for event in model.stream_response(system_instructions, input, *args, **options):
                if event.type == "response.completed":
                    self._report(call, event.response.usage, began)
                yield event
        except Exception as error:
            self._conversations.could_not_serve(call, error)
            raise

    async def _choose(self, given: Any) -> tuple[Call | None, Model]:
        items = [] if isinstance(given, str) else given
        call = await asyncio.to_thread(
            self._conversations.choose,
            self._conversation_id,
            last_tool_result(items),
            own=self._own_name or OWN_MODEL,
            answers_before=count_answers(items),
            allow=list(self._models.models),
        )
        return call, self._models.model((call and call.model) or self._own_name)

    def _report(self, call: Call | None, usage: Any, began: float) -> None:
        latency_ms = (time.monotonic() - began) * 1000
        facts: TurnReport = {**usage_facts(usage), "latency_ms": latency_ms, "error": "NONE"}
        self._conversations.report(call, **facts)


def usage_facts(usage: Any) -> TurnReport:
    """Return the SDK's usage, whose input tokens count cached ones in, as the router counts."""
    if usage is None:
        return {}
    details = usage.input_tokens_details
    read, written = getattr(details, "cached_tokens", None) or 0, getattr(details, "cache_write_tokens", None) or 0
    return {
        "input_tokens": max(0, usage.input_tokens - read - written),
        "cached_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": usage.output_tokens,
    }
