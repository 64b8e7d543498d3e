"""What each figure says, in a sentence that a reader may act on, or why the data cannot tell yet.

A sentence claims a difference only where its interval excludes 0. Pure functions from figures to texts.
"""

from __future__ import annotations

from sojourn_server.reports.figures import LEAST, Curve, Drift, Forfeited, Interval, Shares, Staying, Switching

UNTOLD = "cannot tell yet"
_MOST_LIFTS = 3


def usd(value: float) -> str:
    """Money to four significant digits."""
    return f"{value:.4g} USD"


def percent(value: float) -> str:
    """A share as a percentage."""
    return f"{100.0 * value:.0f} %"


def score(value: float) -> str:
    """A score, or a number like it, to two decimals."""
    return f"{value:.2f}"


def between(interval: Interval | None, *, signed: bool = False, digits: int = 2, scale: float = 1.0) -> str:
    """An interval as "0.61 to 0.75"; "unknown" where it is infinite or there is none."""
    if interval is None or not interval.tells:
        return "unknown"
    sign = "+" if signed else ""
    return f"{scale * interval.low:{sign}.{digits}f} to {scale * interval.high:{sign}.{digits}f}"


def learning(curve: Curve) -> str:
    """Whether the score rises."""
    first, last, change = curve.first, curve.last, curve.change
    if first is None or last is None or change is None or not change.tells:
        return f"The data {UNTOLD} whether the score moves: that takes {3 * LEAST} scored episodes of the policy."
    moved = f"{score(first.value)} in the first third, {score(last.value)} in the last"
    by = f"a change of {between(change, signed=True)}"
    if not change.excludes(0.0):
        return f"The data {UNTOLD} whether the score moves: {moved}, {by}."
    if change.value > 0.0:
        return f"The score rises: {moved}, {by}."
    return f"The score falls: {moved}, {by}. See whether the work or the models changed (Drift, below)."


def switches(found: Switching) -> str:
    """How often the policy switches."""
    if found.own is None:
        return "No episode of the policy has ended yet."
    if not found.own.tells:
        return f"The data {UNTOLD} how often the policy switches: {found.own.episodes} episodes, {LEAST} are needed."
    said = f"The policy switches {found.own.value:.1f} times an episode ({between(found.own, digits=1)})"
    if found.controls is None:
        return f"{said}."
    return f"{said}; the control cohorts {found.controls.value:.1f} times."


def stays(found: Staying) -> str:
    """Whether errors drive the policy away."""
    after, otherwise, change = found.after_error, found.otherwise, found.change
    if after is None or otherwise is None or change is None:
        return "No turn of the policy followed an error yet."
    if not change.tells:
        return f"The data {UNTOLD} whether errors drive it away: {after.episodes} episodes had one, {LEAST} are needed."
    rates = f"it stays after {percent(after.value)} of errors, and after {percent(otherwise.value)} of other turns"
    if not change.excludes(0.0):
        return f"Nothing shows that errors drive it away: {rates}."
    if change.value > 0.0:
        return f"Errors do not drive it away: {rates}."
    return f"It leaves more often after an error: {rates}. Work often changes there: sojourn explain EPISODE shows it."


def specialists(found: Shares) -> str:
    """Which work goes to which model more than by its share of everything."""
    told = [
        (found.lift[tool][model], tool, model)
        for tool, row in found.share.items()
        for model, share in row.items()
        if share.tells and share.low > found.overall[model]
    ]
    if not found.share:
        return "No episode of the policy has ended yet."
    if not told:
        return f"The data {UNTOLD} whether different work goes to different models."
    parts = [
        f"{tool or 'work of no tool type'} goes to {model} {lift:.1f} times as often as all work does"
        for lift, tool, model in sorted(told, reverse=True)[:_MOST_LIFTS]
    ]
    return f"Models specialise: {'; '.join(parts)}."


def forfeits(found: Forfeited) -> str:
    """What switches threw away."""
    if not found.switches:
        return "The policy never switched, so no prompt cache was left behind."
    if found.unpriced == found.switches:
        return f"The data {UNTOLD} what {found.switches} switches threw away: no prediction was made at any of them."
    share = found.share
    of_all = f", {100.0 * share.value:.1f} % of what the episodes cost" if share else ""
    within = f" ({between(share, digits=1, scale=100.0)} %)" if share and share.tells else ""
    said = f"{found.switches:,} switches threw away {usd(found.usd)} of prompt cache{of_all}{within}."
    left_out = f" {found.unpriced} of them have no known price and count as 0." if found.unpriced else ""
    return f"{said} Each choice weighed that money before it left.{left_out}"


def drifts(found: Drift) -> str:
    """What is different now."""
    if found.score is None or not found.score.tells:
        return f"The data {UNTOLD} whether anything drifts: that takes {2 * LEAST} scored episodes of the policy."
    moved = [
        f"{model} serves {percent(now)} of turns, before {percent(before)}"
        for model, (before, now, change) in found.models.items()
        if change.excludes(0.0)
    ]
    if found.score.excludes(0.0):
        moved.insert(0, f"the score changed by {found.score.value:+.2f} ({between(found.score, signed=True)})")
    if found.usd is not None and found.usd.excludes(0.0):
        moved.insert(0, f"an episode costs {found.usd.value:+.4f} USD ({between(found.usd, signed=True, digits=4)})")
    what = f"The newest {found.episodes} episodes against the {found.episodes} before"
    if not moved:
        return f"{what}: nothing moved beyond chance."
    return f"{what}: {'; '.join(moved)}. Learning moves these too; a fall of the score is what to look into."
