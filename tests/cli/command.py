"""Runs the command line in this process, and plays episodes on a real router for it to look at."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import grpc
import structlog
from typer.testing import CliRunner, Result

from sojourn.v1 import router_pb2, router_pb2_grpc, types_pb2
from sojourn_server.app import App
from sojourn_server.cli.program import program
from sojourn_server.config import Config, JournalConfig, LearnerConfig, ServerConfig
from sojourn_server.journal.disk import SECRET
from sojourn_server.telemetry import Telemetry

MAP = """
[episodes]
file = "episodes.csv"
episode_id = ["task"]
score = "reward"
[turns]
file = "turns.csv"
episode_id = ["task"]
turn_index = "turn"
model = "model"
tool_type = "tool"
prompt_tokens = "tokens"
error = "error"
"""


def run(*arguments: object) -> Result:
    """Runs `sojourn ARGUMENTS`; what it raises beyond an exit is raised here."""
    return CliRunner().invoke(program(), [str(a) for a in arguments], catch_exceptions=False)


def run_json(*arguments: object, exit_code: int = 0) -> Any:
    """Runs `sojourn ARGUMENTS --json` and reads what it prints."""
    result = run(*arguments, "--json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def config_at(directory: Path) -> Config:
    """Defaults, but for a free port, a journal below a directory, and snapshots that all stay."""
    return Config(
        server=ServerConfig(address="127.0.0.1:0"),
        journal=JournalConfig(directory=directory),
        learner=LearnerConfig(keep_snapshots=1000),
    )


def open_app(directory: Path) -> App:
    """A router on a journal below a directory; its draws are the same in every run.

    What it logs meanwhile must not mix with what a command prints.
    """
    structlog.configure(logger_factory=structlog.PrintLoggerFactory(sys.__stderr__))
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / SECRET).exists():
        (directory / SECRET).write_bytes(b"drawn once".ljust(32))
    return App.open(config_at(directory), Telemetry.disabled())


def play(
    address: str,
    episode_id: str,
    *,
    score: float = 1.0,
    turn_usd: float | None = 0.01,
    output_tokens: int | None = None,
) -> list[router_pb2.DecideResponse]:
    """Plays three turns (search, search, code) of known cost or usage, the second with an error, and ends them."""
    answers = []
    with grpc.insecure_channel(address) as channel:
        router = router_pb2_grpc.RouterServiceStub(channel)
        previous = None
        for turn_index, tool_type in enumerate(("search", "search", "code")):
            request = router_pb2.DecideRequest(
                episode_id=episode_id,
                turn_index=turn_index,
                context=types_pb2.Context(tool_type=tool_type, task_type="repair", prompt_tokens=2_000),
                previous_turn=previous,
            )
            answers.append(router.Decide(request))
            severity = types_pb2.SEVERITY_MEDIUM if turn_index == 1 else types_pb2.SEVERITY_NONE
            usage = None if output_tokens is None else types_pb2.Usage(output_tokens=output_tokens)
            previous = types_pb2.TurnFacts(cost_usd=turn_usd, usage=usage, error=severity)
        router.ReportOutcome(router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score, last_turn=previous))
    return answers
