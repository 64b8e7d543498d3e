"""EvaluatePolicy over the wire: the same answer as over the files, beside decisions, one at a time."""

from __future__ import annotations

import time
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from pathlib import Path

import grpc
import pytest

from sojourn.v1 import admin_pb2
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, PolicyConfig, ServerConfig
from sojourn_server.evaluation.answer import answer
from sojourn_server.telemetry import Telemetry
from tests.policy.play import QUICK_LESSON
from tests.rpc.wire import Stubs, connected, refusal

EPISODES = 30
Request = admin_pb2.EvaluatePolicyRequest


def configured(kind: str, directory: Path) -> Config:
    journal = JournalConfig.model_validate({"kind": kind, "directory": directory})
    policies = {"default": PolicyConfig(lesson=QUICK_LESSON)}
    return Config(server=ServerConfig(address="127.0.0.1:0"), journal=journal, policies=policies)


@pytest.fixture(params=["sqlite", "memory"])
def app(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[App]:
    with App.open(configured(request.param, tmp_path), Telemetry.disabled()) as opened:
        yield opened


@pytest.fixture
def stubs(app: App) -> Iterator[Stubs]:
    with connected(app.address) as opened:
        for i in range(EPISODES):
            opened.decide(f"e{i}", tool_type="code", prompt_tokens=4_000)
            opened.end(f"e{i}", score=i / EPISODES)
        yield opened


def test_the_service_answers_what_the_journal_says(app: App, stubs: Stubs):
    request = Request(choice_settings_json='{"cost_weight": 3}', policy_version=0)
    found = stubs.admin.EvaluatePolicy(request, timeout=60)
    assert found == answer(app.journal, request)
    names = [each.name for each in found.evaluations]
    assert names[:2] == ["as logged", "as asked"]
    assert found.episodes + sum(found.left_out.values()) == EPISODES
    assert {"heuristic", "uniform random", "share-matched random", "never-switch:gpt-5"} < set(names)
    logged = found.evaluations[0]
    assert logged.mean_weight == pytest.approx(1.0)
    assert all(each.refused or each.HasField("score_dr") for each in found.evaluations)


@pytest.mark.parametrize(
    ("request_", "code", "field"),
    [
        (Request(choice_settings_json="{"), grpc.StatusCode.INVALID_ARGUMENT, "choice_settings_json"),
        (Request(choice_settings_json="[1]"), grpc.StatusCode.INVALID_ARGUMENT, "choice_settings_json"),
        (Request(choice_settings_json='{"frictoin": 1}'), grpc.StatusCode.INVALID_ARGUMENT, "frictoin"),
        (Request(policy_version=-1), grpc.StatusCode.INVALID_ARGUMENT, "policy_version"),
        (Request(policy_version=10**9), grpc.StatusCode.NOT_FOUND, ""),
        (Request(policy="nobody"), grpc.StatusCode.NOT_FOUND, ""),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused(
    stubs: Stubs, request_: Request, code: grpc.StatusCode, field: str
):
    found = refusal(lambda: stubs.admin.EvaluatePolicy(request_, timeout=60))
    assert found.code is code
    assert field in "".join(found.fields)


def test_a_journal_without_episodes_has_nothing_to_say(app: App):
    with connected(app.address) as stubs:
        assert not stubs.admin.EvaluatePolicy(Request(), timeout=60).evaluations


def test_decisions_go_on_meanwhile_a_second_one_is_refused_and_a_caller_who_leaves_ends_it(tmp_path: Path):
    with App.open(configured("sqlite", tmp_path), Telemetry.disabled()) as app, connected(app.address) as stubs:
        stubs.decide("e", tool_type="code")
        stubs.end("e")
        with ThreadPoolExecutor(2) as threads:
            calls = [threads.submit(stubs.admin.EvaluatePolicy, Request(), timeout=60) for _ in range(2)]
            (second,), (first,) = wait(calls, return_when=FIRST_COMPLETED)
            assert stubs.decide("meanwhile").model
            assert not first.done()
            found = refusal(second.result)
            assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "OVERLOADED")
            assert found.retry_ms
            assert first.result().episodes == 1
        with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
            stubs.admin.EvaluatePolicy(Request(), timeout=0.2)
        _until_free(stubs)


def _until_free(stubs: Stubs) -> None:
    """The place of the one that was given up is free again at once, not when it would have been done."""
    deadline = time.monotonic() + 20
    while True:
        try:
            stubs.admin.EvaluatePolicy(Request(), timeout=60)
            return
        except grpc.RpcError:
            if time.monotonic() > deadline:
                raise
