"""How bandits are asked and taught: at every turn or once an episode."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.arena.policies.features import Context
from benchmarks.arena.policies.learning import PerEpisode, PerTurn, Turn
from tests.arena.tiny_world import MODELS, facts, tiny_tasks, view


class Diary:
    """Picks the offered models in turn, and writes down what it is taught."""

    def __init__(self) -> None:
        self.asked: list[Context] = []
        self.taught: list[tuple[Sequence[Turn], float]] = []

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        self.asked.append(context)
        return offered[(len(self.asked) - 1) % len(offered)]

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        self.taught.append((turns, utility))


def play_three(chooser: PerTurn, *, served: Sequence[str] = ()) -> list[str]:
    """Plays three turns; `served` overrides who served. USD .1 a turn, .02 of it forfeited by the second."""
    chooser.begin(tiny_tasks(1)[0])
    chosen = []
    for index in range(3):
        chosen.append(chooser.choose(view(index)))
        model = served[index] if served else chosen[-1]
        chooser.observe(facts(model, usd=0.1, forfeited_usd=0.02 if index == 1 else 0.0))
    chooser.end(0.8, 0.3)
    return chosen


def test_per_turn_asks_at_every_turn_and_teaches_every_turn_the_whole_episodes_utility():
    diary = Diary()
    assert play_three(PerTurn(diary, MODELS, cost_weight=2.0)) == list(MODELS)
    [(turns, utility)] = diary.taught
    assert [turn.model for turn in turns] == list(MODELS)
    assert utility == pytest.approx(0.8 - 2.0 * 0.3)


def test_the_context_names_the_model_of_the_turn_before():
    diary = Diary()
    play_three(PerTurn(diary, MODELS, cost_weight=0.0))
    assert [context.previous for context in diary.asked] == [None, *MODELS[:2]]


def test_the_model_that_served_is_credited_whatever_was_picked():
    diary = Diary()
    play_three(PerTurn(diary, MODELS, cost_weight=0.0), served=["cheap", "cheap", "writer"])
    assert [turn.model for turn in diary.taught[0][0]] == ["cheap", "cheap", "writer"]
    assert [context.previous for context in diary.asked] == [None, "cheap", "cheap"]


def test_forfeited_money_can_be_kept_from_a_learner():
    diary = Diary()
    play_three(PerTurn(diary, MODELS, cost_weight=2.0, counts_forfeited=False))
    assert diary.taught[0][1] == pytest.approx(0.8 - 2.0 * (0.3 - 0.02))


def test_an_episode_leaves_nothing_to_the_next():
    diary = Diary()
    chooser = PerTurn(diary, MODELS, cost_weight=0.0)
    play_three(chooser)
    play_three(chooser)
    assert diary.asked[3].previous is None
    assert len(diary.taught[1][0]) == 3


def test_per_episode_asks_once_and_teaches_the_first_turn():
    diary = Diary()
    assert play_three(PerEpisode(diary, MODELS, cost_weight=0.0)) == ["searcher"] * 3
    assert len(diary.asked) == 1
    assert [turn.model for turn in diary.taught[0][0]] == ["searcher"]


def test_per_episode_asks_anew_when_its_model_is_withdrawn():
    chooser = PerEpisode(Diary(), MODELS, cost_weight=0.0)
    chooser.begin(tiny_tasks(1)[0])
    assert chooser.choose(view(0)) == "searcher"
    chooser.observe(facts("searcher"))
    chooser.offered = ("writer", "cheap")
    assert chooser.choose(view(1)) != "searcher"
