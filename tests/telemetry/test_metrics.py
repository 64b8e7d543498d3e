"""Counts: in the process, and as a collector receives them."""

from __future__ import annotations

import time
from typing import get_args

import pytest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.telemetry import COUNTERS, GAUGES, HISTOGRAM_BOUNDS, MAX_SERIES, OTHER, Fault, Telemetry
from tests.telemetry.sink import Sink, plain

Points = dict[tuple[object, ...], float]


@pytest.fixture
def telemetry(sink: Sink, monkeypatch: pytest.MonkeyPatch) -> Telemetry:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", sink.endpoint)
    return Telemetry.from_environment("1.2.3")


def answer(model: str = "gpt-5", reason: types_pb2.Reason.ValueType = types_pb2.REASON_HELD):
    return router_pb2.DecideResponse(model=model, reason=reason)


def points(metric: Metric) -> Points:
    """Values of a counter or gauge by the values of their attributes."""
    kind = metric.sum if metric.HasField("sum") else metric.gauge
    return {
        tuple(plain(p.attributes).values()): p.as_int if p.HasField("as_int") else p.as_double for p in kind.data_points
    }


def happened(metric: Metric) -> Points:
    """The points that are not 0."""
    return {labels: value for labels, value in points(metric).items() if value}


def test_decisions_are_counted_by_policy_model_and_reason(telemetry: Telemetry, sink: Sink):
    for _ in range(3):
        telemetry.metrics.decision(answer(), 0.001, "default")
    telemetry.metrics.decision(answer("kimi-k2", types_pb2.REASON_FIRST_TURN), 0.001, "default")
    telemetry.close(5)
    expected = {("default", "gpt-5", "HELD"): 3, ("default", "kimi-k2", "FIRST_TURN"): 1}
    assert telemetry.metrics.counts()["sojourn.decisions"] == expected
    assert points(sink.newest("sojourn.decisions")) == expected
    assert sink.newest("sojourn.decisions").sum.is_monotonic


def test_switches_fallbacks_and_ignored_facts_are_counted_apart(telemetry: Telemetry, sink: Sink):
    telemetry.metrics.decision(
        router_pb2.DecideResponse(switched=True, reason=types_pb2.REASON_PHASE_CHANGED), 0.001, "a"
    )
    telemetry.metrics.decision(answer(reason=types_pb2.REASON_INNER_FAULT), 0.001, "a")
    telemetry.metrics.decision(answer(reason=types_pb2.REASON_JOURNAL_UNAVAILABLE), 0.001, "b")
    telemetry.metrics.decision(router_pb2.DecideResponse(previous_turn_ignored=True), 0.001, "b")
    telemetry.close(5)
    assert points(sink.newest("sojourn.switches")) == {("a", "PHASE_CHANGED"): 1}
    assert points(sink.newest("sojourn.fallbacks")) == {("a", "INNER_FAULT"): 1, ("b", "JOURNAL_UNAVAILABLE"): 1}
    assert points(sink.newest("sojourn.previous_turn.ignored")) == {("b",): 1}
    assert happened(sink.newest("sojourn.faults")) == {("choice_failed",): 1}


def test_the_cache_that_switches_gave_up_is_added_up(telemetry: Telemetry, sink: Sink):
    """Of the chosen candidate, and of switches alone."""
    ranked = [
        types_pb2.RankedCandidate(model="gpt-5", switching_cost_usd=0.02),
        types_pb2.RankedCandidate(model="kimi-k2", switching_cost_usd=0.5),
        types_pb2.RankedCandidate(model="excluded"),
    ]
    for model, switched in (("gpt-5", True), ("gpt-5", True), ("kimi-k2", False), ("excluded", True)):
        telemetry.metrics.decision(router_pb2.DecideResponse(model=model, switched=switched, ranked=ranked), 0.001, "a")
    telemetry.close(5)
    metric = sink.newest("sojourn.switching_cost_usd")
    assert points(metric) == {("a",): pytest.approx(0.04)}
    assert metric.sum.is_monotonic


def test_faults_are_reported_before_the_first_one(telemetry: Telemetry, sink: Sink):
    """A counter that appears with its first fault shows no rise."""
    telemetry.close(5)
    assert points(sink.newest("sojourn.faults")) == {(kind,): 0 for kind in get_args(Fault)}


def test_reports_joins_and_faults_are_counted_by_state(telemetry: Telemetry, sink: Sink):
    telemetry.metrics.report("turn", router_pb2.REPORT_STATE_RECORDED)
    telemetry.metrics.report("outcome", router_pb2.REPORT_STATE_LATE)
    telemetry.metrics.join("default", "abandoned")
    telemetry.metrics.fault("snapshot_rejected")
    telemetry.close(5)
    assert points(sink.newest("sojourn.reports")) == {("turn", "RECORDED"): 1, ("outcome", "LATE"): 1}
    assert points(sink.newest("sojourn.joins")) == {("default", "abandoned"): 1}
    assert happened(sink.newest("sojourn.faults")) == {("snapshot_rejected",): 1}


