"""A secret that a caller sends comes out nowhere: not in logs, spans, metrics, errors, answers or files."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sojourn.v1 import admin_pb2
from sojourn_server.app import App
from tests.rpc.wire import Stubs, refusal
from tests.security.conftest import secret_of
from tests.telemetry.sink import Sink


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    """A collector that the server exports to; asked for before the server."""
    made = Sink()
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", made.endpoint)
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    yield made
    made.close()


def test_no_secret_reaches_logs_errors_answers_or_files(
    tmp_path: Path, sink: Sink, guarded: App, as_caller: Callable[[str], Stubs], capfd: pytest.CaptureFixture[str]
):
    names = ("gateway", "judge", "operator", "stranger")
    said = [str(as_caller("gateway").decide("e1")), str(as_caller("judge").end("e1"))]
    said.append(str(as_caller("operator").admin.GetEpisode(admin_pb2.GetEpisodeRequest(episode_id="e1"))))
    said += [str(refusal(lambda n=n: as_caller(n).decide("e9"))) for n in names if n != "gateway"]  # type: ignore[misc]  # bound now
    guarded.close()
    said += [*capfd.readouterr(), str(sink.traces.received), str(sink.metrics.received)]
    assert "RouterService/Decide" in said[-2]
    kept = b"".join(file.read_bytes() for file in (tmp_path / "journal").rglob("*") if file.is_file())
    for name in names:
        assert secret_of(name) not in "".join(said)
        assert secret_of(name).encode() not in kept
