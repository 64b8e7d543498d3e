"""What Sojourn set out to reach, each goal beside what was seen: computed from the rows, so no page can flatter.

Gains are paired by seed; an interval is 95 % over seeds. A goal whose rivals were not played is left out.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil
from statistics import fmean
from typing import NamedTuple

from benchmarks.arena.environments import Environment
from benchmarks.arena.measures import FIRST, Interval, Row, differences, interval

Rows = Mapping[str, Row]
HERO, COLD, FREE = "sojourn-warm", "sojourn-cold", "sojourn-free"
SETTLED = 300  # episodes after which the warm start should have paid
LEARNERS = ("per-turn", "router-r1-like")
LEAST_GAIN = {"small": 0.02, "large": 0.08}  # over each of LEARNERS, by length of prompts


class Goal(NamedTuple):
    """What was asked, what was seen, and whether that is reached."""

    name: str
    asked: str
    seen: str
    is_reached: bool


def is_compared(policy: str, environment: Environment) -> bool:
    """Whether a goal names this row."""
    strongest = f"never-switch:{environment.strongest}"
    rivals = ("heuristic", "hand-table", "phase-oracle", "mtrouter-like", "transplanted", *LEARNERS, strongest)
    return policy in (HERO, COLD, *rivals)


def goals(environment: Environment, rows: Rows, *, training_usd: float | None) -> list[Goal]:
    """All goals whose rows were played on the same seeds as Sojourn's."""
    hero = rows.get(HERO)
    if hero is None:
        return []
    same = {name: row for name, row in rows.items() if row.seeds == hero.seeds}
    return [
        *_money(hero, same.get(f"never-switch:{environment.strongest}")),
        *_heuristic(hero, same),
        *(goal for name in LEARNERS if name in same for goal in _learner(hero, same[name], environment.prompts)),
        *_warm_start(hero, same),
        *_staying(rows.get(FREE)),
        *_estimator(hero, same.get("mtrouter-like"), training_usd),
    ]


def _money(hero: Row, strongest: Row | None) -> Iterator[Goal]:
    if strongest is None:
        return
    score, wanted = hero.values["score"], strongest.values["score"]
    ratio = hero.values["usd"].mean / strongest.values["usd"].mean
    is_as_good = score.mean >= wanted.mean - (wanted.half_width or 0.0)
    seen = f"score {score.mean:.3f} against {wanted.mean:.3f}, {ratio:.2f} × its USD"
    yield Goal("money", "strongest model's score for ≤ .30 × its USD", seen, is_as_good and ratio <= 0.30)


def _heuristic(hero: Row, rows: Rows) -> Iterator[Goal]:
    heuristic, table, oracle = (rows.get(name) for name in ("heuristic", "hand-table", "phase-oracle"))
    if heuristic is None:
        return
    gains = differences(hero, heuristic)
    above = sum(gain > 0 for gain in gains)
    yield Goal("above the heuristic", "≥ +.10", _signed(gains), fmean(gains) >= 0.10)
    yield Goal("every seed above it", "all", f"{above} of {len(gains)}, worst {min(gains):+.3f}", above == len(gains))
    if table is not None:
        behind = differences(hero, table)
        yield Goal("near the best visible table", "≥ −.05", _signed(behind), fmean(behind) >= -0.05)
    if oracle is not None:
        closed = fmean(gains) / fmean(differences(oracle, heuristic))
        yield Goal("gap from heuristic to phase oracle closed", "≥ .50", f"{closed:.2f}", closed >= 0.5)


def _learner(hero: Row, rival: Row, prompts: str) -> Iterator[Goal]:
    name, gains = rival.policy, differences(hero, rival)
    least = LEAST_GAIN.get(prompts, 0.0)
    yield Goal(f"above {name}", f"≥ +{least:.2f}", _signed(gains), fmean(gains) >= least)
    switches = _ratio(hero, rival, "switches_per_episode")
    yield Goal(f"switches against {name}", "≤ .60 ×", f"{switches:.2f} ×", switches <= 0.60)
    money, ahead = _ratio(hero, rival, "usd"), hero.values["score"].mean - rival.values["score"].mean
    seen = f"{money:.2f} × at {ahead:+.3f} of score"
    yield Goal(f"money against {name}", "≤ .75 × at equal score", seen, money <= 0.75 and ahead >= 0.0)


def _warm_start(hero: Row, rows: Rows) -> Iterator[Goal]:
    heuristic, cold = rows.get("heuristic"), rows.get(COLD)
    if heuristic is not None:
        firsts = zip(hero.first_utility_by_seed, heuristic.first_utility_by_seed, strict=True)
        first = [one - other for one, other in firsts]
        yield Goal(f"first {FIRST} episodes against the heuristic", "≥ −.01", _signed(first), fmean(first) >= -0.01)
        leads = _cumulative_leads(hero, heuristic)
        lowest = min(leads)
        yield Goal(
            "cumulative lead over it from episode 300 on", "≥ 0 throughout", f"{lowest:+.3f} at its lowest", lowest >= 0
        )
    if cold is not None:
        gain = interval(differences(hero, cold))
        low = gain.mean - (gain.half_width or 0.0)
        seen = f"{_shown(gain)}, lower limit {low:+.3f}"
        yield Goal("at the end against cold", "lower limit ≥ −.02", seen, low >= -0.02)


def _cumulative_leads(hero: Row, heuristic: Row) -> list[float]:
    """Mean utility of all episodes so far less the heuristic's, at the end of each block from episode `SETTLED` on."""
    gaps = [one - other for one, other in zip(hero.learning_curve, heuristic.learning_curve, strict=True)]
    means = [total / blocks for blocks, total in enumerate(accumulate(gaps), start=1)]
    first = min(ceil(SETTLED * len(means) / hero.episodes), len(means))
    return means[first - 1 :]


def _staying(free: Row | None) -> Iterator[Goal]:
    """Where nothing imposes a stay: no friction, every turn a decision point."""
    if free is None:
        return
    switches, stays = (free.values[name].mean for name in ("switches_per_25_turns", "stay_after_error"))
    seen = f"{switches:.1f} switches, {100 * stays:.0f} % stays"
    asked = "≤ 5 switches in 25 turns and 90 % stays after an error"
    yield Goal("stays by its own choice", asked, seen, switches <= 5.0 and stays >= 0.90)


def _estimator(hero: Row, rival: Row | None, training_usd: float | None) -> Iterator[Goal]:
    if rival is None:
        return
    gains = differences(hero, rival)
    paid = "" if training_usd is None else f", whose training cost ${training_usd:.0f}"
    yield Goal("above MTRouter-like", "≥ +.10", f"{_signed(gains)}{paid}", fmean(gains) >= 0.10)


def _ratio(one: Row, other: Row, measure: str) -> float:
    return one.values[measure].mean / max(other.values[measure].mean, 1e-9)


def _signed(gains: Sequence[float]) -> str:
    return _shown(interval(gains))


def _shown(gain: Interval) -> str:
    return f"{gain.mean:+.3f}" + ("" if gain.half_width is None else f" ± {gain.half_width:.3f}")