def test_latency_is_a_distribution(telemetry: Telemetry, sink: Sink):
    for latency_s in (0.0004, 0.004, 0.004):
        telemetry.metrics.decision(answer(), latency_s, "default")
    telemetry.close(5)
    metric = sink.newest("sojourn.decide.duration")
    (point,) = metric.histogram.data_points
    assert metric.unit == "s"
    assert point.count == 3
    assert point.sum == pytest.approx(0.0084)
    in_bucket = dict(zip(point.explicit_bounds, point.bucket_counts, strict=False))
    assert (in_bucket[0.0005], in_bucket[0.005]) == (1, 2)


def test_reward_and_spend_are_kept_by_cohort(telemetry: Telemetry, sink: Sink):
    control = types_pb2.COHORT_NEVER_SWITCH
    telemetry.metrics.join("p", "learned", score=1.0, cost_usd=0.02, cohort=types_pb2.COHORT_LEARNED)
    telemetry.metrics.join("p", "learned", score=0.5, cohort=control)
    telemetry.metrics.join("p", "learned", score=0.0, cost_usd=0.3, cohort=control)
    telemetry.close(5)

    def sums(name: str) -> dict[object, tuple[int, float]]:
        data = sink.newest(name).histogram.data_points
        return {plain(p.attributes)["sojourn.cohort"]: (p.count, p.sum) for p in data}

    assert sums("sojourn.episode.score") == {"LEARNED": (1, 1.0), "NEVER_SWITCH": (2, 0.5)}
    assert sums("sojourn.episode.cost_usd") == {"LEARNED": (1, 0.02), "NEVER_SWITCH": (1, 0.3)}


def test_the_learners_standing_is_its_newest(telemetry: Telemetry, sink: Sink):
    made_at_ms = int(time.time() * 1000) - 60_000
    telemetry.metrics.learner("default", version=3, created_at_ms=0, lag_records=9)
    telemetry.metrics.learner("default", version=40, created_at_ms=made_at_ms, lag_records=2)
    telemetry.close(5)
    assert points(sink.newest("sojourn.policy.version")) == {("default",): 40}
    assert points(sink.newest("sojourn.learner.lag")) == {("default",): 2}
    assert points(sink.newest("sojourn.policy.age"))[("default",)] == pytest.approx(60, abs=10)


def test_a_clock_that_went_back_makes_no_negative_age():
    metrics = Telemetry.disabled().metrics
    metrics.learner("default", version=1, created_at_ms=int(time.time() * 1000) + 60_000, lag_records=0)
    assert metrics.counts()["sojourn.policy.age"] == {("default",): 0}


def test_names_from_requests_cannot_make_series_without_bound():
    metrics = Telemetry.disabled().metrics
    for i in range(MAX_SERIES + 5):
        metrics.decision(answer(f"model-{i}"), 0.001, "default")
    metrics.decision(answer("model-0"), 0.001, "default")
    decisions = metrics.counts()["sojourn.decisions"]
    assert len(decisions) == MAX_SERIES + 1
    assert decisions[(OTHER, OTHER, OTHER)] == 5
    assert decisions[("default", "model-0", "HELD")] == 2


def test_counting_goes_on_without_an_exporter():
    telemetry = Telemetry.from_environment("1.2.3")
    telemetry.metrics.decision(answer(), 0.001, "default")
    telemetry.close(1)
    assert telemetry.metrics.counts()["sojourn.decisions"] == {("default", "gpt-5", "HELD"): 1}


def test_counts_are_a_copy():
    metrics = Telemetry.disabled().metrics
    before = metrics.counts()
    metrics.fault("choice_failed")
    assert before["sojourn.faults"]["choice_failed",] == 0


def test_every_instrument_has_a_name_of_ours_a_unit_and_a_sentence(telemetry: Telemetry, sink: Sink):
    instruments = [*COUNTERS, *GAUGES, *HISTOGRAM_BOUNDS]
    assert all(i.name.startswith("sojourn.") and i.unit and i.description.endswith(".") for i in instruments)
    assert len({i.name for i in instruments}) == len(instruments)
    telemetry.metrics.fault("choice_failed")
    telemetry.close(5)
    (scope,) = sink.metrics.received[-1].scope_metrics
    assert (scope.scope.name, scope.scope.version) == ("sojourn", "1.2.3")
    assert scope.schema_url.startswith("https://opentelemetry.io/schemas/")
