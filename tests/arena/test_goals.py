"""Goals are computed from rows: each can be reached and can be missed, and is left out where nobody played it."""

from __future__ import annotations

from dataclasses import dataclass

import pytest

from benchmarks.arena.environments import by_name
from benchmarks.arena.goals import COLD, FREE, HERO, Goal, goals, is_compared
from benchmarks.arena.measures import Interval, Row

SMALL = by_name("babyai-small")
STRONGEST = f"never-switch:{SMALL.strongest}"


@dataclass(frozen=True)
class Sample:
    """A row of two seeds and two blocks of 300 episodes."""

    utility: float
    usd: float = 0.1
    switches: float = 4.0
    stays: float = 0.95
    first: float = 0.5

    def row(self, policy: str) -> Row:
        values = {
            "score": Interval(self.utility + self.usd, 0.01),
            "usd": Interval(self.usd, 0.01),
            "utility": Interval(self.utility, 0.01),
            "switches_per_episode": Interval(self.switches, 0.1),
            "switches_per_25_turns": Interval(self.switches, 0.1),
            "stay_after_error": Interval(self.stays, 0.01),
        }
        return Row(
            policy=policy,
            seeds=(1, 2),
            episodes=600,
            values=values,
            cumulative_utility=Interval(self.utility, 0.01),
            utility_by_seed=(self.utility, self.utility + 0.01),
            first_utility_by_seed=(self.first, self.first),
            curve_by_seed=((self.first, self.utility), (self.first, self.utility)),
            lift={},
            decisions_per_second=1.0,
        )


GOOD = {
    HERO: Sample(0.8),
    COLD: Sample(0.79),
    FREE: Sample(0.8),
    STRONGEST: Sample(0.5, usd=0.4),
    "heuristic": Sample(0.6, usd=0.2),
    "hand-table": Sample(0.82),
    "phase-oracle": Sample(0.95),
    "per-turn": Sample(0.7, usd=0.2, switches=10.0),
    "router-r1-like": Sample(0.7, usd=0.2, switches=10.0),
    "mtrouter-like": Sample(0.6, usd=0.2),
}


def found(samples: dict[str, Sample]) -> dict[str, Goal]:
    rows = {name: sample.row(name) for name, sample in samples.items()}
    return {goal.name: goal for goal in goals(SMALL, rows, training_usd=55.0)}


def test_all_goals_are_reached_where_all_is_well():
    assert [goal.name for goal in found(GOOD).values() if not goal.is_reached] == []
    assert len(found(GOOD)) == 16


@pytest.mark.parametrize(
    ("policy", "sample", "missed"),
    [
        (STRONGEST, Sample(0.5, usd=0.2), "money"),
        (STRONGEST, Sample(0.75, usd=0.4), "money"),
        ("heuristic", Sample(0.75), "above the heuristic"),
        ("hand-table", Sample(0.9), "near the best visible table"),
        ("phase-oracle", Sample(1.3), "gap from heuristic to phase oracle closed"),
        ("per-turn", Sample(0.79), "above per-turn"),
        ("per-turn", Sample(0.7, switches=5.0), "switches against per-turn"),
        ("per-turn", Sample(0.7, usd=0.11), "money against per-turn"),
        ("heuristic", Sample(0.6, first=0.6), "first 250 episodes against the heuristic"),
        ("heuristic", Sample(0.6, first=0.9), "cumulative lead over it from episode 300 on"),
        (COLD, Sample(0.85), "at the end against cold"),
        (FREE, Sample(0.8, switches=6.0), "stays by its own choice"),
        (FREE, Sample(0.8, stays=0.7), "stays by its own choice"),
        ("mtrouter-like", Sample(0.75), "above MTRouter-like"),
    ],
)
def test_each_goal_can_be_missed(policy: str, sample: Sample, missed: str):
    assert not found(GOOD | {policy: sample})[missed].is_reached


def test_one_seed_below_the_heuristic_is_said():
    rows = {HERO: GOOD[HERO].row(HERO), "heuristic": GOOD["heuristic"].row("heuristic")}
    rows["heuristic"] = rows["heuristic"]._replace(utility_by_seed=(0.81, 0.5))
    goal = next(goal for goal in goals(SMALL, rows, training_usd=None) if goal.name == "every seed above it")
    assert (goal.is_reached, goal.seen) == (False, "1 of 2, worst -0.010")


def test_a_goal_without_its_rival_is_left_out():
    assert found({HERO: GOOD[HERO]}) == {}
    assert found({"heuristic": GOOD["heuristic"]}) == {}


def test_rows_of_other_seeds_are_not_compared():
    rows = {HERO: GOOD[HERO].row(HERO), "heuristic": GOOD["heuristic"].row("heuristic")._replace(seeds=(1,))}
    assert goals(SMALL, rows, training_usd=None) == []


def test_what_goals_compare_is_played_on_all_seeds():
    assert all(is_compared(name, SMALL) for name in GOOD if name != FREE)
    assert not is_compared("random", SMALL)
