"""The router's messages as tables for people: pure functions from messages to renderables.

Money is in USD, times are UTC; what is unknown or absent is "-" or left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from sojourn.v1 import admin_pb2, journal_pb2, types_pb2
from sojourn_server.cli.output import facts, number, table, usd
from sojourn_server.exchange.turns import DecidedTurn, Ending, decided_turns, ending, given, registries_of, short_name
from sojourn_server.learner.credit import cost_usd
from sojourn_server.policy.registry import Model

_SWITCH = "\N{RIGHTWARDS ARROW}"
_CHOSEN = "\N{BLACK CIRCLE}"


def word(enum: Any, value: int) -> str:
    """An enum value as a plain word, such as "phase changed"; "" for unspecified."""
    return short_name(enum, value).replace("_", " ").lower()


def moment(at_ms: int) -> str:
    """A time in ms since 1970 as UTC; "" for 0."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(" ", "milliseconds") if at_ms else ""


def episode_list(policy: str, found: Sequence[admin_pb2.EpisodeSummary]) -> Table:
    """Episodes, one a row."""
    rows = [(e.episode_id, moment(e.started_at_ms), str(e.position)) for e in found]
    return table(f"Newest episodes of policy {policy}", ("episode", "started", "position"), rows)


def episode_views(found: admin_pb2.GetEpisodeResponse) -> Iterator[Table]:
    """An episode: what it is, its turns, its end. Turns whose cost nobody reported are priced by the registries."""
    records, registries = found.records, registries_of(found)
    turns = list(decided_turns(records, registries))
    first = turns[0].decision.inputs if turns else journal_pb2.DecisionInputs()
    yield facts(
        [
            ("episode", records[0].episode_id),
            ("policy", records[0].policy),
            ("started", moment(records[0].received_at_ms)),
            ("mode", word(types_pb2.Mode, first.mode)),
            ("cohort", word(types_pb2.Cohort, first.cohort)),
        ]
    )
    columns = ("turn", "", "model", "phase", "reason", "error", "propensity", "USD")
    yield table("Turns", columns, [_turn_row(turn) for turn in turns], left=6)
    yield facts(_ending_facts(ending(records), turns, cost_usd(records, registries)))


def _turn_row(turn: DecidedTurn) -> tuple[str, ...]:
    request, answer = turn.decision.request, turn.decision.answer
    error = word(types_pb2.Severity, turn.facts.error) if turn.facts else ""
    code = f" ({turn.facts.error_code})" if turn.facts and turn.facts.error_code else ""
    return (
        f"{request.turn_index}" + (f", attempt {request.attempt}" if request.attempt else ""),
        _SWITCH if turn.switched else "",
        _model(turn),
        answer.phase,
        word(types_pb2.Reason, answer.reason),
        error + code,
        number(answer.propensity) if not turn.imported else "unknown",
        usd(turn.cost_usd),
    )


def _model(turn: DecidedTurn) -> str:
    chosen = turn.decision.answer.model
    if turn.imported:
        return f"{turn.served} (imported)"
    if not turn.served:
        return f"{chosen} (could not serve)"
    return turn.served if turn.served == chosen else f"{turn.served} (chosen: {chosen})"


def _ending_facts(end: Ending | None, turns: Sequence[DecidedTurn], cost: float | None) -> list[tuple[str, str]]:
    errors = sum(turn.facts is not None and turn.facts.error >= types_pb2.SEVERITY_LOW for turn in turns)
    return [
        ("ended", moment(end.at_ms) if end else "not yet"),
        ("status", end.status.lower() if end else ""),
        ("score", number(end.score) if end else ""),
        ("USD", usd(cost)),
        ("switches", str(sum(turn.switched for turn in turns))),
        ("errors", str(errors)),
    ]


