"""From played jobs to the results file, the plots and the pages; all of them say where and how they were made.

An environment that is played takes the place of its earlier figures; those of other environments stay.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from rich.table import Table

from benchmarks.arena import measures, plots
from benchmarks.arena.cache import ROOT
from benchmarks.arena.contestants import training_usd
from benchmarks.arena.environments import Environment, by_name
from benchmarks.arena.goals import COLD, HERO, goals
from benchmarks.arena.measures import Interval, Row
from benchmarks.arena.run import Job, load
from benchmarks.arena.tables import COST_WEIGHT
from benchmarks.latency import where

RESULT = ROOT / "benchmarks" / "results" / "arena.json"
INDEX = ROOT / "docs" / "arena.md"
PAGES = ROOT / "docs" / "arena"
PLOTS = ROOT / "docs" / "plots"
PRIMARY = ("heuristic", "per-turn", "router-r1-like", "mtrouter-like", "transplanted")
"""The declared primary comparisons of HERO, corrected together within an environment."""

Rows = Mapping[str, Mapping[str, Row]]


def rows(jobs: Sequence[Job], *, tail: int) -> dict[str, dict[str, Row]]:
    """One row per environment and policy, of jobs that were played."""
    grouped: dict[str, dict[str, list[Job]]] = {}
    for job in jobs:
        grouped.setdefault(job.environment, {}).setdefault(job.policy, []).append(job)
    return {
        environment: {
            policy: measures.row([load(job) for job in same], tail=tail, cost_weight=COST_WEIGHT)
            for policy, same in policies.items()
        }
        for environment, policies in grouped.items()
    }


def results(table: Rows, *, episodes: int, tail: int, command: str) -> dict[str, Any]:
    """The results file: environment -> policy -> measures, then what was played, where and by which command."""
    here = where(command)
    return {
        **{
            environment: {policy: _as_json(row, policies.get(HERO)) for policy, row in policies.items()}
            for environment, policies in table.items()
        },
        "comparisons": {environment: comparisons(policies) for environment, policies in table.items()},
        "training_usd": {
            environment: round(training_usd(by_name(environment)), 2)
            for environment, policies in table.items()
            if "mtrouter-like" in policies
        },
        "played": {
            environment: {"episodes": episodes, "tail": tail, "seeds": _seeds(policies), **here}
            for environment, policies in table.items()
        },
        "cost_weight": COST_WEIGHT,
        "seeds": sorted({seed for policies in table.values() for seed in _seeds(policies)}),
        **here,
    }


def _seeds(policies: Mapping[str, Row]) -> list[int]:
    return sorted({seed for row in policies.values() for seed in row.seeds})


def _as_json(row: Row, hero: Row | None) -> dict[str, Any]:
    values = {name: round(value.mean, 4) for name, value in row.values.items()}
    widths = {name: _rounded(value.half_width) for name, value in row.values.items()}
    found = {
        **values,
        "cumulative_utility": round(row.cumulative_utility.mean, 4),
        "worst_seed_utility": round(min(row.utility_by_seed), 4),
        "utility_by_seed": [round(u, 4) for u in row.utility_by_seed],
        "first_250_utility": round(fmean(row.first_utility_by_seed), 4),
        "learning_curve": [round(u, 4) for u in row.learning_curve],
        "decisions_per_second": round(row.decisions_per_second),
        "lift": row.lift,
        "ci95": {**widths, "cumulative_utility": _rounded(row.cumulative_utility.half_width)},
    }
    if hero is not None and hero.seeds == row.seeds and hero is not row:
        gain = measures.interval(measures.differences(hero, row))
        found["sojourn_minus_this"] = {"utility": round(gain.mean, 4), "ci95": _rounded(gain.half_width)}
    return found


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(value, 4)


def comparisons(policies: Mapping[str, Row]) -> dict[str, dict[str, Any]]:
    """HERO against each primary rival that played the same seeds: paired gain in utility, and Holm's p."""
    hero = policies.get(HERO)
    if hero is None or len(hero.seeds) < 2:
        return {}
    rivals = [name for name in PRIMARY if name in policies and policies[name].seeds == hero.seeds]
    gains = {name: measures.differences(hero, policies[name]) for name in rivals}
    adjusted = measures.holm({name: measures.p_value(gain) for name, gain in gains.items()})
    return {
        name: {
            "utility_gain": round(measures.interval(gain).mean, 4),
            "ci95": _rounded(measures.interval(gain).half_width),
            "p_holm": round(adjusted[name], 5),
        }
        for name, gain in gains.items()
    }


def write(found: Mapping[str, Any], table: Rows) -> None:
    """Writes the results file, the pages and the plots."""
    earlier = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    merged = joined(earlier, found)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(merged, indent=1) + "\n")
    for folder in (PLOTS, PAGES):
        folder.mkdir(parents=True, exist_ok=True)
    for environment, policies in table.items():
        episodes = found["played"][environment]["episodes"]
        plots.learning_curves(policies, PLOTS / f"{environment}-learning.svg", episodes=episodes)
        plots.money_against_score(policies, PLOTS / f"{environment}-money.svg")
        (PAGES / f"{environment}.md").write_text(page(by_name(environment), policies, found))
    INDEX.write_text(index(merged))


