"""An agent of LangChain's `create_agent`."""

from __future__ import annotations

from typing import Any

from langchain.agents import create_agent
from langchain.agents.middleware import AgentMiddleware
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import ToolException, tool

import sojourn
from sojourn.integrations.langchain import SojournMiddleware
from tests.stacks.agents_under_test import Agent
from tests.stacks.fake_models import CACHED_TOKENS, INPUT_TOKENS, NAMES, OUTPUT_TOKENS, OWN, SECRET, TOOL, Models


class FakeChatModel(BaseChatModel):
    """One of the fakes as a chat model."""

    name: str
    models: Any

    @property
    def _llm_type(self) -> str:
        return "fake"

    def bind_tools(self, tools: Any, **options: Any) -> Any:
        return self

    def _generate(self, messages: list[BaseMessage], *args: Any, **options: Any) -> ChatResult:
        self.models.call(self.name)
        calls = [{"name": TOOL, "args": {"query": SECRET}, "id": "call-1"}]
        answer = AIMessage(
            content=SECRET,
            tool_calls=[] if isinstance(messages[-1], ToolMessage) else calls,
            usage_metadata={
                "input_tokens": INPUT_TOKENS,
                "output_tokens": OUTPUT_TOKENS,
                "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
                "input_token_details": {"cache_read": CACHED_TOKENS},
            },
        )
        return ChatResult(generations=[ChatGeneration(message=answer)])


class Retry(AgentMiddleware):
    """What any retry middleware does: call once more."""

    def __init__(self, retries: int) -> None:
        super().__init__()
        self.retries = retries

    async def awrap_model_call(self, request: Any, handler: Any) -> Any:
        for _ in range(self.retries):
            try:
                return await handler(request)
            except Exception:  # noqa: BLE001 - as a retry does
                continue
        return await handler(request)


class StackAgent(Agent):
    """A compiled agent per number of retries."""

    tells_tool_errors = True
    is_sync = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        chat_models = {name: FakeChatModel(name=name, models=models) for name in NAMES}
        self._sojourn = SojournMiddleware(client, chat_models)
        self._own = FakeChatModel(name=OWN, models=models)

        @tool
        def web_search(query: str) -> str:
            """Search the web."""
            if self.tool_fails:
                raise ToolException(SECRET)
            return SECRET

        web_search.handle_tool_error = True
        self._tools = [web_search]

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        agent = create_agent(self._own, self._tools, middleware=[Retry(retries), self._sojourn])
        await agent.ainvoke(*_task(conversation_id))

    async def run_streamed(self, conversation_id: str) -> None:
        agent = create_agent(self._own, self._tools, middleware=[self._sojourn])
        async for _ in agent.astream(*_task(conversation_id), stream_mode="messages"):
            pass

    def run_sync(self, conversation_id: str) -> None:
        create_agent(self._own, self._tools, middleware=[self._sojourn]).invoke(*_task(conversation_id))

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        return self._sojourn.end(conversation_id, score=score, wait=True)


def _task(conversation_id: str) -> tuple[Any, Any]:
    task = {"messages": [{"role": "user", "content": f"find {SECRET}"}]}
    return task, {"configurable": {"thread_id": conversation_id}}
