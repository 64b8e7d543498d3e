"""OpenAI Agents SDK: an agent with one tool; its models' answers are canned: call the tool, then answer."""

import os
from collections.abc import AsyncIterator
from typing import Any

from agents import Agent, Model, ModelResponse, RunConfig, Runner, Usage, function_tool
from openai.types.responses import ResponseFunctionToolCall, ResponseOutputMessage, ResponseOutputText

import sojourn
from sojourn.integrations.openai_agents import SojournModels

ADDRESS = os.environ.get("SOJOURN_ADDRESS", "127.0.0.1:50051")
CALL = ResponseFunctionToolCall(type="function_call", call_id="1", name="grep", arguments='{"pattern": "overload"}')
TEXT = ResponseOutputText(type="output_text", text="test_overload fails", annotations=[])
ANSWER = ResponseOutputMessage(id="2", type="message", role="assistant", status="completed", content=[TEXT])


class CannedModel(Model):
    """Calls the tool until it has a result."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def get_response(self, system_instructions: Any, input: Any, *args: Any, **options: Any) -> Any:
        """Say what comes next."""
        has_result = input[-1].get("type") == "function_call_output"
        print(f"{'after the tool' if has_result else 'first'}: {self.name}")
        usage = Usage(requests=1, input_tokens=100, output_tokens=10, total_tokens=110)
        return ModelResponse(output=[ANSWER if has_result else CALL], usage=usage, response_id=None)

    def stream_response(self, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """Not shown here."""
        raise NotImplementedError


@function_tool
def grep(pattern: str) -> str:
    """Search the files."""
    return "tests/test_overload.py"


models = {name: CannedModel(name) for name in ("gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite")}
agent = Agent(name="debugger", model=models["deepseek-v3.2"].name, tools=[grep])
with sojourn.Client(ADDRESS) as client:
    sojourn_models = SojournModels(client, models)
    run_config = RunConfig(model_provider=sojourn_models.conversation("openai-agents-example"), tracing_disabled=True)
    result = Runner.run_sync(agent, "Which test fails?", run_config=run_config)
    sojourn_models.end("openai-agents-example", "SUCCEEDED" if "overload" in result.final_output else "FAILED")