def joined(earlier: Mapping[str, Any], newer: Mapping[str, Any]) -> dict[str, Any]:
    """The earlier results with the newer ones in place of theirs, environment by environment."""
    by_environment = ("comparisons", "training_usd", "played")
    return {**earlier, **newer} | {key: {**earlier.get(key, {}), **newer[key]} for key in by_environment}


WHOSE = (
    "Third-party: the worlds and their experts. Ours: the scripted models (their skills by hidden phase, their "
    "replies), the growth of prompts, the share that a cache keeps. Price tags are list prices of real models; nothing "
    "here says anything about those models."
)


def index(found: Mapping[str, Any]) -> str:
    """The front page: the rows that matter most, of every environment that was played."""
    lines = [
        "# The arena",
        "",
        f"Generated by `python -m benchmarks.arena`; do not edit. {WHOSE}",
        "",
        "Utility is score − cost weight × USD on held-out seeds, ± is 95 % over seeds; each environment has its own "
        "page with all rows, the goals and the plots. What follows from it is in [findings.md](findings.md).",
        "",
        "| environment | episodes × seeds | Sojourn warm | cold | heuristic | strongest model | best visible table |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, played in found["played"].items():
        cells = [_utility(found[name].get(policy)) for policy in (HERO, COLD, "heuristic")]
        strongest = max(
            (n for n in found[name] if n.startswith("never-switch:")), key=_score_in(found[name]), default=""
        )
        cells += [_utility(found[name].get(policy)) for policy in (strongest, "hand-table")]
        size = f"{played['episodes']} × {len(played['seeds'])}"
        lines.append(f"| [{name}](arena/{name}.md) | {size} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _score_in(policies: Mapping[str, Any]) -> Callable[[str], float]:
    return lambda name: float(policies[name]["score"])


def _utility(row: Mapping[str, Any] | None) -> str:
    return "" if row is None else cell(Interval(row["utility"], row["ci95"]["utility"]))


def page(environment: Environment, policies: Mapping[str, Row], found: Mapping[str, Any]) -> str:
    """An environment's page."""
    played = found["played"][environment.name]
    lines = [
        f"# The arena: {environment.name}",
        "",
        f"{environment.world}; {environment.prompts} prompts. Generated by `python -m benchmarks.arena`; do not edit. "
        f"{played['episodes']} episodes per seed, seeds {_span(played['seeds'])} (held out: nothing was chosen on "
        f"them), rows are the last {played['tail']} episodes, ± is 95 % over seeds, utility is score − "
        f"{COST_WEIGHT:g} × USD. Commit {played['commit']}, {played['date']}, {played['machine']}, "
        f"`{played['command']}`.",
        "",
        WHOSE,
        "",
        *_section(environment, policies, found),
    ]
    return "\n".join(lines) + "\n"


def _span(seeds: Sequence[int]) -> str:
    return f"{seeds[0]}–{seeds[-1]}" if len(seeds) > 1 else str(seeds[0])


_COLUMNS = ("score", "usd", "utility", "switches_per_episode", "stay_after_error", "forfeited_usd")


def _section(environment: Environment, policies: Mapping[str, Row], found: Mapping[str, Any]) -> list[str]:
    ordered = sorted(policies.values(), key=lambda row: -row.values["utility"].mean)
    lines = [
        "| policy | seeds | score | USD | utility | switches | stays after error | USD forfeited | cumulative |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for row in ordered:
        cells = [cell(row.values[column]) for column in _COLUMNS]
        lines.append(f"| {row.policy} | {len(row.seeds)} | {' | '.join(cells)} | {cell(row.cumulative_utility)} |")
    compared = found["comparisons"][environment.name]
    found_goals = goals(environment, policies, training_usd=found["training_usd"].get(environment.name))
    if compared:
        lines += ["", f"`{HERO}` against its declared rivals, paired by seed:", ""]
        lines += ["| rival | gain in utility | p (Holm) |", "| --- | --- | --- |"]
        lines += [
            f"| {rival} | {gain['utility_gain']:+.3f} ± {gain['ci95']:.3f} | {gain['p_holm']:.4f} |"
            for rival, gain in compared.items()
        ]
    lines += ["", "| goal | asked | seen | reached |", "| --- | --- | --- | --- |"]
    lines += [f"| {g.name} | {g.asked} | {g.seen} | {'yes' if g.is_reached else 'no'} |" for g in found_goals]
    if environment.name in found["training_usd"]:
        lines += ["", f"Training the MTRouter-like estimator cost ${found['training_usd'][environment.name]:.2f} here."]
    for what in ("learning", "money"):
        lines += ["", f"![{what}](../plots/{environment.name}-{what}.svg)"]
    return lines


def cell(value: Interval) -> str:
    """Mean and half width, for a table."""
    return f"{value.mean:.3f}" + ("" if value.half_width is None else f" ± {value.half_width:.3f}")


def relative(path: Path) -> str:
    """A path for people."""
    return str(path.relative_to(ROOT))


def printed(environment: str, policies: Mapping[str, Row]) -> Table:
    """The rows as a table for a terminal, best first."""
    printed = Table(
        "policy", "score", "USD", "utility", "switches", "stays after error", "cumulative", title=environment
    )
    for row in sorted(policies.values(), key=lambda row: -row.values["utility"].mean):
        columns = ("score", "usd", "utility", "switches_per_episode", "stay_after_error")
        cells = [cell(row.values[column]) for column in columns]
        printed.add_row(row.policy, *cells, cell(row.cumulative_utility))
    return printed
