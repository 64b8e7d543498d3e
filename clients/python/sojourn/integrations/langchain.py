"""LangChain: a middleware of `create_agent` that chooses the chat model of each call, and reports the call.

    create_agent("openai:gpt-5", tools, middleware=[SojournMiddleware(client, {"gpt-5": large, "glm-4.6": small})])

The agent's own model serves where the router has not chosen. The thread's id names the episode, else the id of the
first message. A retry middleware that stands before this one has each retry served by another model.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Unpack

from langchain.agents.middleware import AgentMiddleware, ModelRequest, ModelResponse
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AnyMessage, ToolMessage
from langgraph.config import get_config

from sojourn.client import Client
from sojourn.errors import SojournError
from sojourn.integrations.conversations import OWN_MODEL, Call, Conversations, name_among
from sojourn.integrations.tool_results import ToolResult
from sojourn.messages import OutcomeReport, Status, TurnReport
from sojourn.reports import Acknowledgement

_log = logging.getLogger("sojourn")


class SojournMiddleware(AgentMiddleware):
    """Chooses among `models`, by the router's names for them.

    `score`, if given, is asked for the score of each finished run, 0 to 1, by its final state; None leaves the
    episode open, for `end`.
    """

    def __init__(
        self,
        client: Client,
        models: Mapping[str, BaseChatModel],
        *,
        score: Callable[[Any], float | None] | None = None,
        task_type: str | None = None,
    ) -> None:
        super().__init__()
        self.models = models
        self.conversations = Conversations(client, task_type=task_type)
        self._score = score

    def wrap_model_call(self, request: ModelRequest, handler: Callable[[ModelRequest], ModelResponse]) -> ModelResponse:
        """Have a call served by the chosen model."""
        call, began = self._choose(request), time.monotonic()
        try:
            response = handler(self._routed(request, call))
        except Exception as error:
            self.conversations.could_not_serve(call, error)
            raise
        self._report(call, response, time.monotonic() - began)
        return response

    async def awrap_model_call(
        self, request: ModelRequest, handler: Callable[[ModelRequest], Awaitable[ModelResponse]]
    ) -> ModelResponse:
        """Have a call served by the chosen model."""
        call, began = await asyncio.to_thread(self._choose, request), time.monotonic()
        try:
            response = await handler(self._routed(request, call))
        except Exception as error:
            self.conversations.could_not_serve(call, error)
            raise
        self._report(call, response, time.monotonic() - began)
        return response

    def after_agent(self, state: Any, runtime: Any) -> None:
        """End the episode with the score of the finished run, if there is one."""
        score = self._score(state) if self._score else None
        if score is not None:
            try:
                self.end(_conversation_id(state["messages"]), score=score)
            except SojournError as error:
                _log.warning("the outcome was not reported: %s", error)

    async def aafter_agent(self, state: Any, runtime: Any) -> None:
        """End the episode with the score of the finished run, if there is one."""
        self.after_agent(state, runtime)

    def end(
        self, thread_id: str, status: Status | None = None, *, wait: bool = False, **outcome: Unpack[OutcomeReport]
    ) -> Acknowledgement | None:
        """End a thread's episode, as `Client.report_outcome` does."""
        return self.conversations.end(thread_id, status, wait=wait, **outcome)

    def _choose(self, request: ModelRequest) -> Call | None:
        messages = request.messages
        answers_before = sum(isinstance(message, AIMessage) for message in messages)
        return self.conversations.choose(
            _conversation_id(request.state["messages"]),
            last_tool_result(messages),
            own=self._own_name(request.model),
            answers_before=answers_before,
            allow=list(self.models),
        )

    def _routed(self, request: ModelRequest, call: Call | None) -> ModelRequest:
        return request.override(model=self.models[call.model]) if call and call.model else request

    def _own_name(self, own: BaseChatModel) -> str:
        """The router's name for the agent's own model, else LangChain's."""
        name = getattr(own, "model_name", None) or getattr(own, "model", None)
        return name_among(self.models, own) or str(name or OWN_MODEL)

    def _report(self, call: Call | None, response: Any, seconds: float) -> None:
        messages = getattr(response, "result", [response])
        answer = next((message for message in messages if isinstance(message, AIMessage)), None)
        facts: TurnReport = {**usage_facts(answer), "latency_ms": seconds * 1000, "error": "NONE"}
        self.conversations.report(call, **facts)


def last_tool_result(messages: list[AnyMessage]) -> ToolResult | None:
    """Return the newest tool result after the model's last answer."""
    for message in reversed(messages):
        if isinstance(message, ToolMessage) and message.name:
            return ToolResult(message.name, failed=message.status == "error")
        if isinstance(message, AIMessage):
            break
    return None


def usage_facts(answer: AIMessage | None) -> TurnReport:
    """Return LangChain's usage, whose input tokens count cached ones in, as the router counts."""
    usage: Any = answer.usage_metadata if answer else None
    if not usage:
        return {}
    details = usage.get("input_token_details") or {}
    read, written = details.get("cache_read") or 0, details.get("cache_creation") or 0
    return {
        "input_tokens": max(0, usage["input_tokens"] - read - written),
        "cached_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": usage["output_tokens"],
    }


def _conversation_id(messages: list[AnyMessage]) -> str:
    thread_id = get_config().get("configurable", {}).get("thread_id")
    return str(thread_id or messages[0].id)
