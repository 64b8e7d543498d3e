"""Telemetry of one process: what is counted, who is traced, and where both go.

Counts live in plain dicts that observable instruments read at export: the SDK's own counters would cost more
than all other bookkeeping of a decision, and these can be read without an exporter too. Nothing waits for an
exporter: spans go to the SDK's bounded queue, which drops when it is full. Only `Telemetry.from_environment`
reads the standard OTEL_* variables; if they name no endpoint and no exporter, nothing is exported.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import entry_points
from typing import Any, Literal, NamedTuple, get_args

from opentelemetry.metrics import CallbackOptions, Meter, NoOpMeter, Observation
from opentelemetry.sdk.metrics import AlwaysOffExemplarFilter, MeterProvider
from opentelemetry.sdk.metrics.export import MetricReader, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import SERVICE_NAME, SERVICE_VERSION, OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.errors import StartRefused
from sojourn_server.traces import COHORTS, NOT_SAMPLED, REASONS, REPORT_STATES, SCHEMA, SCOPE, Metadata, Trace, Tracing

Labels = tuple[str, ...]
Fault = Literal[
    "choice_failed",
    "journal_unavailable",
    "snapshot_rejected",
    "policy_unhealthy",
    "tokens_unreadable",
    "overloaded",
    "retention_failed",
]

MAX_SERIES = 1_000  # per instrument; requests may bring models of their own, so names are not bounded
OTHER = "_other"


class Instrument(NamedTuple):
    """A metric: its name, UCUM unit, description, and the attributes that tell its series apart."""

    name: str
    unit: str
    description: str
    labels: tuple[str, ...]


POLICY, REASON, COHORT = "sojourn.policy", "sojourn.reason", "sojourn.cohort"
DECISIONS = Instrument("sojourn.decisions", "{decision}", "Decisions made.", (POLICY, "sojourn.model", REASON))
SWITCHES = Instrument("sojourn.switches", "{decision}", "Decisions that left the incumbent.", (POLICY, REASON))
SWITCHING_COST = Instrument("sojourn.switching_cost_usd", "{USD}", "Price of the cache that they gave up.", (POLICY,))
FALLBACKS = Instrument("sojourn.fallbacks", "{decision}", "Decisions made without the policy.", (POLICY, REASON))
IGNORED_TURNS = Instrument(
    "sojourn.previous_turn.ignored", "{turn}", "Facts of a previous turn that contradicted recorded ones.", (POLICY,)
)
REPORTS = Instrument("sojourn.reports", "{report}", "Reports taken.", ("sojourn.report.kind", "sojourn.report.state"))
JOINS = Instrument("sojourn.joins", "{episode}", "Episodes by how they joined.", (POLICY, "sojourn.join.state"))
FAULTS = Instrument("sojourn.faults", "{fault}", "Faults that were survived.", ("sojourn.fault.kind",))
COUNTERS = (DECISIONS, SWITCHES, SWITCHING_COST, FALLBACKS, IGNORED_TURNS, REPORTS, JOINS, FAULTS)

POLICY_VERSION = Instrument("sojourn.policy.version", "{record}", "Journal position learned up to.", (POLICY,))
POLICY_AGE = Instrument("sojourn.policy.age", "s", "Time since the policy version was made.", (POLICY,))
LEARNER_LAG = Instrument("sojourn.learner.lag", "{record}", "Records not folded when it was published.", (POLICY,))
GAUGES = (POLICY_VERSION, POLICY_AGE, LEARNER_LAG)

DECIDE_DURATION = Instrument("sojourn.decide.duration", "s", "Time that a Decide took.", ())
EPISODE_SCORE = Instrument("sojourn.episode.score", "1", "Terminal scores of joined episodes.", (POLICY, COHORT))
EPISODE_COST = Instrument("sojourn.episode.cost_usd", "{USD}", "Known spend of joined episodes.", (POLICY, COHORT))
HISTOGRAM_BOUNDS = {
    DECIDE_DURATION: (0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0),
    EPISODE_SCORE: (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.999),
    EPISODE_COST: (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0),
}

_FALLBACK_REASONS = (types_pb2.REASON_INNER_FAULT, types_pb2.REASON_JOURNAL_UNAVAILABLE)


class Metrics:
    """Counts what this process does. It counts always; whether anybody reads depends on the meter."""

    def __init__(self, meter: Meter) -> None:
        """Registers every instrument with `meter`, which may be a no-op."""
        self._lock = threading.Lock()
        # Owned by whoever holds the lock. The series of POLICY_AGE hold when, in seconds since 1970.
        self._series: dict[str, dict[Labels, float]] = {i.name: {} for i in (*COUNTERS, *GAUGES)}
        # From zero on, so that Prometheus sees the first fault of a kind as a rise.
        self._series[FAULTS.name] = {(kind,): 0 for kind in get_args(Fault)}
        for i in COUNTERS:
            meter.create_observable_counter(i.name, [self._reader(i)], i.unit, i.description)
        for i in GAUGES:
            meter.create_observable_gauge(i.name, [self._reader(i)], i.unit, i.description)
        self._histograms = {
            i: meter.create_histogram(i.name, i.unit, i.description, explicit_bucket_boundaries_advisory=b)
            for i, b in HISTOGRAM_BOUNDS.items()
        }

    def decision(self, answer: router_pb2.DecideResponse, latency_s: float, policy: str) -> None:
        """Counts a Decide that was answered."""
        reason = REASONS[answer.reason]
        with self._lock:
            self._add(DECISIONS, policy, answer.model, reason)
            if answer.switched:
                self._add(SWITCHES, policy, reason)
                forfeited_usd = sum(c.switching_cost_usd for c in answer.ranked if c.model == answer.model)
                self._add(SWITCHING_COST, policy, amount=forfeited_usd)
            if answer.reason in _FALLBACK_REASONS:
                self._add(FALLBACKS, policy, reason)
            if answer.reason == types_pb2.REASON_INNER_FAULT:
                self._add(FAULTS, "choice_failed")
            if answer.previous_turn_ignored:
                self._add(IGNORED_TURNS, policy)
        self._histograms[DECIDE_DURATION].record(latency_s)

    def report(self, kind: Literal["turn", "outcome"], state: int) -> None:
        """Counts a report that was answered; `state` is a ReportState."""
        with self._lock:
            self._add(REPORTS, kind, REPORT_STATES[state])

    def join(
        self, policy: str, state: str, *, score: float | None = None, cost_usd: float | None = None, cohort: int = 0
    ) -> None:
        """Counts an episode that the learner has met for the first time; not to be called while replaying.

        `state` is a key of `Statistics.joins`; score in [0, 1] and USD are those of the whole episode.
        """
        with self._lock:
            self._add(JOINS, policy, state)
        for instrument, value in ((EPISODE_SCORE, score), (EPISODE_COST, cost_usd)):
            if value is not None:
                self._histograms[instrument].record(value, {POLICY: policy, COHORT: COHORTS[cohort]})

    def learner(self, policy: str, *, version: int, created_at_ms: int, lag_records: int) -> None:
        """Says where the learner stands: the published version, when it was made, records not folded yet."""
        values = {POLICY_VERSION: version, POLICY_AGE: created_at_ms / 1e3, LEARNER_LAG: lag_records}
        with self._lock:
            for instrument, value in values.items():
                self._series[instrument.name][(policy,)] = value

    def fault(self, kind: Fault) -> None:
        """Counts a fault that was survived."""
        with self._lock:
            self._add(FAULTS, kind)

    def counts(self) -> Mapping[str, Mapping[Labels, float]]:
        """All counters and gauges: by instrument, then by the values of its labels. A copy."""
        with self._lock:
            counts = {name: dict(series) for name, series in self._series.items()}
        made_at, now_s = counts[POLICY_AGE.name], time.time()
        counts[POLICY_AGE.name] = {labels: max(0.0, now_s - at) for labels, at in made_at.items()}
        return counts

    def _add(self, instrument: Instrument, *labels: str, amount: float = 1) -> None:
        series = self._series[instrument.name]
        if labels not in series and len(series) >= MAX_SERIES:
            labels = (OTHER,) * len(labels)
        series[labels] = series.get(labels, 0) + amount

    def _reader(self, instrument: Instrument) -> Callable[[CallbackOptions], Iterable[Observation]]:
        def read(_: CallbackOptions) -> Iterable[Observation]:
            for labels, value in self.counts()[instrument.name].items():
                yield Observation(value, dict(zip(instrument.labels, labels, strict=True)))

        return read


class Pipeline(NamedTuple):
    """A provider and the exporters that it feeds."""

    provider: TracerProvider | MeterProvider
    exporters: list[Any]


class Telemetry:
    """Traces and metrics of one process. Make it after a fork, close it last."""

    def __init__(self, tracing: Tracing | None, meter: Meter, pipelines: list[Pipeline]) -> None:
        """Owns the pipelines from here on; without `tracing` no call is sampled."""
        self.metrics = Metrics(meter)
        self._tracing = tracing  # taken away by `close`
        self._pipelines = pipelines

    @classmethod
    def disabled(cls) -> Telemetry:
        """Counts, and exports nothing."""
        return cls(None, NoOpMeter(SCOPE), [])

    @classmethod
    def from_environment(cls, service_version: str) -> Telemetry:
        """Reads OTEL_*, mostly by the SDK itself. Raises StartRefused if they cannot be followed."""
        if os.environ.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
            return cls.disabled()
        ours = Resource.create({SERVICE_NAME: "sojourn", SERVICE_VERSION: service_version})
        resource = ours.merge(OTELResourceDetector().detect())  # the operator has the last word
        try:
            return cls._exporting(resource, service_version)
        except (ValueError, OSError) as error:  # OSError: Prometheus' port is taken
            raise StartRefused(f"OTEL_* variables: {error}") from error

    @classmethod
    def _exporting(cls, resource: Resource, version: str) -> Telemetry:
        tracing: Tracing | None = None
        meter: Meter = NoOpMeter(SCOPE)
        pipelines = []
        if exporters := _exporters("TRACES"):
            tracing = Tracing(exporters, resource, version)
            pipelines.append(Pipeline(tracing.provider, exporters))
        if exporters := _exporters("METRICS"):
            readers = [e if isinstance(e, MetricReader) else PeriodicExportingMetricReader(e) for e in exporters]
            # Exemplars point to the current span, which is never set; without them a record costs a third less.
            provider = MeterProvider(
                readers, resource, exemplar_filter=AlwaysOffExemplarFilter(), shutdown_on_exit=False
            )
            meter = provider.get_meter(SCOPE, version, SCHEMA)
            pipelines.append(Pipeline(provider, exporters))
        return cls(tracing, meter, pipelines)

    def begin(self, rpc: str, metadata: Metadata) -> Trace:
        """Begins the trace of one call: `rpc` is gRPC's full name of the method, `metadata` the caller's."""
        tracing = self._tracing
        return NOT_SAMPLED if tracing is None else tracing.begin(rpc, metadata)

    def close(self, timeout_s: float) -> None:
        """Exports what is queued and drops what is not out in time. Later calls are not sampled."""
        self._tracing = None
        deadline_s = time.monotonic() + timeout_s
        closing = [(p, threading.Thread(target=p.provider.shutdown, daemon=True)) for p in self._pipelines]
        for _, thread in closing:
            thread.start()
        for pipeline, thread in closing:
            thread.join(max(0.0, deadline_s - time.monotonic()))
            if thread.is_alive():  # the SDK would go on for 30 s; this ends the export that it waits for
                for exporter in pipeline.exporters:
                    exporter.shutdown()
        self._pipelines = []


def _exporters(signal: Literal["TRACES", "METRICS"]) -> list[Any]:
    """The exporters that OTEL_<signal>_EXPORTER names; OTLP if only an endpoint is given."""
    endpoints = ("OTEL_EXPORTER_OTLP_ENDPOINT", f"OTEL_EXPORTER_OTLP_{signal}_ENDPOINT")
    default = "otlp" if any(os.environ.get(e) for e in endpoints) else "none"
    names = os.environ.get(f"OTEL_{signal}_EXPORTER") or default
    return [_exporter(signal, name.strip()) for name in names.split(",") if name.strip() != "none"]


def _exporter(signal: str, name: str) -> Any:
    """An installed exporter by its name; raises ValueError if there is none."""
    if name == "otlp":
        protocol = os.environ.get(f"OTEL_EXPORTER_OTLP_{signal}_PROTOCOL")
        protocol = protocol or os.environ.get("OTEL_EXPORTER_OTLP_PROTOCOL") or "grpc"
        name = "otlp_proto_" + protocol.removesuffix("/protobuf")
    for found in entry_points(group=f"opentelemetry_{signal.lower()}_exporter", name=name):
        return found.load()()
    raise ValueError(f"no exporter {name!r} for {signal.lower()} is installed")
