"""From played sections to the results file; from that file alone to the page, the plots and the terminal.

Every section says whose data it is, and the file says where, when and by which command it was made. Sojourn's declared
comparisons are corrected together within a section, over its cost weights.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table as Printed

from benchmarks.arena.cache import ROOT
from benchmarks.arena.measures import Interval
from benchmarks.arena.recorded import measures, plots
from benchmarks.arena.recorded.contests import Contest
from benchmarks.arena.recorded.measures import Gain, Row
from benchmarks.arena.report import PLOTS
from benchmarks.latency import where

RESULT = ROOT / "benchmarks" / "results" / "arena-recorded.json"
PAGE = ROOT / "docs" / "arena-recorded.md"
GOAL_REGRET = 0.05  # of the best single model's utility, by the end of one pass

Found = Mapping[str, Any]

_HOW_TO_READ = """\
One choice an episode, at its first turn, among models that have all played the task. A seed is an order of the tasks,
played once; ± is 95 % over seeds, so it tells luck of the order and of draws, not how things would be on other tasks.
Utility is score − cost weight × USD. Regret is the utility lost to the best single model in hindsight by the end of
the pass, as a share of that model's utility (below 0: gained); Sojourn's goal is at most {goal:g} %. `kind-oracle`
knows the best model of each kind of task, `oracle` that of each task: no router can. Better and worse need a p below
.05 after Holm's correction within the section; no worse, a whole interval of the paired difference above −{margin:g}.
`sojourn-warm` is the product's default, taught the heuristic's table; `sojourn-cold` starts untaught, as its rivals do.
ParetoBandit has its published settings for a cold start on these prompts (alpha 0.05, forgetting 0.997), and no priors:
those belong to an encoder that its wheel does not hold. LinUCB and Thompson explore by 0.1. Nothing was tuned on these
orders; `-sharp` and `-light` were chosen on other orders of half of ParetoBandit's prompts, and `-sharp` joined the
sections about features after `sojourn-cold` was seen there."""


def results(contests: Sequence[Contest], *, command: str) -> dict[str, Any]:
    """The results file: section -> cost weight -> policy -> measures, then where and by which command."""
    return {
        "contests": {contest.title: _section(contest, has_curves=contest is contests[0]) for contest in contests},
        "goal_regret_share": GOAL_REGRET,
        "no_worse_margin": measures.MARGIN,
        "seeds": sorted({seed for contest in contests for seed in contest.seeds}),
        **where(command),
    }


def _section(contest: Contest, *, has_curves: bool) -> dict[str, Any]:
    """One section; curves are kept where they are drawn, in the first."""
    table = contest.source.table()
    rows = {
        f"{weight:g}": {policy: measures.row(table, contest.jobs(weight, policy)) for policy in contest.policies}
        for weight in contest.cost_weights
    }
    pairs = {
        f"{hero} - {rival} at {weight}": (policies[hero], policies[rival])
        for weight, policies in rows.items()
        for hero, rival in contest.pairs
    }
    return {
        "says": contest.says,
        "about": table.about,
        "items": len(table.items),
        "half": contest.half,
        "seeds": list(contest.seeds),
        "models": list(table.model_names),
        "cost_weights": {
            weight: {name: _as_json(row, has_curves) for name, row in policies.items()}
            for weight, policies in rows.items()
        },
        "comparisons": {name: _gain(gain) for name, gain in measures.gains(pairs).items()},
    }


def _as_json(row: Row, has_curve: bool) -> dict[str, Any]:
    return {
        "score": _pair(row.score),
        "usd": None if row.usd is None else _pair(row.usd, 7),
        "utility": _pair(row.utility),
        "last_half_utility": _pair(row.last_half_utility),
        "regret_share": _pair(row.regret_share),
        "worst_seed_utility": round(min(row.utility_by_seed), 5),
        "utility_by_seed": [round(value, 5) for value in row.utility_by_seed],
        "shares": row.shares,
        **({"regret_curve": [round(value, 3) for value in row.curve]} if has_curve else {}),
    }


def _pair(value: Interval, digits: int = 5) -> list[float | None]:
    """[mean, half width of the 95 % interval over seeds]."""
    return [round(value.mean, digits), None if value.half_width is None else round(value.half_width, digits)]


def _gain(gain: Gain) -> dict[str, Any]:
    p = None if gain.p_holm is None else round(gain.p_holm, 5)
    return {"utility_gain": _pair(Interval(gain.mean, gain.half_width)), "p_holm": p, "verdict": gain.verdict}


def write(found: Found) -> None:
    """Writes the results file, the plots and the page."""
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(found, indent=1) + "\n")
    PLOTS.mkdir(parents=True, exist_ok=True)
    title, section = next(iter(found["contests"].items()))
    plots.gain_by_cost_weight(section, PLOTS / "recorded-cost-weights.svg", title=title)
    plots.regret(section, PLOTS / "recorded-regret.svg", title=title)
    PAGE.write_text(page(found))


def page(found: Found) -> str:
    """The page, generated from the results alone."""
    lines = [
        "# The arena: recorded outcomes of real LLMs",
        "",
        "Generated by `python -m benchmarks.arena.recorded`; do not edit. "
        f"Commit {found['commit']}, {found['date']}, {found['machine']}, `{found['command']}`.",
        "",
        _HOW_TO_READ.format(margin=found["no_worse_margin"], goal=100 * found["goal_regret_share"]),
        "",
        "![utility by cost weight](plots/recorded-cost-weights.svg)",
        "",
        "![cumulative regret](plots/recorded-regret.svg)",
    ]
    for title, section in found["contests"].items():
        lines += ["", *_section_page(title, section, found["goal_regret_share"])]
    return "\n".join(lines) + "\n"


def _section_page(title: str, section: Found, goal: float) -> list[str]:
    played = f"{section['items']} tasks" + (", of which half are played" if section["half"] else "")
    lines = [
        f"## {title}",
        "",
        f"{section['about']}",
        "",
        f"{section['says']} {played}; {len(section['seeds'])} orders.",
    ]
    for weight, policies in section["cost_weights"].items():
        lines += ["", f"### {title}, at {weight} score per USD", ""]
        lines += ["| policy | score | USD | utility | utility of the last half | regret, % | |"]
        lines += ["| --- | --- | --- | --- | --- | --- | --- |"]
        ordered = sorted(policies.items(), key=lambda item: -item[1]["utility"][0])
        lines += [f"| {name} | {' | '.join(_cells(row))} | {_goal(name, row, goal)} |" for name, row in ordered]
    lines += ["", "| comparison (at cost weight) | gain in utility | p (Holm) | |", "| --- | --- | --- | --- |"]
    return lines + [f"| {name} | {' | '.join(_gain_cells(gain))} |" for name, gain in section["comparisons"].items()]


def _cells(row: Found) -> list[str]:
    usd = "unknown" if row["usd"] is None else f"{row['usd'][0]:.3g}"
    regret = [None if value is None else 100.0 * value for value in row["regret_share"]]
    return [cell(row["score"]), usd, cell(row["utility"]), cell(row["last_half_utility"]), cell(regret, 1)]


def _goal(name: str, row: Found, goal: float) -> str:
    """Whether Sojourn's regret is within the goal; nothing for others."""
    if not name.startswith("sojourn"):
        return ""
    mean, width = row["regret_share"][0], row["regret_share"][1] or 0.0
    if mean + width <= goal:
        return "within the goal"
    return "beyond the goal" if mean - width > goal else "goal open"


def _gain_cells(gain: Found) -> list[str]:
    mean, width = gain["utility_gain"]
    p = "" if gain["p_holm"] is None else f"{gain['p_holm']:.4f}"
    return [f"{mean:+.4f}" + ("" if width is None else f" ± {width:.4f}"), p, gain["verdict"]]


def cell(value: Sequence[float | None], digits: int = 4) -> str:
    """[mean, half width] for a table; a half width of 0 is not shown."""
    mean, width = value
    return f"{mean:.{digits}f}" + (f" ± {width:.{digits}f}" if width else "")


def show(found: Found, title: str, console: Console) -> None:
    """Prints a section, best policies first."""
    section = found["contests"][title]
    for weight, policies in section["cost_weights"].items():
        printed = Printed(
            "policy", "score", "USD", "utility", "last half", "regret, %", "", title=f"{title}, {weight}/USD"
        )
        for name, row in sorted(policies.items(), key=lambda item: -item[1]["utility"][0]):
            printed.add_row(name, *_cells(row), _goal(name, row, found["goal_regret_share"]))
        console.print(printed)
    for name, gain in section["comparisons"].items():
        console.print(f"{name}: {', '.join(filter(None, _gain_cells(gain)))}")
