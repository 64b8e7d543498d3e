"""LangChain: an agent with one tool; its models' answers are canned, in turns: call the tool, then answer."""

import os
from typing import Any

from langchain.agents import create_agent
from langchain_core.language_models.fake_chat_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage

import sojourn
from sojourn.integrations.langchain import SojournMiddleware

ADDRESS = os.environ.get("SOJOURN_ADDRESS", "127.0.0.1:50051")
SCRIPT = [
    AIMessage("", tool_calls=[{"name": "grep", "args": {"pattern": "overload"}, "id": "1"}]),
    AIMessage("test_overload fails"),
]


class CannedModel(FakeMessagesListChatModel):
    """Says what the script says at this point of the conversation."""

    name: str

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        """Take the tools for granted."""
        return self

    def _generate(self, messages: Any, *args: Any, **options: Any) -> Any:
        print(f"{messages[-1].type}: {self.name}")
        self.i = int(messages[-1].type == "tool")
        return super()._generate(messages, *args, **options)


def grep(pattern: str) -> str:
    """Search the files."""
    return "tests/test_overload.py"


names = ["gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite"]
models = {name: CannedModel(name=name, responses=SCRIPT) for name in names}
with sojourn.Client(ADDRESS) as client:
    middleware = SojournMiddleware(client, models, score=lambda state: float("overload" in state["messages"][-1].text))
    agent = create_agent(models["deepseek-v3.2"], [grep], middleware=[middleware])
    task: Any = {"messages": [{"role": "user", "content": "Which test fails?"}]}
    agent.invoke(task, {"configurable": {"thread_id": "langchain-example"}})
