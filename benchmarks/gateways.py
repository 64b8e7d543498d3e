"""Services that choose a model over the wire, each with a server of its own, before one model that always answers.

A gateway can only be asked for a choice by sending a call through it, so what it adds is what a call takes through it
less what the same call takes straight to the model. That model is a few lines of Node that answer at once. Gateways
come from their registries into folders of their own: LiteLLM's proxy by uv, Portkey's by npm. All servers under test
stand on one core; the load, h2load, and the model on the other.
"""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.latency import DECIDE, Sample, load, request, run_h2load, server
from sojourn_server.config import DEFAULTS
from tests.environments import environment
from tests.ports import find_unused_port

LITELLM, PORTKEY = "litellm[proxy]==1.108.7", "@portkey-ai/gateway@1.15.2"
MODELS = [model["name"] for model in DEFAULTS["models"]]
LITELLM_TRIES = ("opentelemetry-sdk", "opentelemetry-exporter-otlp", "prisma")
"""Packages that the proxy tries to import at each request as long as they are missing, which takes a third of it."""
BODY = json.dumps({"model": "any", "messages": [{"role": "user", "content": "a turn"}]})
START_S = 240
SERVER_CORES, LOAD_CORES = {0}, {1}
_MODEL = """
const answer = JSON.stringify({
  id: "c", object: "chat.completion", created: 1, model: "any",
  choices: [{index: 0, finish_reason: "stop", message: {role: "assistant", content: "done"}}],
  usage: {prompt_tokens: 9, completion_tokens: 1, total_tokens: 10},
});
const headers = {"content-type": "application/json", "content-length": answer.length};
require("http").createServer(
  (asked, answered) => asked.resume().on("end", () => answered.writeHead(200, headers).end(answer))
).listen(Number(process.argv[1]), "127.0.0.1");
"""


class Side(NamedTuple):
    """One who can be asked: `ask(requests, connections)`, one request at a time on each connection."""

    name: str
    ask: Callable[[int, int], Sample]


@contextmanager
def sojourn() -> Iterator[Side]:
    """The service, over gRPC, with its journal on disk; each request decides another turn."""
    payload = request(held=False).SerializeToString()
    with server(cores=SERVER_CORES) as serving:

        def ask(requests: int, connections: int) -> Sample:
            before = serving.position()
            sample = load(serving.address, DECIDE, payload, requests=requests, concurrency=1, connections=connections)
            if serving.position() - before != requests:
                raise RuntimeError(f"{requests} requests made {serving.position() - before} records")
            return sample

        yield Side("Sojourn, gRPC, decided and committed to SQLite", ask)


@contextmanager
def model(directory: Path) -> Iterator[tuple[str, Side]]:
    """The model that stands behind all gateways: its URL, and itself."""
    port = find_unused_port()
    with running(["node", "-e", _MODEL, str(port)], port, directory / "model", cores=LOAD_CORES):
        yield f"http://127.0.0.1:{port}/v1", _over_http("the model itself, no gateway", port)


@contextmanager
def litellm(directory: Path, model_url: str) -> Iterator[Side]:
    """LiteLLM's proxy, six deployments of one name, its default strategy."""
    python = environment(directory / "litellm", LITELLM, *LITELLM_TRIES)
    deployments = [
        {"model_name": "any", "litellm_params": {"model": f"openai/{n}", "api_base": model_url, "api_key": "none"}}
        for n in MODELS
    ]
    config = directory / "litellm" / "config.yaml"
    config.write_text(json.dumps({"model_list": deployments}))  # which YAML reads too
    port, key = find_unused_port(), f"sk-{secrets.token_hex(32)}"  # without one it does not start
    command = [str(python.with_name("litellm")), "--config", str(config), "--port", str(port)]
    with running(command, port, directory / "litellm-log", cores=SERVER_CORES, LITELLM_MASTER_KEY=key):
        yield _over_http(f"LiteLLM proxy, simple-shuffle ({LITELLM})", port, {"authorization": f"Bearer {key}"})


@contextmanager
def portkey(directory: Path, model_url: str) -> Iterator[Side]:
    """Portkey's gateway, six targets, balanced; its configuration comes with each request."""
    folder = directory / "portkey"
    folder.mkdir()
    subprocess.run(["npm", "install", "--no-audit", "--no-fund", "--prefix", folder, PORTKEY], check=True)
    targets = [
        {"provider": "openai", "api_key": "none", "custom_host": model_url, "override_params": {"model": n}}
        for n in MODELS
    ]
    config = json.dumps({"strategy": {"mode": "loadbalance"}, "targets": targets})
    port = find_unused_port()
    program = folder / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    command = ["node", str(program), f"--port={port}", "--headless"]
    with running(command, port, directory / "portkey-log", cores=SERVER_CORES):
        yield _over_http(f"Portkey gateway, loadbalance ({PORTKEY})", port, {"x-portkey-config": config})


@contextmanager
def running(command: Sequence[str], port: int, log: Path, *, cores: set[int], **variables: str) -> Iterator[None]:
    """A server on some cores, once it answers a call."""
    environment = os.environ | {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "NODE_ENV": "production"} | variables
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
        os.sched_setaffinity(process.pid, cores)
        try:
            until = time.monotonic() + START_S
            while not _listens(port):
                if process.poll() is not None or time.monotonic() > until:
                    raise RuntimeError(f"{command[0]} did not start: {log.read_text()[-2_000:]}")
                time.sleep(0.2)
            yield
        finally:
            process.terminate()
            process.wait(30)


def _listens(port: int) -> bool:
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def _over_http(name: str, port: int, headers: Mapping[str, str] | None = None) -> Side:
    url, head = f"http://127.0.0.1:{port}/v1/chat/completions", {"content-type": "application/json", **(headers or {})}

    def ask(requests: int, connections: int) -> Sample:
        _check_answer(url, head)
        arguments = [argument for item in head.items() for argument in ("-H", ": ".join(item))]
        command = ["--h1", "-c", str(connections), *arguments, url]
        return run_h2load(command, BODY.encode(), requests)

    return Side(name, ask)


def _check_answer(url: str, headers: Mapping[str, str]) -> None:
    """The model's words must have come through."""
    with urllib.request.urlopen(urllib.request.Request(url, BODY.encode(), dict(headers)), timeout=60) as answer:
        found: dict[str, Any] = json.load(answer)
    if found["choices"][0]["message"]["content"] != "done":
        raise RuntimeError(f"{url} answered {found}")
