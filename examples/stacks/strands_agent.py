"""Strands Agents: an agent with one tool; its models' answers are canned: call the tool, then answer."""

import os
from collections.abc import AsyncIterator
from typing import Any

from strands import Agent, tool
from strands.models import Model

import sojourn
from sojourn.integrations.strands import SojournModels

ADDRESS = os.environ.get("SOJOURN_ADDRESS", "127.0.0.1:50051")


class CannedModel(Model):
    """Calls the tool until it has a result."""

    def __init__(self, name: str) -> None:
        self.name = name

    async def stream(self, messages: Any, *args: Any, **options: Any) -> AsyncIterator[Any]:
        """Say what comes next."""
        has_result = "toolResult" in messages[-1]["content"][0]
        print(f"{'after the tool' if has_result else 'first'}: {self.name}")
        call = {"toolUse": {"toolUseId": "1", "name": "grep"}}
        yield {"contentBlockStart": {"start": {} if has_result else call}}
        answer = {"text": "test_overload fails"} if has_result else {"toolUse": {"input": '{"pattern": "overload"}'}}
        yield {"contentBlockDelta": {"delta": answer}}
        yield {"contentBlockStop": {}}
        yield {"messageStop": {"stopReason": "end_turn" if has_result else "tool_use"}}
        usage = {"inputTokens": 100, "outputTokens": 10, "totalTokens": 110}
        yield {"metadata": {"usage": usage, "metrics": {"latencyMs": 1}}}

    def get_config(self) -> dict[str, str]:
        """Say what the model is called."""
        return {"model_id": self.name}

    def update_config(self, **model_config: Any) -> None:
        """Not shown here."""

    def structured_output(self, *args: Any, **options: Any) -> Any:
        """Not shown here."""


@tool
def grep(pattern: str) -> str:
    """Search the files."""
    return "tests/test_overload.py"


models = {name: CannedModel(name) for name in ("gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite")}
with sojourn.Client(ADDRESS) as client:
    sojourn_models = SojournModels(client, models, own=models["deepseek-v3.2"])
    agent = Agent(model=sojourn_models.conversation("strands-example"), tools=[grep], callback_handler=None)
    result = agent("Which test fails?")
    sojourn_models.end("strands-example", "SUCCEEDED" if "overload" in str(result) else "FAILED")
