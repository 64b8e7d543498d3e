"""No scope, no call; every call has an owner; what a quarantined or undone source reports teaches nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest

from sojourn import Client
from sojourn.v1 import admin_pb2, router_pb2, types_pb2
from sojourn_server.app import App
from tests.rpc.wire import Stubs, connected, refusal
from tests.security.conftest import entry, secret_of

As = Callable[[str], Stubs]
UNAUTHENTICATED, DENIED = grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED
CALLS: dict[str, Callable[[Stubs], object]] = {
    "Decide": lambda s: s.decide("e1"),
    "ReportTurn": lambda s: s.router.ReportTurn(
        router_pb2.ReportTurnRequest(episode_id="e1", turn_index=0, facts=types_pb2.TurnFacts()), timeout=10
    ),
    "ReportOutcome": lambda s: s.end("e1"),
    "ListModels": lambda s: s.admin.ListModels(admin_pb2.ListModelsRequest(), timeout=10),
    "UndoReporter": lambda s: s.admin.UndoReporter(admin_pb2.UndoReporterRequest(reporter="x"), timeout=10),
    "ExportJournal": lambda s: list(s.admin.ExportJournal(admin_pb2.ExportJournalRequest(), timeout=10)),
}
MAY = {
    "gateway": {"Decide", "ReportTurn"},
    "judge": {"ReportTurn", "ReportOutcome"},
    "operator": {"ListModels", "UndoReporter", "ExportJournal"},
}


@pytest.mark.parametrize("method", CALLS)
def test_a_call_without_a_known_token_is_refused(guarded: App, as_caller: As, method: str):
    with connected(guarded.address) as anonymous:
        for stubs in (anonymous, as_caller("stranger")):
            found = refusal(lambda s=stubs: CALLS[method](s))  # type: ignore[misc]  # bound now
            assert (found.code, found.reason) == (UNAUTHENTICATED, "UNAUTHENTICATED")
    assert all(record.WhichOneof("body") != "decision" for record in guarded.journal.read(0))


@pytest.mark.parametrize("name", MAY)
def test_a_token_may_do_what_its_scopes_say_and_nothing_else(as_caller: As, name: str):
    as_caller("gateway").decide("e1")
    for method, call in CALLS.items():
        if method in MAY[name]:
            call(as_caller(name))
        else:
            found = refusal(lambda c=call: c(as_caller(name)))  # type: ignore[misc]  # bound now
            assert (found.code, found.reason) == (DENIED, "PERMISSION_DENIED"), method


def test_health_needs_no_token(guarded: App):
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with grpc.insecure_channel(guarded.address) as channel:
        answer = health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=10)
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


def test_a_token_for_one_policy_touches_no_other_and_nothing_shared(as_caller: As):
    researcher = as_caller("researcher")
    answer = researcher.decide("e1", policy="research")
    researcher.admin.GetPolicy(admin_pb2.GetPolicyRequest(policy="research"), timeout=10)
    facts = types_pb2.TurnFacts()
    refused: list[Callable[[], object]] = [
        lambda: researcher.decide("e1"),
        lambda: researcher.admin.GetPolicy(admin_pb2.GetPolicyRequest(), timeout=10),
        lambda: researcher.router.ReportTurn(
            router_pb2.ReportTurnRequest(decision_id=answer.decision_id, facts=facts), timeout=10
        ),
        *(lambda m=m: CALLS[m](researcher) for m in ("ListModels", "ExportJournal", "UndoReporter")),
    ]
    assert {refusal(call).code for call in refused} == {DENIED}


def test_records_name_their_reporter_and_calls_of_administrators_are_journaled(guarded: App, as_caller: As):
    as_caller("gateway").decide("e1")
    as_caller("judge").end("e1")
    as_caller("operator").admin.GetPolicy(admin_pb2.GetPolicyRequest(policy="research"), timeout=10)
    refusal(lambda: CALLS["ListModels"](as_caller("gateway")))
    records = [r for r in guarded.journal.read(0) if r.reporter]
    assert [(r.WhichOneof("body"), r.reporter) for r in records] == [
        ("decision", "gateway"),
        ("outcome", "judge"),
        ("admin_call", "operator"),
    ]
    assert (records[-1].admin_call.method, records[-1].policy) == ("GetPolicy", "research")


def test_a_token_beyond_its_calls_is_told_when_to_come_back(as_caller: As):
    hasty = as_caller("hasty")
    outcomes = []
    for turn in range(12):
        try:
            hasty.decide("e1", turn)
            outcomes.append("served")
        except grpc.RpcError:
            found = refusal(lambda t=turn: hasty.decide("e1", t))  # type: ignore[misc]  # bound now
            assert (found.code, found.reason) == (grpc.StatusCode.RESOURCE_EXHAUSTED, "RATE_LIMITED")
            assert found.retry_ms is not None
            assert 1 <= found.retry_ms <= 500
            time.sleep(found.retry_ms / 1000)
            hasty.decide("e1", turn)
            outcomes.append("told")
            break
    assert outcomes[-1] == "told"
    as_caller("gateway").decide("e2")  # another token has calls of its own


def _joins(stubs: Stubs, policy: str = "") -> dict[str, int]:
    found = stubs.admin.GetPolicy(admin_pb2.GetPolicyRequest(policy=policy), timeout=10)
    return {state: count for state, count in found.statistics.joins.items() if state != "turns_unreported"}


def _eventually(stubs: Stubs, wanted: dict[str, int]) -> None:
    deadline = time.monotonic() + 20
    while _joins(stubs) != wanted:
        assert time.monotonic() < deadline, _joins(stubs)
        time.sleep(0.05)


def test_outcomes_of_a_quarantined_token_are_recorded_and_never_learned(guarded: App, as_caller: As):
    for name, reporter in (("e1", "suspect"), ("e2", "judge")):
        as_caller("gateway").decide(name)
        assert as_caller(reporter).end(name).state == router_pb2.REPORT_STATE_RECORDED
    _eventually(as_caller("operator"), {"quarantined": 1, "learned": 1})
    outcomes = [r for r in guarded.journal.read(0) if r.HasField("outcome")]
    assert [(r.reporter, r.outcome.quarantined) for r in outcomes] == [("suspect", True), ("judge", False)]


def test_undoing_a_reporter_leaves_its_outcomes_out_and_keeps_the_others(as_caller: As):
    gateway, operator = as_caller("gateway"), as_caller("operator")
    for name, reporter in (("e1", "judge"), ("e2", "researcher"), ("e3", "judge")):
        policy = "research" if reporter == "researcher" else ""
        gateway.router.Decide(router_pb2.DecideRequest(policy=policy, episode_id=name), timeout=10)
        as_caller(reporter).router.ReportOutcome(
            router_pb2.ReportOutcomeRequest(policy=policy, episode_id=name, score=1.0), timeout=10
        )
    _eventually(operator, {"learned": 2})
    operator.admin.UndoReporter(admin_pb2.UndoReporterRequest(reporter="judge", because="forged"), timeout=10)
    _eventually(operator, {"excluded": 2})
    assert _joins(operator, "research") == {"learned": 1}


def test_undo_without_a_reporter_names_the_field(as_caller: As):
    found = refusal(lambda: as_caller("operator").admin.UndoReporter(admin_pb2.UndoReporterRequest(), timeout=10))
    assert (found.reason, found.fields) == ("INVALID_FIELD", ("reporter",))


def test_tokens_rotate_without_a_restart_and_a_broken_file_changes_nothing(tokens: Path, as_caller: As):
    def soon(name: str, *, is_known: bool) -> None:
        deadline = time.monotonic() + 10
        while True:
            try:
                as_caller(name).decide(f"of-{name}")
                known = True
            except grpc.RpcError:
                known = False
            if known == is_known:
                return
            assert time.monotonic() < deadline
            time.sleep(0.1)

    soon("gateway", is_known=True)
    tokens.write_text("[[tokens]")
    time.sleep(1.2)
    soon("gateway", is_known=True)
    tokens.write_text(entry("newcomer", "decide"))
    soon("newcomer", is_known=True)
    soon("gateway", is_known=False)


def test_a_client_asks_for_its_token_at_each_call_and_goes_on_without_one(guarded: App):
    secrets = {"now": "gateway"}

    def token() -> str:
        return secret_of(secrets["now"])

    with Client(guarded.address, token=token, decide_deadline_ms=5_000) as client, client.episode("e1") as episode:
        assert episode.decide(tool_type="search").fallback is None
        secrets["now"] = "judge"
        refused = episode.decide(tool_type="search")
        assert refused.fallback == "PERMISSION_DENIED"
        secrets.clear()  # token() fails from here on
        alone = episode.decide(tool_type="search")
        assert (alone.fallback, alone.model) == ("UNAUTHENTICATED", refused.model)
        secrets["now"] = "judge"
        episode.succeed(wait=True)
    assert [r.reporter for r in guarded.journal.read(0) if r.HasField("outcome")] == ["judge"]
