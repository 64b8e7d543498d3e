"""An answer as a table, as an entry of the results file, and as curves.

The results file holds the newest answer to each question, each with where and how it was made.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.table import Table

from benchmarks.arena.cache import ROOT
from benchmarks.arena.questions import plots
from benchmarks.arena.questions.answers import Answer
from benchmarks.arena.questions.catalogue import QUESTIONS
from benchmarks.arena.report import PLOTS, cell
from benchmarks.latency import where

RESULT = ROOT / "benchmarks" / "results" / "arena-questions.json"
COLUMNS = ("score", "usd", "utility", "switches_per_episode", "switches_per_25_turns", "stay_after_error")


def printed(question: str, found: Mapping[str, Sequence[Answer]]) -> list[Table]:
    """The answers for a terminal, lines in their order: a table per environment, or one where a curve joins all."""
    curve = QUESTIONS[question].curve
    if curve is not None and curve.is_joint:
        rows = [(f"{row.line.label} in {name}", row) for name, answered in found.items() for row in answered]
        return [_table(question, rows)]
    return [_table(name, [(row.line.label, row) for row in answered]) for name, answered in found.items()]


def _table(title: str, rows: Sequence[tuple[str, Answer]]) -> Table:
    table = Table("policy", *(name.replace("_", " ") for name in COLUMNS), "gain", "p", "share of gain", title=title)
    for label, row in rows:
        gain = f"{cell(row.gain)} over {row.line.against}" if row.gain else ""
        p = "" if row.p is None else f"{row.p:.3f}"
        cells = [cell(row.values[name]) for name in COLUMNS]
        table.add_row(label, *cells, gain, p, cell(row.share) if row.share else "")
    return table


def as_json(found: Mapping[str, Sequence[Answer]]) -> dict[str, dict[str, Any]]:
    """environment -> line -> figures."""
    return {environment: {row.line.label: _figures(row) for row in answered} for environment, answered in found.items()}


def _figures(row: Answer) -> dict[str, Any]:
    figures: dict[str, Any] = {name: _rounded(value.mean) for name, value in row.values.items()}
    figures["ci95"] = {name: _rounded(value.half_width) for name, value in row.values.items()}
    figures["worst_seed_utility"] = _rounded(row.worst_seed_utility)
    figures["cost_weight"] = row.line.cost_weight
    if row.line.at is not None:
        figures["at"] = row.line.at
    if row.gain is not None:
        figures["gain"] = {
            "over": row.line.against,
            "utility": _rounded(row.gain.mean),
            "ci95": _rounded(row.gain.half_width),
            "p_holm": _rounded(row.p),
        }
    if row.share is not None and row.line.between is not None:
        figures["share_of_gain"] = {
            "from": row.line.between.low,
            "to": row.line.between.high,
            "mean": _rounded(row.share.mean),
            "ci95": _rounded(row.share.half_width),
        }
    return figures


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def write(question: str, found: Mapping[str, Sequence[Answer]], *, command: str, **played: Any) -> None:
    """Puts the answer into the results file, beside those to other questions, and draws its curves.

    `played` says what was played: episodes, tail, seeds.
    """
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    new = {"asks": QUESTIONS[question].asks, "environments": as_json(found), **played, **where(command)}
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({**earlier, question: new}, indent=1) + "\n")
    curve = QUESTIONS[question].curve
    if curve is not None:
        PLOTS.mkdir(parents=True, exist_ok=True)
        plots.curves(question, curve, found, PLOTS)
