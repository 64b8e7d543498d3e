"""A journal as a flat table, one row per decision, joined with its turn's facts and its episode's outcome.

Facts and outcomes follow their decisions in the journal, so an episode's records are held until it ends and its rows
come out together then; episodes without an end come last. Absent values are None; enum values go by their names
without the prefix ("PHASE_CHANGED"). Nothing here knows Parquet.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, NamedTuple

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.cli.output import as_json
from sojourn_server.exchange.turns import DecidedTurn, Ending, decided_turns, ending, given, short_name


class View(NamedTuple):
    """All that a row is made of; messages that are absent are empty."""

    turn: DecidedTurn
    end: Ending | None
    request: Any
    inputs: Any
    answer: Any
    chosen: types_pb2.RankedCandidate
    facts: types_pb2.TurnFacts


Column = tuple[str, Callable[[View], Any]]
COLUMNS: dict[str, Column] = {
    "position": ("int64", lambda v: v.turn.record.position),
    "received_at_ms": ("int64", lambda v: v.turn.record.received_at_ms),
    "policy": ("string", lambda v: v.turn.record.policy),
    "episode_id": ("string", lambda v: v.turn.record.episode_id),
    "turn_index": ("int32", lambda v: v.request.turn_index),
    "attempt": ("int32", lambda v: v.request.attempt),
    "decision_id": ("string", lambda v: v.answer.decision_id),
    "task_type": ("string", lambda v: v.request.context.task_type),
    "tool_type": ("string", lambda v: v.inputs.tool_type),
    "phase": ("string", lambda v: v.answer.phase),
    "incumbent": ("string", lambda v: v.inputs.incumbent or None),
    "prompt_tokens": ("float64", lambda v: v.inputs.prompt_tokens),
    "error_count": ("int32", lambda v: v.inputs.error_count),
    "cost_weight": ("float64", lambda v: v.inputs.cost_weight),
    "model": ("string", lambda v: v.answer.model or None),  # None: imported, nobody here chose
    "propensity": ("float64", lambda v: v.answer.propensity or None),  # None: imported, unknown
    "reason": ("string", lambda v: short_name(types_pb2.Reason, v.answer.reason) or None),
    "decision_point": ("bool", lambda v: v.answer.decision_point),
    "switched": ("bool", lambda v: v.answer.switched),
    "mode": ("string", lambda v: short_name(types_pb2.Mode, v.inputs.mode) or None),
    "cohort": ("string", lambda v: short_name(types_pb2.Cohort, v.inputs.cohort) or None),
    "cohort_probability": ("float64", lambda v: v.inputs.cohort_probability or None),
    "policy_version": ("int64", lambda v: v.answer.policy_version),
    "predicted_score": ("float64", lambda v: given(v.chosen, "score")),
    "predicted_cost_usd": ("float64", lambda v: given(v.chosen, "cost_usd")),
    "switching_cost_usd": ("float64", lambda v: given(v.chosen, "switching_cost_usd")),
    "utility": ("float64", lambda v: given(v.chosen, "utility")),
    "served_model": ("string", lambda v: v.turn.served or None),  # None: another attempt served
    "error": ("string", lambda v: short_name(types_pb2.Severity, v.facts.error) or None),
    "latency_ms": ("float64", lambda v: given(v.facts, "latency_ms")),
    "input_tokens": ("int64", lambda v: given(v.facts.usage, "input_tokens")),
    "cached_read_tokens": ("int64", lambda v: given(v.facts.usage, "cached_read_tokens")),
    "cache_write_tokens": ("int64", lambda v: given(v.facts.usage, "cache_write_tokens")),
    "output_tokens": ("int64", lambda v: given(v.facts.usage, "output_tokens")),
    "turn_cost_usd": ("float64", lambda v: given(v.facts, "cost_usd")),
    "outcome_status": ("string", lambda v: v.end.status or None if v.end else None),  # None: open
    "outcome_score": ("float64", lambda v: v.end.score if v.end else None),
    "outcome_cost_usd": ("float64", lambda v: v.end.cost_usd if v.end else None),
    "outcome_at_ms": ("int64", lambda v: v.end.at_ms if v.end else None),
    "record_json": ("string", lambda v: record_json(v.turn.record)),
}
"""Columns in order: Arrow type and value. Tokens and USD are as reported; predictions are of the chosen candidate."""


def record_json(record: journal_pb2.JournalRecord) -> str:
    """A record on one line, in protobuf's JSON form with the contract's field names."""
    return json.dumps(as_json(record), ensure_ascii=False, separators=(",", ":"))


def decision_rows(records: Iterable[journal_pb2.JournalRecord]) -> Iterator[dict[str, Any]]:
    """Rows of a journal's records, which must be in journal order."""
    opened: dict[tuple[str, str], list[journal_pb2.JournalRecord]] = {}
    for record in records:
        if not record.episode_id:
            continue
        key = record.policy, record.episode_id
        opened.setdefault(key, []).append(record)
        if ending([record]) is not None:
            yield from _episode_rows(opened.pop(key))
    for left in opened.values():
        yield from _episode_rows(left)


def _episode_rows(records: Sequence[journal_pb2.JournalRecord]) -> Iterator[dict[str, Any]]:
    end = ending(records)
    for turn in decided_turns(records):
        answer, nobody = turn.decision.answer, types_pb2.RankedCandidate()
        view = View(
            turn,
            end,
            request=turn.decision.request,
            inputs=turn.decision.inputs,
            answer=answer,
            chosen=next((c for c in answer.ranked if c.model == answer.model), nobody),
            facts=turn.facts or types_pb2.TurnFacts(),
        )
        yield {name: value(view) for name, (_, value) in COLUMNS.items()}
