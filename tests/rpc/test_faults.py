"""Faults inside, met over the wire: an agent always gets a model, an outcome is never acknowledged in vain."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from structlog.testing import capture_logs

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.app import App
from sojourn_server.config import Config, JournalConfig, PolicyConfig, ServerConfig
from sojourn_server.journal.sqlite import SqliteJournal
from sojourn_server.telemetry import Telemetry
from tests.journal.test_sqlite import fill, full_disk
from tests.policy.play import QUICK_LESSON, taught
from tests.rpc.wire import Refusal, Stubs, connected, refusal

AWAY = Refusal(grpc.StatusCode.UNAVAILABLE, "JOURNAL_UNAVAILABLE", (), 200.0)


class OnDisk:
    """A server whose journal is on a disk that can be full."""

    def __init__(self, app: App, stubs: Stubs, telemetry: Telemetry) -> None:
        self.app, self.stubs, self.telemetry = app, stubs, telemetry

    @contextmanager
    def full(self) -> Iterator[None]:
        """Fills the disk: from here on no record is taken."""
        assert isinstance(self.app.journal, SqliteJournal)
        with full_disk(self.app.journal):
            fill(self.app.journal, "filler")
            yield


@pytest.fixture
def on_disk(tmp_path: Path) -> Iterator[OnDisk]:
    config = Config(
        server=ServerConfig(address="127.0.0.1:0"),
        journal=JournalConfig(directory=tmp_path),
        policies={"default": PolicyConfig(lesson=QUICK_LESSON)},
    )
    telemetry = Telemetry.disabled()
    with App.open(config, telemetry) as app, connected(app.address) as stubs:
        yield OnDisk(app, stubs, telemetry)


def test_while_the_disk_is_full_a_turn_is_decided_without_the_journal_and_says_so(on_disk: OnDisk):
    """The incumbent that the request names, else the heuristic's choice; REASON_JOURNAL_UNAVAILABLE."""
    stubs = on_disk.stubs
    stubs.decide("going", 0, tool_type="search")
    with on_disk.full():
        fresh = stubs.decide("new", 0, tool_type="reasoning")
        kept = stubs.decide("going", 1, tool_type="code", previous_turn=pb.TurnFacts(served_model="kimi-k2"))
    for answer, model in ((fresh, "gpt-5"), (kept, "kimi-k2")):
        assert (answer.model, answer.reason) == (model, pb.REASON_JOURNAL_UNAVAILABLE)
        assert (answer.propensity, answer.decision_id, answer.decision_point) == (1.0, "", False)
    assert len(on_disk.app.journal.episode("default", "new")) == 0


def test_while_the_disk_is_full_reports_are_refused_with_when_to_try_again_and_taken_later(on_disk: OnDisk):
    stubs = on_disk.stubs
    stubs.decide("e", 0, tool_type="search")
    turn = router_pb2.ReportTurnRequest(episode_id="e", turn_index=0, facts=pb.TurnFacts(error_code="x" * 100))
    with on_disk.full():
        assert refusal(lambda: stubs.router.ReportTurn(turn, timeout=10)) == AWAY
        assert refusal(lambda: stubs.end("e")) == AWAY
    assert on_disk.telemetry.metrics.counts()["sojourn.faults"]["journal_unavailable",] == 2
    assert stubs.router.ReportTurn(turn, timeout=10).state == router_pb2.REPORT_STATE_RECORDED
    assert stubs.end("e").state == router_pb2.REPORT_STATE_RECORDED


def test_when_the_disk_is_back_the_episode_goes_on_where_the_journal_left_it(on_disk: OnDisk):
    """What was decided without the journal never was, but for what the client tells of it."""
    stubs = on_disk.stubs
    first = stubs.decide("e", 0, tool_type="search")
    with on_disk.full():
        stubs.decide("e", 1, tool_type="search")
    facts = pb.TurnFacts(served_model=first.model, decided_by_client=True)
    held = stubs.decide("e", 2, tool_type="search", previous_turn=facts)
    assert (held.reason, held.model) == (pb.REASON_HELD, first.model)
    bodies = [record.WhichOneof("body") for record in on_disk.app.journal.episode("default", "e")]
    assert bodies == ["decision", "decision"]


class Broken:
    """Knowledge that fails inside."""

    version = 3
    statistics = taught().statistics

    def predict(self, shared: str, actions: Any) -> tuple[list[float], float]:
        """Fails."""
        raise RuntimeError("inside")


def test_an_inner_fault_keeps_the_incumbent_says_so_and_is_logged(server: App, stubs: Stubs):
    """REASON_INNER_FAULT, and the record says that it must not be learned."""
    incumbent = stubs.decide("e", 0, tool_type="search").model
    server.router.use("default", Broken())
    with capture_logs() as logs:
        answer = stubs.decide("e", 1, tool_type="code")
    assert (answer.model, answer.reason) == (incumbent, pb.REASON_INNER_FAULT)
    assert "choice_failed" in {entry["event"] for entry in logs}
    assert not server.journal.episode("default", "e")[-1].decision.learnable


def test_what_nobody_foresaw_is_an_internal_error_without_its_details(
    server: App, stubs: Stubs, monkeypatch: pytest.MonkeyPatch
):
    """The log has them, the caller does not, and the next call is served."""
    with monkeypatch.context() as broken:
        broken.setattr(server.router, "_episodes", None)
        with capture_logs() as logs, pytest.raises(grpc.RpcError) as caught:
            stubs.end("e")
    assert isinstance(caught.value, grpc.Call)
    assert caught.value.code() == grpc.StatusCode.INTERNAL
    assert "NoneType" not in str(caught.value.details())
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["call_failed"]
    assert stubs.decide("f").model
