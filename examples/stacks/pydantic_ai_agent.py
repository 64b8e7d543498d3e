"""Pydantic AI: an agent with one tool; its models are `TestModel`s, which call each tool once and answer."""

import os

from pydantic_ai import Agent
from pydantic_ai.models.test import TestModel

import sojourn
from sojourn.integrations.pydantic_ai import SojournModels

ADDRESS = os.environ.get("SOJOURN_ADDRESS", "127.0.0.1:50051")
models = {name: TestModel(model_name=name) for name in ("gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite")}
agent = Agent()


@agent.tool_plain
def grep(pattern: str) -> str:
    """Search the files."""
    return "tests/test_overload.py"


with sojourn.Client(ADDRESS) as client:
    sojourn_models = SojournModels(client, models, own=models["deepseek-v3.2"])
    result = agent.run_sync("Which test fails?", model=sojourn_models.conversation("pydantic-ai-example"))
    sojourn_models.end("pydantic-ai-example", "SUCCEEDED" if "overload" in result.output else "FAILED")
    print([message.model_name for message in result.all_messages() if message.kind == "response"])
