"""Models that need no network: they call the tool `web_search` and answer once they have its result.

What a model does depends on the conversation alone, so that any of them can go on where another left. Each stack has
its own face for them; this is what all faces share: who was called, and who is out of order.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar

LARGE, MEDIUM, SMALL = "gpt-5", "deepseek-v3.2", "gemini-2.5-flash-lite"
NAMES = (LARGE, MEDIUM, SMALL)
OWN = "own"  # what a stack serves without a router
TOOL = "web_search"
SECRET = "xyzzy"  # stands in every prompt, tool call, tool result and answer, and nowhere in a journal
INPUT_TOKENS, CACHED_TOKENS, OUTPUT_TOKENS = 1_000, 400, 20
USD_PER_TOKEN, USD_PER_CACHED_TOKEN = 1e-6, 1e-7
COST_USD = (INPUT_TOKENS - CACHED_TOKENS + OUTPUT_TOKENS) * USD_PER_TOKEN + CACHED_TOKENS * USD_PER_CACHED_TOKEN


class OutOfOrder(Exception):
    """What a model that is out of order raises."""


class Models:
    """Who was called, in order, and who is out of order."""

    def __init__(self) -> None:
        self.called: list[str] = []
        self.out_of_order: set[str] = set()

    def call(self, name: str) -> None:
        """Note a call. Raises OutOfOrder."""
        self.called.append(name)
        if name in self.out_of_order:
            raise OutOfOrder(f"{name} is out of order")


@contextmanager
def served(models: Models) -> Iterator[str]:
    """The models behind OpenAI's chat API on loopback; gives its base URL."""

    class Handler(_ChatApi):
        serves = models

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/v1"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


class _ChatApi(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    serves: ClassVar[Models]

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["content-length"])))
        try:
            self.serves.call(request["model"])
        except OutOfOrder as error:
            self._answer(503, "application/json", json.dumps({"error": {"message": str(error)}}))
            return
        body = _completion(request["model"], answers=request["messages"][-1]["role"] == "tool")
        if request.get("stream"):
            message = body["choices"][0].pop("message")
            message["tool_calls"] = [{"index": 0, **call} for call in message.get("tool_calls", ())]
            chunk = body | {"object": "chat.completion.chunk"}
            chunk["choices"][0]["delta"] = message
            self._answer(200, "text/event-stream", f"data: {json.dumps(chunk)}\n\ndata: [DONE]\n\n")
        else:
            self._answer(200, "application/json", json.dumps(body))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _answer(self, status: int, kind: str, body: str) -> None:
        self.send_response(status)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())


def _completion(model: str, *, answers: bool) -> dict[str, Any]:
    function = {"name": TOOL, "arguments": json.dumps({"query": SECRET})}
    message: dict[str, Any] = {"role": "assistant", "content": SECRET}
    if not answers:
        message |= {"content": None, "tool_calls": [{"id": "call-1", "type": "function", "function": function}]}
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": model,
        "choices": [{"index": 0, "finish_reason": "stop" if answers else "tool_calls", "message": message}],
        "usage": {
            "prompt_tokens": INPUT_TOKENS,
            "completion_tokens": OUTPUT_TOKENS,
            "total_tokens": INPUT_TOKENS + OUTPUT_TOKENS,
            "prompt_tokens_details": {"cached_tokens": CACHED_TOKENS},
        },
    }
