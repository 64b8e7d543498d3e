"""Placebos have the habits that they are made from, and nothing of the context."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby, pairwise
from statistics import fmean

import pytest

from benchmarks.arena.policies.placebos import MatchedRandom, MatchedSojourns, Transplanted, shares
from sojourn_server.demo.play import Chooser
from tests.arena.tiny_world import MODELS, TinyEpisode, play_tiny, run, tiny_tasks, with_seed

# Sojourns of 3 turns on "searcher", then alternately 1 on "writer" and 2 on "cheap".
PATTERN = ("searcher", "searcher", "searcher", "writer", "searcher", "searcher", "searcher", "cheap", "cheap") * 4
SOURCE = [PATTERN[start : start + length] for start, length in [(0, 12), (3, 20), (4, 9), (7, 25), (0, 30)] * 4]


def played(chooser: Chooser, *, episodes: int = 300, turns: int = 24) -> list[tuple[str, ...]]:
    return [play_tiny(task, chooser, turns).served for task in tiny_tasks(episodes)]


def switch_rate(episodes: Sequence[Sequence[str]]) -> float:
    return fmean(before != after for served in episodes for before, after in pairwise(served))


def lengths(episodes: Sequence[Sequence[str]], model: str) -> float:
    """Mean length of the model's sojourns that no end cut short."""
    sojourns = [[(name, len(list(run))) for name, run in groupby(served)][1:-1] for served in episodes]
    return fmean(length for episode in sojourns for name, length in episode if name == model)


def test_shares_sum_to_one_and_count_turns():
    assert shares([("a", "a", "b"), ("b",)]) == {"a": 0.5, "b": 0.5}


def test_matched_random_has_the_shares_and_switches_freely():
    wanted = shares(SOURCE)
    episodes = played(MatchedRandom(wanted, seed=1))
    assert shares(episodes) == pytest.approx(wanted, abs=0.02)
    assert switch_rate(episodes) == pytest.approx(1 - sum(share**2 for share in wanted.values()), abs=0.02)


def test_matched_sojourns_have_shares_switches_and_lengths():
    episodes = played(MatchedSojourns(SOURCE, seed=1))
    assert shares(episodes) == pytest.approx(shares(SOURCE), abs=0.03)
    assert switch_rate(episodes) == pytest.approx(switch_rate(SOURCE), abs=0.03)
    for model, length in [("searcher", 3.0), ("writer", 1.0), ("cheap", 2.0)]:
        assert lengths(episodes, model) == pytest.approx(length, abs=0.01)


def test_matched_sojourns_know_nothing_of_the_tool():
    by_tool = {"search": [0, 0], "write": [0, 0]}
    for episode in run(MatchedSojourns(SOURCE, seed=1), 600):
        for model, tool in zip(episode.served, episode.tool_types, strict=True):
            by_tool[tool][model == "searcher"] += 1
    share = {tool: on / (on + off) for tool, (off, on) in by_tool.items()}
    assert share["search"] == pytest.approx(share["write"], abs=0.05)


def test_a_sojourn_that_nobody_left_goes_on():
    assert set(played(MatchedSojourns([("writer", "writer")], seed=1), episodes=3)) == {("writer",) * 24}


def test_a_transplant_is_the_sequence_of_a_donor():
    donors = [("searcher", "writer") * 12, ("cheap",) * 24]
    assert set(played(Transplanted({"tiny": donors}, seed=1), episodes=20)) == set(donors)


def test_a_longer_episode_goes_on_with_a_longer_donor_then_with_the_last_model():
    chooser = Transplanted({"tiny": [("searcher",) * 2, ("writer",) * 4]}, seed=1)
    seen = set(played(chooser, episodes=20, turns=6))
    assert seen == {("searcher",) * 2 + ("writer",) * 4, ("writer",) * 6}


def test_a_task_type_without_donors_takes_those_of_others():
    chooser = Transplanted({"other": [("searcher",) * 24]}, seed=1)
    assert set(played(chooser, episodes=3)) == {("searcher",) * 24}


@pytest.mark.parametrize(
    "make",
    [
        lambda seed: MatchedRandom(shares(SOURCE), seed=seed),
        lambda seed: MatchedSojourns(SOURCE, seed=seed),
        lambda seed: Transplanted({"tiny": SOURCE}, seed=seed),
    ],
    ids=["random", "sojourns", "transplanted"],
)
def test_draws_are_keyed_by_seed_and_task(make):
    tasks = tiny_tasks(20)
    forwards, backwards = make(1), make(1)
    first: list[TinyEpisode] = [play_tiny(task, forwards) for task in tasks]
    assert first == [play_tiny(task, backwards) for task in reversed(tasks)][::-1]
    assert [e.served for e in first] != [play_tiny(task, make(2)).served for task in tasks]
    assert [e.served for e in first] != [play_tiny(with_seed(task, 2), make(1)).served for task in tasks]


def test_the_tiny_world_rewards_no_placebo():
    chooser = MatchedRandom(dict.fromkeys(MODELS, 1 / 3), seed=1)
    assert fmean(episode.score for episode in run(chooser, 300)) == pytest.approx(0.5, abs=0.05)