def decision_views(record: journal_pb2.JournalRecord) -> Iterator[Table]:
    """One decision: what was asked, what was known, who was ranked how."""
    request, inputs, answer = record.decision.request, record.decision.inputs, record.decision.answer
    surviving, cell = inputs.surviving, inputs.cell
    yield facts(
        [
            ("decision", answer.decision_id),
            ("episode", f"{record.episode_id} (policy {record.policy})"),
            ("turn", f"{request.turn_index}, attempt {request.attempt}"),
            ("received", moment(record.received_at_ms)),
            ("model", answer.model or "none: the turn was imported"),
            ("reason", word(types_pb2.Reason, answer.reason)),
            ("propensity", number(answer.propensity, 6) if answer.model else "unknown"),
            ("switched from", inputs.incumbent if answer.switched else ""),
            ("phase", answer.phase),
            ("tool", " / ".join(filter(None, (request.context.tool_name, inputs.tool_type)))),
            ("prompt", f"{inputs.prompt_tokens:.0f} tokens"),
            ("errors so far", str(inputs.error_count)),
            ("cost weight", f"{inputs.cost_weight:g} score per USD"),
            ("draw", f"{inputs.draw:.6f} in [{surviving.low:.6f}, {surviving.high:.6f})"),
            ("chosen cell", f"[{cell.low:.6f}, {cell.high:.6f})"),
            ("mode, cohort", f"{word(types_pb2.Mode, inputs.mode)}, {word(types_pb2.Cohort, inputs.cohort) or 'none'}"),
            ("policy version", str(answer.policy_version)),
            ("trace", record.decision.trace_id.hex()),
        ]
    )
    columns = ("", "candidate", "excluded because", "score", "USD to go", "switching USD", "utility", "probability")
    yield table("Candidates", columns, [_candidate_row(c, answer.model) for c in answer.ranked], left=3)


def _candidate_row(candidate: types_pb2.RankedCandidate, chosen: str) -> tuple[str, ...]:
    return (
        _CHOSEN if candidate.model == chosen else "",
        candidate.model,
        word(types_pb2.Exclusion, candidate.excluded_because),
        number(given(candidate, "score")),
        usd(given(candidate, "cost_usd")),
        usd(given(candidate, "switching_cost_usd")),
        number(given(candidate, "utility")),
        number(candidate.probability, 6),
    )


def policy_views(found: admin_pb2.GetPolicyResponse) -> Iterator[Table]:
    """A policy: how it stands, its phases, its models."""
    counts = found.statistics
    joins = ", ".join(f"{state.replace('_', ' ')} {n}" for state, n in sorted(counts.joins.items()))
    yield facts(
        [
            ("policy", found.policy),
            ("mode", word(types_pb2.Mode, found.mode)),
            ("live share", f"{found.live_share:g}"),
            ("version", f"{found.policy_version} (the journal is at {found.journal_position})"),
            ("learned", f"{counts.episodes} episodes, {counts.decisions} decisions"),
            ("mean score", number(counts.score.mean) if counts.score.count else ""),
            ("squared error", number(counts.progressive_loss.mean, 4) if counts.progressive_loss.count else ""),
            ("episodes joined", joins),
        ]
    )
    rows = [
        (phase or "(none)", f"{known.decisions:.1f}", number(known.turns.mean, 1))
        for phase, known in sorted(counts.evidence_by_phase.items())
    ]
    yield table("Phases", ("phase", "evidence (decisions)", "turns an episode"), rows)
    yield table("Models", ("model", "share of turns", "output tokens a turn"), _share_rows(found))


def _share_rows(found: admin_pb2.GetPolicyResponse) -> list[tuple[str, ...]]:
    counts = found.statistics
    total = sum(counts.turns_by_model.values())
    tokens = counts.output_tokens_by_model
    return [
        (model, f"{turns / total:.1%}", number(tokens[model].mean, 0) if model in tokens else "-")
        for model, turns in sorted(counts.turns_by_model.items(), key=lambda pair: -pair[1])
    ]


def model_table(found: Sequence[types_pb2.Model]) -> Table:
    """The registry, one model a row; prices in USD per million tokens."""
    columns = ("model", "class", "can", "input", "cached", "written", "output", "cache TTL", "context")
    return table("Models (USD per million tokens)", columns, [_model_row(model) for model in found], left=3)


def _model_row(terms: types_pb2.Model) -> tuple[str, ...]:
    model = Model.of(terms)
    cached = model.has_cache
    return (
        model.name + (" (drained)" if model.drained else ""),
        model.model_class,
        ", ".join(sorted(model.capabilities)),
        usd(terms.input_usd_per_mtok),
        usd(model.cached_read_usd * 1e6) if cached else "-",
        usd(model.cache_write_usd * 1e6) if cached else "-",
        usd(terms.output_usd_per_mtok),
        f"{model.cache_ttl_ms / 1000:g} s" if cached else "-",
        "-" if model.context_length_tokens is None else f"{model.context_length_tokens:,}",
    )
