"""The real LiteLLM proxy with the very files that docs/coding-agents.md shows, before fake models.

Skipped unless SOJOURN_LITELLM_PROXY names the proxy's command; `python -m tests.stacks` installs one and sets it.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

import sojourn
from sojourn_server.app import App
from tests.ports import find_unused_port
from tests.stacks.fake_models import NAMES, SECRET, TOOL, Models, served
from tests.stacks.test_laws import decisions, last_facts, models_of, records

PROXY_VARIABLE = "SOJOURN_LITELLM_PROXY"
PAGE = Path(__file__).parents[2] / "docs" / "coding-agents.md"
START_S = 120
SESSION = "0a1b2c3d-0000-4000-8000-123456789abc"

pytestmark = [
    pytest.mark.skipif(not os.environ.get(PROXY_VARIABLE), reason=f"SKIPPED: {PROXY_VARIABLE} names no LiteLLM proxy"),
    pytest.mark.timeout(300),
]


@dataclass(frozen=True)
class Proxy:
    """A running proxy and the models behind it."""

    url: str
    key: str
    models: Models

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        """The proxy's answer."""
        head = {name.replace("_", "-"): value for name, value in headers.items()}
        head |= {"content-type": "application/json", "authorization": f"Bearer {self.key}"}
        request = urllib.request.Request(f"{self.url}{path}", json.dumps(body).encode(), head)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)


def shown(language: str) -> str:
    """The first block of a language on the page."""
    (block, *_) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), flags=re.DOTALL)
    return str(block)


@pytest.fixture
def proxy(server: App, tmp_path: Path) -> Iterator[Proxy]:
    """The proxy as the page sets it up; only addresses, providers and patience are the test's."""
    config = re.sub(r"model: \w+/", "model: hosted_vllm/", shown("yaml"))  # a provider that may be anywhere
    callback = shown("python").replace('"127.0.0.1:50051"', f'"{server.address}", decide_deadline_ms=5_000')
    assert server.address in callback
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "sojourn_callback.py").write_text(callback)
    port, models = find_unused_port(), Models()
    with served(models) as models_url, (tmp_path / "log").open("w") as log:
        keys = dict.fromkeys(("OPENAI_API_KEY", "DEEPSEEK_API_KEY", "GEMINI_API_KEY"), "none")
        keys["LITELLM_MASTER_KEY"] = f"sk-{secrets.token_hex(32)}"
        variables = os.environ | keys | {"HOSTED_VLLM_API_BASE": models_url, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
        command = [os.environ[PROXY_VARIABLE], "--config", str(tmp_path / "config.yaml"), "--port", str(port)]
        process = subprocess.Popen(command, env=variables, stdout=log, stderr=log, cwd=tmp_path)
        try:
            _await(f"http://127.0.0.1:{port}/health/liveliness", process, tmp_path / "log")
            yield Proxy(f"http://127.0.0.1:{port}", keys["LITELLM_MASTER_KEY"], models)
        finally:
            process.terminate()
            process.wait(30)
            print((tmp_path / "log").read_text()[-3_000:])


def _await(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    until = time.monotonic() + START_S
    while time.monotonic() < until and process.poll() is None:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except (OSError, urllib.error.URLError):
            time.sleep(0.2)
        else:
            return
    pytest.fail(f"the proxy did not start: {log.read_text()[-2_000:]}")


def end(server: App) -> None:
    """What a hook at the session's end does, once the proxy has told of the last call."""
    time.sleep(1)
    with sojourn.Client(server.address) as client:
        assert client.report_outcome(SESSION, "SUCCEEDED", wait=True) == sojourn.Acknowledgement("RECORDED", 2)


def test_a_session_over_openais_api_is_one_episode(server: App, proxy: Proxy):
    messages: list[Any] = [{"role": "user", "content": SECRET}]
    answer = proxy.post("/v1/chat/completions", {"model": "agent", "messages": messages}, x_litellm_session_id=SESSION)
    call = answer["choices"][0]["message"]["tool_calls"][0]
    messages += [answer["choices"][0]["message"], {"role": "tool", "tool_call_id": call["id"], "content": SECRET}]
    proxy.post("/v1/chat/completions", {"model": "agent", "messages": messages}, x_litellm_session_id=SESSION)
    end(server)
    chosen = decisions(server, SESSION)
    assert proxy.models.called == models_of(server, SESSION)
    assert [decision.request.context.tool_name for decision in chosen] == ["", TOOL]
    assert {*chosen[0].request.constraints.allow} == {*NAMES}
    assert chosen[0].request.context.task_type == "coding"
    assert all(SECRET.encode() not in record.SerializeToString() for record in records(server, SESSION))


def test_a_session_of_claude_code_is_one_episode(server: App, proxy: Proxy):
    call = {"type": "tool_use", "id": "call-1", "name": TOOL, "input": {"query": SECRET}}
    result = {"type": "tool_result", "tool_use_id": "call-1", "content": SECRET}
    first = [{"role": "user", "content": SECRET}]
    second = [*first, {"role": "assistant", "content": [call]}, {"role": "user", "content": [result]}]
    for messages in (first, second):
        user = f"user_1_account_2_session_{SESSION}"
        body = {"model": "agent", "max_tokens": 100, "messages": messages, "metadata": {"user_id": user}}
        proxy.post("/v1/messages", body, anthropic_version="2023-06-01")
    end(server)
    assert proxy.models.called == models_of(server, SESSION)
    assert [decision.request.context.tool_name for decision in decisions(server, SESSION)] == ["", TOOL]
    told = [record.turn.request.facts for record in records(server, SESSION) if record.HasField("turn")]
    assert all(facts.usage.output_tokens for facts in [*told, last_facts(server, SESSION)] if facts.served_model)
