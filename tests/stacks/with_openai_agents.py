"""An agent of the OpenAI Agents SDK."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import agents
from agents import Model, ModelProvider, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import (
    Response,
    ResponseCompletedEvent,
    ResponseFunctionToolCall,
    ResponseOutputMessage,
    ResponseOutputText,
    ResponseUsage,
)

import sojourn
from sojourn.integrations.openai_agents import SojournModels
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
    "input_tokens": INPUT_TOKENS,
    "output_tokens": OUTPUT_TOKENS,
    "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
    "input_tokens_details": {"cached_tokens": CACHED_TOKENS, "cache_write_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}


class FakeModel(Model):
    """One of the fakes as the SDK's model."""

    def __init__(self, name: str, models: Models) -> None:
        self.name = name
        self.models = models

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **options: Any) -> ModelResponse:
        self.models.call(self.name)
        usage = ResponseUsage.model_validate(USAGE)
        counts: dict[str, Any] = {name: getattr(usage, name) for name in USAGE}
        return ModelResponse(output=[_output(input)], usage=Usage(requests=1, **counts), response_id=None)

    async def stream_response(
        self, system_instructions: Any, input: Any, *args: Any, **options: Any
    ) -> AsyncIterator[Any]:
        self.models.call(self.name)
        response = Response(
            id="r1",
            created_at=1,
            model=self.name,
            object="response",
            output=[_output(input)],
            tool_choice="auto",
            tools=[],
            parallel_tool_calls=False,
            usage=ResponseUsage.model_validate(USAGE),
        )
        yield ResponseCompletedEvent(type="response.completed", sequence_number=0, response=response)


class FakeProvider(ModelProvider):
    """Knows every fake by its name."""

    def __init__(self, models: Models) -> None:
        self.models = models

    def get_model(self, model_name: str | None) -> Model:
        return FakeModel(model_name or OWN, self.models)


class StackAgent(Agent):
    """One agent; each conversation has a provider of its own."""

    is_sync = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        names = {NAMES[0]: FakeModel(NAMES[0], models), **{name: name for name in NAMES[1:]}}
        self._models = SojournModels(client, names, provider=FakeProvider(models))

        @function_tool
        def web_search(query: str) -> str:
            """Search the web."""
            return SECRET

        self._agent = agents.Agent(name="searcher", model=OWN, tools=[web_search])

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        for _ in range(retries):
            try:
                await Runner.run(self._agent, SECRET, run_config=self._run_config(conversation_id))
            except OutOfOrder:
                continue
            return
        await Runner.run(self._agent, SECRET, run_config=self._run_config(conversation_id))

    async def run_streamed(self, conversation_id: str) -> None:
        result = Runner.run_streamed(self._agent, SECRET, run_config=self._run_config(conversation_id))
        async for _ in result.stream_events():
            pass

    def run_sync(self, conversation_id: str) -> None:
        Runner.run_sync(self._agent, SECRET, run_config=self._run_config(conversation_id))

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        return self._models.end(conversation_id, score=score, wait=True)

    def _run_config(self, conversation_id: str) -> RunConfig:
        return RunConfig(model_provider=self._models.conversation(conversation_id), tracing_disabled=True)


def _output(given: Any) -> Any:
    if isinstance(given, list) and given[-1].get("type") == "function_call_output":
        text = ResponseOutputText(type="output_text", text=SECRET, annotations=[])
        return ResponseOutputMessage(id="m1", type="message", role="assistant", status="completed", content=[text])
    arguments = json.dumps({"query": SECRET})
    return ResponseFunctionToolCall(type="function_call", call_id="call-1", name=TOOL, arguments=arguments)
