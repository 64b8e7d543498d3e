"""A backend, a router and an agent, each a process of its own; set up as docs/tracing.md says."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc

from sojourn.v1 import admin_pb2, admin_pb2_grpc
from tests.backends.backend import Backend, Span, wait_for
from tests.habits.sources import REPOSITORY
from tests.serving import address_of

PAGE = REPOSITORY / "docs" / "tracing.md"
AGENT = Path(__file__).with_name("agent.py")
SOJOURN = Path(sys.executable).with_name("sojourn")
SOON_MS = "100"
"""Spans leave after this time, not after the usual 5 seconds."""
LAST_EPISODE, TURNS = "judged-at-once", 5
SPANS = 1 + 4 * TURNS + 2
"""Of its trace: the agent's, each turn's four as docs/tracing.md draws them, and two of the outcome."""
DRAW_SECRET = "drawn once"
"""The pictures show the same models in every run."""


@dataclass(frozen=True)
class Told:
    """What the agent was told, and what the journal has: by episode, the decisions and the number of records."""

    decisions: Mapping[str, list[dict[str, Any]]]
    records: Mapping[str, int]
    judge_trace_id: str

    def trace_id(self, episode_id: str) -> str:
        """The trace of an episode's first turn."""
        return str(self.decisions[episode_id][0]["trace_id"])


@dataclass(frozen=True)
class Stage:
    """A backend in which a play has left its traces."""

    backend: Backend
    told: Told

    def spans(self, episode_id: str) -> list[Span]:
        """The spans of an episode's trace."""
        return self.backend.spans(self.told.trace_id(episode_id))


def section(title: str) -> str:
    """A section of the page."""
    return PAGE.read_text("utf-8").split(f"\n## {title}\n")[1].split("\n## ")[0]


def shown(title: str, language: str) -> str:
    """The first block of a language in a section."""
    blocks = re.findall(rf"```{language}\n(.*?)```", section(title), flags=re.DOTALL)
    return str(blocks[0]) if blocks else ""


def at(addresses: Mapping[str, str], text: str) -> str:
    """A text of the page with the addresses of this play."""
    for default, actual in addresses.items():
        text = text.replace(default, actual)
    return text


def played(backend: Backend, python: Path, directory: Path) -> Stage:
    """Plays the agent by a Python that has what the backend's section imports."""
    said = re.findall(r"(OTEL_\w+)=(\S+)", at(backend.addresses, shown(backend.title, "console")))
    variables = {"PATH": os.environ["PATH"], "OTEL_BSP_SCHEDULE_DELAY": SOON_MS, **dict(said)}
    recipe = directory / "recipe.py"
    evaluation = at(backend.addresses, shown(backend.title, "python"))
    recipe.write_text(shown("The agent's trace", "python") + "\n\n" + evaluation)
    with router(directory, variables) as address:
        command = (python, AGENT, recipe, address)
        with subprocess.Popen(
            command, env=os.environ | variables, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        ) as agent:
            assert agent.stdin is not None
            assert agent.stdout is not None
            trace_id = agent.stdout.readline().strip()
            wait_for(lambda: backend.spans(trace_id), lambda spans: any(s.name == "sojourn.decide" for s in spans))
            answer, _ = agent.communicate("go on\n")
        assert agent.returncode == 0
        decisions = json.loads(answer)
        judge = decisions.pop("judge")
        told = Told(decisions, {episode: records(address, episode) for episode in decisions}, judge)
    stage = Stage(backend, told)
    wait_for(lambda: stage.spans(LAST_EPISODE), lambda spans: len(spans) >= SPANS)
    return stage


def records(address: str, episode_id: str) -> int:
    """How many records the journal has of an episode."""
    with grpc.insecure_channel(address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)
        return len(stub.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id=episode_id)).records)


@contextmanager
def router(directory: Path, variables: Mapping[str, str]) -> Iterator[str]:
    """`sojourn serve`, and where it listens; at the end its spans have left."""
    own = {"SOJOURN_JOURNAL__DIRECTORY": str(directory / "journal"), "SOJOURN_SERVER__DRAW_SECRET": DRAW_SECRET}
    command = (SOJOURN, "serve", "--address", "127.0.0.1:0")
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**variables, **own}) as process:
        try:
            yield address_of(process)
        finally:
            process.terminate()
            process.communicate(timeout=60)
