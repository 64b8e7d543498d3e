"""LiteLLM: a group of three deployments, whose answers are canned (`mock_response`), and one conversation."""

import asyncio
import os

import litellm

import sojourn
from sojourn.integrations.litellm import SojournCallback

ADDRESS = os.environ.get("SOJOURN_ADDRESS", "127.0.0.1:50051")
MODELS = ["gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite"]
DEPLOYMENTS = [
    {"model_name": "agent", "litellm_params": {"model": f"openai/{name}", "api_key": "none", "mock_response": "done"}}
    for name in MODELS
]


async def main() -> None:
    """Two turns of one conversation, and its outcome."""
    with sojourn.Client(ADDRESS, fallback=sojourn.FallbackTable({"*": "deepseek-v3.2"})) as client:
        callback = SojournCallback(client, group="agent")
        litellm.callbacks = [callback]
        router = litellm.Router(model_list=DEPLOYMENTS)

        messages = [{"role": "user", "content": "Which test fails?"}]
        answer = await router.acompletion(model="agent", messages=messages, litellm_session_id="litellm-example")
        print("without a tool:", answer.model)

        called = {"id": "1", "type": "function", "function": {"name": "grep", "arguments": "{}"}}
        messages += [
            {"role": "assistant", "content": None, "tool_calls": [called]},
            {"role": "tool", "tool_call_id": "1", "content": "test_overload"},
        ]
        answer = await router.acompletion(model="agent", messages=messages, litellm_session_id="litellm-example")
        print("after grep:", answer.model)
        await callback.end("litellm-example", "SUCCEEDED")


asyncio.run(main())
