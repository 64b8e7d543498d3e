from __future__ import annotations

import pytest

from sojourn_server.demo.choosers import NeverSwitch, UniformRandom
from sojourn_server.demo.compare import Contestant, compare, rows, summary
from sojourn_server.demo.models import STRONGEST
from sojourn_server.demo.play import EpisodeResult, tasks
from sojourn_server.demo.report import block_table
from sojourn_server.demo.tokens import PROMPTS

WEIGHT = 2.0
EPISODES = 7


@pytest.fixture(scope="module")
def results() -> dict[str, list[EpisodeResult]]:
    contestants = [Contestant("a", NeverSwitch(STRONGEST)), Contestant("b", UniformRandom())]
    return compare(contestants, tasks(EPISODES, seed=2), PROMPTS["small"])


@pytest.mark.parametrize("block", [1, 3, 7, 100])
def test_blocks_add_up_to_the_whole(results: dict[str, list[EpisodeResult]], block: int):
    lines = rows(results, block_episodes=block, cost_weight=WEIGHT)
    for name, episodes in results.items():
        mine = [line for line in lines if line.contestant == name]
        whole = summary(name, episodes, first_episode=0, cost_weight=WEIGHT)
        assert [line.first_episode for line in mine] == list(range(0, EPISODES, block))
        assert sum(line.episodes for line in mine) == EPISODES
        for column in ("score", "usd", "utility", "switches", "forfeited_usd", "turns"):
            total = sum(getattr(line, column) * line.episodes for line in mine)
            assert total / EPISODES == pytest.approx(getattr(whole, column)), column


def test_utility_is_score_less_weighted_money(results: dict[str, list[EpisodeResult]]):
    for line in rows(results, block_episodes=3, cost_weight=WEIGHT):
        assert line.utility == pytest.approx(line.score - WEIGHT * line.usd)


def test_whoever_never_switches_stays_after_every_error(results: dict[str, list[EpisodeResult]]):
    line = summary("a", results["a"], first_episode=0, cost_weight=WEIGHT)
    assert (line.switches, line.stay_after_error) == (0, 1)


def test_more_episodes_narrow_the_interval(results: dict[str, list[EpisodeResult]]):
    once = summary("b", results["b"], first_episode=0, cost_weight=WEIGHT)
    thrice = summary("b", results["b"] * 3, first_episode=0, cost_weight=WEIGHT)
    assert once.utility_half_width is not None
    assert thrice.utility_half_width is not None
    assert thrice.utility_half_width < once.utility_half_width
    assert summary("b", results["b"][:1], first_episode=0, cost_weight=WEIGHT).utility_half_width is None


def test_the_table_has_a_line_for_each_row(results: dict[str, list[EpisodeResult]]):
    lines = rows(results, block_episodes=3, cost_weight=WEIGHT)
    assert block_table(lines, cost_weight=WEIGHT).row_count == len(lines) == 6
