"""Plays scenarios with the client of one language, through its runner, and compares what comes of each step.

A runner is a program that reads a command a line and answers a line each, fields parted by tabs: README.md beside this
file is its whole contract. Requests travel as serialised messages, so that no runner needs JSON, and answers are
compared here, so that no two runners can differ in what they take for equal.
"""

from __future__ import annotations

import base64
import subprocess
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Self

from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.message import Message

from sojourn.v1 import router_pb2, types_pb2
from tests.scenarios.scenario import Found, Scenario, differences
from tests.scenarios.stage import Stage, wait_ms

ANSWER_WITHIN_S = 60.0
PATIENT_MS = 10_000
"""The decide deadline unless a scenario sets one: a loaded machine must not turn every scenario into a fallback's."""
_NUMBERS = {"turn_index", "attempt", "propensity", "joined", "decisions", "acknowledged", "retried", "refused"}
_ROUTER_BACK_TRIES = 400


class BrokenRunner(Exception):
    """The runner ended or said nothing in time."""


class Runner:
    """A running runner, asked a line at a time."""

    def __init__(self, command: Sequence[str], directory: Path) -> None:
        self._process = subprocess.Popen(
            command, cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, encoding="utf-8"
        )

    def ask(self, command: str, **fields: object) -> dict[str, Any]:
        """One command and its answer; fields that are None or "" stay out. Raises BrokenRunner."""
        given = [f"{key}={value}" for key, value in fields.items() if value not in (None, "")]
        assert self._process.stdin
        assert self._process.stdout
        watchdog = threading.Timer(ANSWER_WITHIN_S, self._process.kill)
        watchdog.start()
        try:
            self._process.stdin.write("\t".join([command, *given]) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except OSError:
            line = ""
        finally:
            watchdog.cancel()
        if not line:
            raise BrokenRunner(f"no answer to {command!r}")
        return _answer(line.rstrip("\n").split("\t"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends it by the end of its input; a runner that cannot be ended so is killed, and the scenario has failed."""
        assert self._process.stdin
        self._process.stdin.close()
        try:
            status = self._process.wait(ANSWER_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            status = self._process.wait()
        if self._process.stdout:
            self._process.stdout.close()
        if status:
            raise BrokenRunner(f"the runner ended with status {status}")


class Performance:
    """One scenario in one language. Episodes get names of their own, so that performances share a journal."""

    def __init__(self, stage: Stage, runner: Runner, scenario: Scenario, language: str) -> None:
        self._stage = stage
        self._runner = runner
        self._scenario = scenario
        self._prefix = f"{language}/{scenario.name}/"
        self._saved: dict[str, Found] = {}
        self._episode = ""
        self._line_is_cut = False

    def play(self) -> list[str]:
        """What was not as expected, a line each; ends at the first step that differs."""
        try:
            for number, step in enumerate(self._scenario.steps):
                found = self._do(step)
                self._saved[step.get("save", "")] = found if isinstance(found, Mapping) else {}
                unmet = list(differences(step.get("expect", {}), found, self._saved))
                if "expect" not in step and isinstance(found, Mapping) and "error" in found:
                    unmet = [f"unexpected: {found}"]
                if unmet:
                    kind = next(iter(step))
                    return [f"{self._scenario.name}, step {number} ({kind}): {line}" for line in unmet]
        except BrokenRunner as error:
            return [f"{self._scenario.name}: {error}"]
        finally:
            self._do_line("mend", {})
        return []

    def _do(self, step: Mapping[str, Any]) -> Any:
        kind = next(iter(step))
        return getattr(self, f"_do_{kind}")(step[kind], step)

    def _do_client(self, settings: Mapping[str, Any], _: Mapping[str, Any]) -> Found:
        guarded = settings.get("through") == "guarded" and settings.get("tls", True)
        return self._runner.ask(
            "client",
            target=self._stage.ways[settings.get("through", "router")],
            deadline_ms=settings.get("deadline_ms", PATIENT_MS),
            ca=self._stage.ca if guarded else None,
            token=f"secret-of-{settings['token']}" if "token" in settings else None,
            traceparent=settings.get("traceparent"),
            table=",".join(f"{tool_type}:{model}" for tool_type, model in settings.get("table", {}).items()),
        )

    def _do_episode(self, settings: Mapping[str, Any], step: Mapping[str, Any]) -> Found:
        self._episode = settings.get("as", settings["id"])
        padding = "x" * step.get("pad_bytes", 0)
        return self._open(self._episode, {**settings, "id": settings["id"] + padding})

    def _open(self, handle: str, settings: Mapping[str, Any]) -> Found:
        return self._runner.ask(
            "episode",
            handle=handle,
            id=self._prefix + settings["id"],
            task_type=settings.get("task_type"),
            policy=settings.get("policy"),
            first_turn_index=settings.get("first_turn_index"),
        )

    def _do_decide(self, request: Mapping[str, Any], step: Mapping[str, Any]) -> Found:
        message = ParseDict(dict(request), router_pb2.DecideRequest())
        if "pad_bytes" in step:
            message.context.categories["pad"] = "x" * step["pad_bytes"]
        return self._runner.ask("decide", handle=step.get("in", self._episode), request=_packed(message))

    def _do_retry(self, _: object, step: Mapping[str, Any]) -> Found:
        return self._runner.ask("retry", handle=step.get("in", self._episode))

    def _do_report(self, facts: Mapping[str, Any], step: Mapping[str, Any]) -> Found:
        message = ParseDict(dict(facts), types_pb2.TurnFacts())
        return self._runner.ask("report", handle=step.get("in", self._episode), facts=_packed(message))

    def _do_end(self, outcome: Mapping[str, Any], step: Mapping[str, Any]) -> Found:
        message = ParseDict(dict(outcome), router_pb2.ReportOutcomeRequest())
        handle = step.get("in", self._episode)
        return self._runner.ask("end", handle=handle, outcome=_packed(message), wait=step.get("wait"))

    def _do_flush(self, timeout_ms: int, _: Mapping[str, Any]) -> Found:
        return self._runner.ask("flush", timeout_ms=timeout_ms)

    def _do_counters(self, _: object, __: Mapping[str, Any]) -> Found:
        return self._runner.ask("counters")

    def _do_line(self, change: str, _: Mapping[str, Any]) -> Found:
        if change == "cut":
            self._stage.cable.cut()
        elif self._line_is_cut:
            self._stage.cable.mend()
        self._line_is_cut = change == "cut"
        return {}

    def _do_router_is_back(self, _: object, __: Mapping[str, Any]) -> Found:
        """Decides on other episodes until the router answers: a channel's state lags behind the line's."""
        for number in range(_ROUTER_BACK_TRIES):
            self._open("probe", {"id": f"probe-{number}"})
            answer = self._runner.ask("decide", handle="probe", request=_packed(router_pb2.DecideRequest()))
            if "fallback" not in answer and "error" not in answer:
                return {}
            wait_ms(50)
        return {"error": "the client never found the router again"}

    def _do_stumble(self, codes: Sequence[str], _: Mapping[str, Any]) -> Found:
        self._stage.relay.stumble(codes)
        return {}

    def _do_stumbled(self, _: object, __: Mapping[str, Any]) -> Found:
        relay = self._stage.relay
        episodes = [episode and episode.removeprefix(self._prefix) for episode in relay.episodes]
        return {"calls": len(relay.called_at_s), "pauses_ms": relay.pauses_ms(), "episodes": episodes}

    def _do_records(self, episode_id: str, _: Mapping[str, Any]) -> list[dict[str, Any]]:
        return [MessageToDict(record) for record in self._stage.records(self._prefix + episode_id)]


def _packed(message: Message) -> str:
    return base64.b64encode(message.SerializeToString(deterministic=True)).decode("ascii")


def _answer(fields: Sequence[str]) -> dict[str, Any]:
    """The answer's fields; an empty one is absent. An error is kept under "error"."""
    verdict, *given = fields
    pairs = (field.partition("=") for field in given)
    found: dict[str, Any] = {key: _value(key, value) for key, _, value in pairs if value}
    return found if verdict == "ok" else {"error": found.pop("kind", verdict), **found}


def _value(key: str, value: str) -> Any:
    if key in _NUMBERS:
        return float(value)
    return {"true": True, "false": False}.get(value, value)
