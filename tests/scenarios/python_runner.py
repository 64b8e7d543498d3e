"""The runner of the Python client: commands on standard input, answers on standard output (README.md, "Runners")."""

from __future__ import annotations

import base64
import sys
from collections.abc import Iterator
from typing import Any

import grpc

import sojourn
from sojourn.decision import short_names
from sojourn.v1 import router_pb2, types_pb2

_SEVERITIES = short_names(types_pb2.Severity, "SEVERITY_")
_STATUSES = short_names(types_pb2.OutcomeStatus, "OUTCOME_STATUS_")
Fields = dict[str, str]


class Runner:
    """Holds the client and the episodes by their handles."""

    client: sojourn.Client

    def __init__(self) -> None:
        self.episodes: dict[str, sojourn.Episode] = {}

    def do_client(self, given: Fields) -> Fields:
        table = dict(entry.split(":") for entry in given.get("table", "").split(",") if entry)
        roots = open(given["ca"], "rb").read() if "ca" in given else None  # noqa: SIM115, PTH123 - closed by the count
        self.client = sojourn.Client(
            given["target"],
            fallback=sojourn.FallbackTable(table),
            decide_deadline_ms=float(given["deadline_ms"]),
            credentials=grpc.ssl_channel_credentials(roots) if roots else None,
            token=given.get("token", ""),
            traceparent=lambda: given.get("traceparent"),
        )
        return {}

    def do_episode(self, given: Fields) -> Fields:
        self.episodes[given["handle"]] = self.client.episode(
            given["id"],
            policy=given.get("policy"),
            task_type=given.get("task_type"),
            first_turn_index=int(given.get("first_turn_index", "0")),
        )
        return {}

    def do_decide(self, given: Fields) -> Fields:
        request = router_pb2.DecideRequest.FromString(base64.b64decode(given.get("request", "")))
        return _decided(self.episodes[given["handle"]].decide(**_inputs(request)))

    def do_retry(self, given: Fields) -> Fields:
        return _decided(self.episodes[given["handle"]].retry())

    def do_report(self, given: Fields) -> Fields:
        facts = types_pb2.TurnFacts.FromString(base64.b64decode(given["facts"]))
        self.episodes[given["handle"]].report(**_report(facts))
        return {}

    def do_end(self, given: Fields) -> Fields:
        outcome = router_pb2.ReportOutcomeRequest.FromString(base64.b64decode(given["outcome"]))
        episode = self.episodes[given["handle"]]
        end = {"SUCCEEDED": episode.succeed, "FAILED": episode.fail, "ABANDONED": episode.abandon}
        arguments: Any = {field.name: value for field, value in outcome.ListFields() if field.name != "status"}
        receipt = end.get(_STATUSES[outcome.status], episode.finish)(wait="wait" in given, **arguments)
        return {"state": receipt.state, "joined": str(receipt.joined_decisions)} if receipt else {}

    def do_flush(self, given: Fields) -> Fields:
        return {"flushed": str(self.client.flush(int(given["timeout_ms"]) / 1000)).lower()}

    def do_counters(self, _: Fields) -> Fields:
        counted = self.client.counters
        return {
            "decisions": str(counted.decisions),
            "fallbacks": ",".join(f"{code}:{number}" for code, number in sorted(counted.fallbacks.items())),
            "acknowledged": str(counted.reports_acknowledged),
            "retried": str(counted.reports_retried),
            "refused": str(counted.reports_refused),
        }


def _inputs(request: router_pb2.DecideRequest) -> Any:
    inputs = {field.name: value for field, value in request.context.ListFields()}
    inputs |= {field.name: value for field, value in request.constraints.ListFields()}
    if request.candidates:
        inputs["candidates"] = list(request.candidates)
    if request.HasField("cost_weight"):
        inputs["cost_weight"] = request.cost_weight
    return inputs


def _report(facts: types_pb2.TurnFacts) -> Any:
    report = {field.name: value for field, value in facts.ListFields() if field.name not in ("usage", "error")}
    report |= {field.name: value for field, value in facts.usage.ListFields()}
    if facts.error:
        report["error"] = _SEVERITIES[facts.error]
    return report


def _decided(decision: sojourn.Decision) -> Fields:
    names = ("turn_index", "attempt", "model", "incumbent", "switched", "reason", "propensity", "decision_id")
    found = {name: getattr(decision, name) for name in (*names, "fallback")}
    return {
        name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in found.items() if value
    } | {"turn_index": str(decision.turn_index), "attempt": str(decision.attempt)}


def _answers() -> Iterator[list[str]]:
    runner = Runner()
    for line in sys.stdin:
        command, *fields = line.rstrip("\n").split("\t")
        given = {key: value for key, _, value in (field.partition("=") for field in fields)}
        try:
            answer = getattr(runner, f"do_{command}")(given)
        except sojourn.RequestRefused as error:
            fields = ",".join(violation.field for violation in error.violations)
            yield ["error", "kind=refused", f"code={error.code}", f"reason={error.reason}", f"fields={fields}"]
        except sojourn.NoFallback:
            yield ["error", "kind=no_fallback"]
        except ValueError:
            yield ["error", "kind=misuse"]
        else:
            yield ["ok", *(f"{key}={value}" for key, value in answer.items())]


if __name__ == "__main__":
    for answer in _answers():
        print("\t".join(answer), flush=True)
