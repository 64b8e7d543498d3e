"""Checks on requests: everything bounded, every number finite, every mistake named with its field.

Names are checked for length and control characters only; other odd characters are legal, since no name reaches the
learner unhashed. All mistakes of a request are collected and raised at once as InvalidField.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from math import isfinite
from sys import float_info

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.config import MAX_COST_WEIGHT, MAX_USD
from sojourn_server.errors import FieldViolation, InvalidField

MAX_NAME_BYTES = 128
MAX_ENTRIES = 64
MAX_TOKENS = 100_000_000
MAX_ATTEMPT = 63
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_DECISION_ID = re.compile(r"[0-9a-f]{44}\Z")
_SURELY_SHORT = MAX_NAME_BYTES // 4


@lru_cache(maxsize=4_096)
def _name_mistakes(value: str) -> tuple[str, ...]:
    """What is wrong with a name; cached, because callers send the same names turn after turn."""
    mistakes = []
    if len(value) > _SURELY_SHORT and len(value.encode("utf-8", "surrogatepass")) > MAX_NAME_BYTES:
        mistakes.append(f"must have at most {MAX_NAME_BYTES} bytes")
    if _CONTROL.search(value):
        mistakes.append("must have no control characters (newline, tab, NUL ...)")
    return tuple(mistakes)


@lru_cache(maxsize=1024)
def _all_are_names(values: tuple[str, ...]) -> bool:
    return all(value and not _name_mistakes(value) for value in values)


class Mistakes:
    """Collects violations; `settle` raises them all."""

    def __init__(self) -> None:
        self._found: list[FieldViolation] = []

    def add(self, field: str, expected: str) -> None:
        """Notes one."""
        self._found.append(FieldViolation(field, expected))

    def settle(self) -> None:
        """Raises InvalidField if there is any."""
        if self._found:
            raise InvalidField(self._found)

    def name(self, field: str, value: str, *, required: bool = False) -> None:
        """A name of at most 128 bytes without control characters."""
        if value:
            for expected in _name_mistakes(value):
                self.add(field, expected)
        elif required:
            self.add(field, "is required")

    def names(self, field: str, values: Sequence[str]) -> None:
        """At most 64 names."""
        self.count(field, len(values))
        for i, value in enumerate(values[:MAX_ENTRIES]):
            self.name(f"{field}[{i}]", value, required=True)

    def count(self, field: str, count: int) -> None:
        """At most 64 entries."""
        if count > MAX_ENTRIES:
            self.add(field, f"must have at most {MAX_ENTRIES} entries, has {count}")

    def numbers(self, field: str, numbers: Mapping[str, float]) -> None:
        """At most 64 finite numbers under proper names."""
        self.count(field, len(numbers))
        names = sorted(numbers)
        if _all_are_names(tuple(names)) and isfinite(sum(map(numbers.__getitem__, names))):
            return  # no number in a finite sum is infinite or NaN; the sum of finite ones may be, so look closer
        for name in names:
            if not isfinite(numbers[name]):
                self.add(f"{field}[{name[:MAX_NAME_BYTES]!r}]", f"must be a finite number, is {numbers[name]}")
            if not name or _name_mistakes(name):
                self.name(f"{field} key {name[:16]!r}", name, required=True)

    def at_least_zero(self, field: str, value: float, *, most: float | None = None) -> None:
        """A finite number >= 0, at most `most`."""
        if not isfinite(value) or value < 0 or (most is not None and value > most):
            upper = "" if most is None else f" and at most {most:g}"
            self.add(field, f"must be a finite number, at least 0{upper}, is {value}")

    def optional(self, message: object, prefix: str, bounds: Iterable[tuple[str, float | None]]) -> None:
        """Checks optional numeric fields, of which an absent one reads 0; `bounds` pairs names with upper bounds."""
        for field, most in bounds:
            value = getattr(message, field)
            if not 0 <= value <= (most or float_info.max):
                self.at_least_zero(f"{prefix}{field}", value, most=most)


def check_decide(request: router_pb2.DecideRequest) -> None:
    """Raises InvalidField naming every malformed field of a DecideRequest."""
    mistakes = Mistakes()
    _episode(mistakes, request.policy, request.episode_id)
    if request.turn_index < 0:
        mistakes.add("turn_index", f"must be at least 0, is {request.turn_index}")
    if not 0 <= request.attempt <= MAX_ATTEMPT:
        mistakes.add("attempt", f"must lie between 0 and {MAX_ATTEMPT}, is {request.attempt}")
    if request.HasField("context"):
        _context(mistakes, request.context)
    if request.candidates:
        _candidates(mistakes, request.candidates)
    if request.HasField("constraints"):
        _constraints(mistakes, request.constraints)
    if request.HasField("cost_weight"):
        mistakes.at_least_zero("cost_weight", request.cost_weight, most=MAX_COST_WEIGHT)
    if request.HasField("previous_turn"):
        _facts(mistakes, "previous_turn", request.previous_turn)
        if request.turn_index == 0:
            mistakes.add("previous_turn", "must be absent at turn 0: no turn came before")
    mistakes.name("assignment_key", request.assignment_key)
    mistakes.settle()


def _episode(mistakes: Mistakes, policy: str, episode_id: str) -> None:
    mistakes.name("policy", policy)
    mistakes.name("episode_id", episode_id, required=True)


def _context(mistakes: Mistakes, context: types_pb2.Context) -> None:
    mistakes.name("context.tool_name", context.tool_name)
    mistakes.name("context.tool_type", context.tool_type)
    mistakes.name("context.phase", context.phase)
    mistakes.name("context.task_type", context.task_type)
    mistakes.name("context.language", context.language)
    tokens = (("prompt_tokens", MAX_TOKENS), ("expected_output_tokens", MAX_TOKENS), ("error_count", None))
    mistakes.optional(context, "context.", tokens)
    check_enum(mistakes, "context.last_error", context.last_error, types_pb2.Severity)
    mistakes.numbers("context.features", context.features)
    if context.categories:
        mistakes.count("context.features and context.categories", len(context.features) + len(context.categories))
        for name, value in context.categories.items():
            mistakes.name(f"context.categories key {name[:16]!r}", name, required=True)
            mistakes.name(f"context.categories[{name[:MAX_NAME_BYTES]!r}]", value)


def check_enum(mistakes: Mistakes, field: str, value: int, enum: object) -> None:
    """A value that this release of the enum has; 0 = not given."""
    if value and value not in enum.values():  # type: ignore[attr-defined]  # any generated enum
        mistakes.add(field, f"is {value}, which this release does not know")


def _candidates(mistakes: Mistakes, candidates: Sequence[types_pb2.Candidate]) -> None:
    mistakes.count("candidates", len(candidates))
    seen: set[str] = set()
    for i, candidate in enumerate(candidates[:MAX_ENTRIES]):
        field = f"candidates[{i}]"
        mistakes.name(f"{field}.model", candidate.model, required=True)
        if candidate.model in seen:
            mistakes.add(f"{field}.model", f"{candidate.model[:MAX_NAME_BYTES]!r} stands twice")
        seen.add(candidate.model)
        if candidate.HasField("terms"):
            check_terms(mistakes, f"{field}.terms", candidate.terms)
            if candidate.terms.name != candidate.model:
                mistakes.add(f"{field}.terms.name", f"must equal candidates[{i}].model")
        mistakes.numbers(f"{field}.features", candidate.features)


def check_terms(mistakes: Mistakes, field: str, model: types_pb2.Model) -> None:
    """A model's terms: name, class, prices, cache, skills."""
    mistakes.name(f"{field}.name", model.name, required=True)
    mistakes.name(f"{field}.model_class", model.model_class)
    mistakes.at_least_zero(f"{field}.input_usd_per_mtok", model.input_usd_per_mtok, most=MAX_USD)
    mistakes.at_least_zero(f"{field}.output_usd_per_mtok", model.output_usd_per_mtok, most=MAX_USD)
    mistakes.optional(
        model.cache, f"{field}.cache.", (("read_multiplier", 1.0), ("write_multiplier", 10.0), ("ttl_ms", None))
    )
    mistakes.optional(model, f"{field}.", (("context_length_tokens", None),))
    mistakes.names(f"{field}.capabilities", model.capabilities)
    mistakes.numbers(f"{field}.skills", model.skills)


