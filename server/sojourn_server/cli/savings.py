"""`sojourn savings`: what the learned policy saves against each control cohort, measured, with intervals.

The comparison is made in `sojourn_server.evaluation.savings`; here it becomes a table, a plain sentence, or JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import isfinite
from typing import TYPE_CHECKING

from sojourn_server.cli.output import console, fail, print_json, table
from sojourn_server.cli.source import Json, Place, Policy, open_stored

if TYPE_CHECKING:
    from sojourn_server.evaluation.savings import Comparison, Difference


def savings(*, journal: Place = "sojourn-data", policy: Policy = "default", json: Json = False) -> None:
    """Compare the learned cohort with the control cohorts: score, and USD saved an episode.

    \b
    Examples:
      sojourn savings --journal sojourn-data
      sojourn savings --policy research --json

    By intention to treat: every episode counts for the cohort that it was assigned to. Intervals are 95 % and hold
    however often one looks. Reads only, so it can run beside the router.
    Exit code 0, or 2 if no episode was assigned to a cohort yet.
    """
    from sojourn_server.evaluation.savings import CONTROLS, compare, read_assigned

    with open_stored(journal) as (opened, _):
        episodes = list(read_assigned(opened, policy))
    if not episodes:
        raise fail(f"no episode of policy {policy!r} was assigned to a cohort", next_step="serve it in mode LIVE")
    found = [compare(episodes, control) for control in CONTROLS]
    if json:
        print_json([_as_json(comparison) for comparison in found])
    else:
        _print(found)


def _print(found: Sequence[Comparison]) -> None:
    from sojourn_server.evaluation.savings import sentence

    columns = ("against", "episodes", "without outcome", "without USD", "score", "score bounds", "USD saved an episode")
    rows = [
        (
            c.control,
            f"{c.learned_episodes} : {c.control_episodes}",
            f"{c.learned_missing} : {c.control_missing}",
            f"{c.learned_without_usd} : {c.control_without_usd}",
            _shown(c.score),
            "" if c.score_bounds is None else f"{c.score_bounds[0]:+.3f} .. {c.score_bounds[1]:+.3f}",
            _shown(c.usd, sign=-1.0),
        )
        for c in found
    ]
    out = console()
    title = "learned : control, 95 % at all times; score bounds: if missing outcomes were bad .. good"
    out.print(table(title, columns, rows))
    out.print(*map(sentence, found), sep="\n")


def _shown(difference: Difference | None, *, sign: float = 1.0) -> str:
    if difference is None:
        return ""
    low, high = sorted((sign * difference.low, sign * difference.high))
    return f"{sign * difference.value:+.4f} [{low:+.4f}, {high:+.4f}]"


def _as_json(found: Comparison) -> dict[str, object]:
    from sojourn_server.evaluation.savings import sentence

    differences = {"score": _finite(found.score), "usd": _finite(found.usd)}
    return found._asdict() | differences | {"says": sentence(found)}


def _finite(found: Difference | None) -> dict[str, float | None] | None:
    """JSON has no infinity: an interval that cannot tell has no ends."""
    return None if found is None else {n: v if isfinite(v) else None for n, v in found._asdict().items()}
