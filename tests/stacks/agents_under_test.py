"""One agent per stack, behind one face: ask it something, and it calls a model, a tool, and a model again."""

from __future__ import annotations

from abc import ABC, abstractmethod
from importlib import import_module
from typing import ClassVar

import sojourn
from tests.stacks.fake_models import Models

STACKS = {
    "litellm": "tests.stacks.with_litellm",
    "langchain": "tests.stacks.with_langchain",
    "openai-agents": "tests.stacks.with_openai_agents",
    "pydantic-ai": "tests.stacks.with_pydantic_ai",
    "strands": "tests.stacks.with_strands",
    "ai-sdk": "tests.stacks.with_ai_sdk",
}
"""Where each stack's agent is; the key is its extra, and its package on PyPI but for a suffix, or an export on npm."""


class Agent(ABC):
    """An agent of one stack, whose models are fakes and whose router is the client's."""

    tells_cost: ClassVar[bool] = False
    """Whether the stack knows what a call cost."""
    tells_tool_errors: ClassVar[bool] = False
    """Whether the stack knows that a tool failed."""
    is_sync: ClassVar[bool] = False
    """Whether `run_sync` differs from `run`."""
    streams: ClassVar[bool] = True
    """Whether `run_streamed` differs from `run`."""

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        self.client = client
        self.models = models
        self.tool_fails = False

    @abstractmethod
    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        """Do a task: a call, the tool, a call. `retries` is how often a failed call is tried again."""

    async def run_streamed(self, conversation_id: str) -> None:
        """The same with a streaming model."""
        raise NotImplementedError

    def run_sync(self, conversation_id: str) -> None:
        """The same without an event loop."""
        raise NotImplementedError

    @abstractmethod
    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        """End the conversation's episode, and wait for the router's receipt."""

    async def close(self) -> None:
        """Let go of what the stack holds."""
        return


def agent_class(stack: str) -> type[Agent]:
    """The agent of a stack. Raises ImportError where its package is not installed."""
    kind: type[Agent] = import_module(STACKS[stack]).StackAgent
    return kind