def _constraints(mistakes: Mistakes, constraints: types_pb2.Constraints) -> None:
    mistakes.names("constraints.allow", constraints.allow)
    mistakes.names("constraints.deny", constraints.deny)
    mistakes.names("constraints.required_capabilities", constraints.required_capabilities)
    mistakes.name("constraints.must_stay_because", constraints.must_stay_because)
    mistakes.optional(constraints, "constraints.", (("remaining_budget_usd", None),))


def _facts(mistakes: Mistakes, field: str, facts: types_pb2.TurnFacts) -> None:
    mistakes.name(f"{field}.served_model", facts.served_model)
    mistakes.name(f"{field}.error_code", facts.error_code)
    check_enum(mistakes, f"{field}.error", facts.error, types_pb2.Severity)
    mistakes.optional(facts, f"{field}.", (("cost_usd", MAX_USD), ("latency_ms", None)))
    if facts.HasField("usage"):
        kinds = ("input_tokens", "cached_read_tokens", "cache_write_tokens", "output_tokens")
        mistakes.optional(facts.usage, f"{field}.usage.", [(kind, MAX_TOKENS) for kind in kinds])


def check_report_turn(request: router_pb2.ReportTurnRequest) -> None:
    """Raises InvalidField naming every malformed field of a ReportTurnRequest."""
    mistakes = Mistakes()
    if request.decision_id:
        if not _DECISION_ID.match(request.decision_id):
            mistakes.add("decision_id", "must be 44 hexadecimal digits, as Decide answered")
    else:
        _episode(mistakes, request.policy, request.episode_id)
        if not request.HasField("turn_index") or request.turn_index < 0:
            mistakes.add("turn_index", "is required without decision_id, and at least 0")
    if not request.HasField("facts"):
        mistakes.add("facts", "is required")
    _facts(mistakes, "facts", request.facts)
    mistakes.settle()


def check_report_outcome(request: router_pb2.ReportOutcomeRequest) -> None:
    """Raises InvalidField naming every malformed field of a ReportOutcomeRequest."""
    mistakes = Mistakes()
    _episode(mistakes, request.policy, request.episode_id)
    if request.HasField("score"):
        mistakes.at_least_zero("score", request.score, most=1.0)
    elif not request.status:
        mistakes.add("status", "is required unless a score is given")
    check_enum(mistakes, "status", request.status, types_pb2.OutcomeStatus)
    mistakes.optional(request, "", (("cost_usd", MAX_USD),))
    mistakes.numbers("metrics", request.metrics)
    if request.HasField("last_turn"):
        _facts(mistakes, "last_turn", request.last_turn)
    mistakes.settle()
