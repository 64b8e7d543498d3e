"""What is asked of a tracing backend, and what it answers: spans, and what it makes of them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, TypeVar

from playwright.sync_api import FloatRect, Page

WAIT_S = 240.0
"""A backend starts, or shows what it got, within this time on a loaded machine."""
ValueT = TypeVar("ValueT")


@dataclass(frozen=True)
class Span:
    """A span as the backend tells of it; `links` are pairs of a trace's and a span's id, ids are in hexadecimal.

    `is_model_call` if the backend takes it for a call of a model, by its kind or by the model that it names.
    """

    span_id: str
    parent_id: str
    name: str
    attributes: Mapping[str, Any]
    links: Sequence[tuple[str, str]]
    is_model_call: bool


@dataclass(frozen=True)
class Trace:
    """What the backend says of a whole trace; `scores` are its evaluations by name."""

    tokens: int
    cost_usd: float
    session: str | None
    scores: Mapping[str, float]


class Backend(Protocol):
    """A running backend, with nothing in it."""

    title: str
    """The section of docs/tracing.md."""
    addresses: Mapping[str, str]
    """Where it listens, by where that section has it listen."""
    search: str
    """How that section has one look for the episode `task-17`."""
    keeps_links: bool

    def spans(self, trace_id: str) -> list[Span]:
        """The spans of a trace so far."""

    def find(self, search: str) -> set[str]:
        """The traces that its search finds by such words."""

    def trace(self, trace_id: str) -> Trace | None:
        """What it makes of a trace; None if it knows nothing of models, sessions and scores."""

    def show(self, page: Page, trace_id: str) -> FloatRect:
        """Opens its page of a trace at the second decision; where on the page that is."""


def ask(url: str, body: object = None) -> Any:
    """The JSON that an address answers, to a POST if there is a body; None for what is not found."""
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if error.code == 404:
            return None
        raise AssertionError(f"{url}: {error.code} {error.read().decode()[:500]}") from error


def wait_for(read: Callable[[], ValueT], is_enough: Callable[[ValueT], bool]) -> ValueT:
    """What is read once it is enough, or what there was when the time ran out."""
    give_up_at = time.monotonic() + WAIT_S
    while not is_enough(value := read()) and time.monotonic() < give_up_at:
        time.sleep(0.2)
    return value


@contextmanager
def running(command: Sequence[str | Path], variables: Mapping[str, str], log: Path, ready: str) -> Iterator[None]:
    """A backend's process, once an address of it answers; ends it, and all that it started, at the end."""
    with log.open("wb") as output:
        process = subprocess.Popen(
            command, env=variables, stdout=output, stderr=output, cwd=log.parent, start_new_session=True
        )
    try:
        wait_for(lambda: process.poll() is not None or _answers(ready), bool)
        assert process.poll() is None, log.read_text(errors="replace")[-3_000:]
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)  # some start others
        process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def plain(attributes: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """OTLP's attributes in JSON as a dictionary, whichever way the fields are spelt."""
    return {a["key"]: _value(a["value"]) for a in attributes}


def _value(value: Mapping[str, Any]) -> Any:
    ((kind, inner),) = value.items()
    match kind.replace("_", "").lower():
        case "intvalue":
            return int(inner)
        case "arrayvalue":
            return [_value(v) for v in inner["values"]]
        case "kvlistvalue":
            return plain(inner["values"])
    return inner
