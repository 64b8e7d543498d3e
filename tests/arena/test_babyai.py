"""The arena's BabyAI is the demo's, which is minigrid's own, cell for cell and turn for turn."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from benchmarks.arena.babyai import LEVELS
from benchmarks.arena.sight import look, spread
from sojourn_server.demo import babyai as demo
from sojourn_server.demo.thirdparty import Actions
from sojourn_server.demo.world import Game, Level

PAIRS = list(zip(demo.LEVELS, LEVELS, strict=True))
TURNS = 80


def _seen_by_minigrid(environment: Any) -> tuple[list[tuple[int, int]], list[Any]]:
    """Cells of the world that minigrid's mask shows, and the things on them but for the agent's own cell."""
    grid, mask = type(environment).gen_obs_grid(environment)
    size, ahead, right = environment.agent_view_size, environment.dir_vec, environment.right_vec
    own, cells, things = (size // 2, size - 1), [], []
    for i, j in np.argwhere(mask):
        x, y = environment.agent_pos + (own[1] - j) * ahead + (i - own[0]) * right
        if 0 <= x < environment.width and 0 <= y < environment.height:
            cells.append((int(x), int(y)))
            things += [grid.get(i, j)] if (i, j) != own and grid.get(i, j) is not None else []
    return cells, things


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
def test_the_agent_sees_what_minigrid_says_it_sees(level: Level):
    for seed in range(4):
        game, draw = level.open(seed), random.Random(seed)
        environment = vars(game)["environment"]
        for _ in range(TURNS):
            cells, things = _seen_by_minigrid(environment)
            sight = look(environment)
            assert sorted(sight.cells) == sorted(cells)
            assert sorted(map(id, sight.things)) == sorted(map(id, things))
            if game.step(_action(game, draw)).is_solved:
                break


def _action(game: Game, draw: random.Random) -> Any:
    """The expert's action, or often any other."""
    advised = game.advise().action
    return draw.choice(list(Actions)) if draw.random() < 0.4 else advised


def test_an_opaque_cell_hides_what_lies_behind_it():
    assert spread(0b010, 0b111, 3) == (0b111, 0b111)
    assert spread(0b010, 0b000, 3) == (0b010, 0b000)
    assert spread(0b001, 0b001, 3) == (0b011, 0b011)


def _moves(level: Level, seed: int) -> Iterator[tuple[object, ...]]:
    """Every turn of a play with many slips: advice, situation, effect, and the expert's searches and map."""
    game, draw = level.open(seed), random.Random(seed)
    for _ in range(TURNS):
        advice, situation = game.advise(), game.situation()
        effect = game.step(draw.choice(list(Actions)) if draw.random() < 0.4 else advice.action)
        bot = vars(vars(game)["_expert"])["_bot"]
        yield advice, situation, effect, bot.bfs_counter, bot.vis_mask.tobytes()
        if effect.is_solved:
            return


@pytest.mark.parametrize(("slow", "quick"), PAIRS, ids=[level.name for level in LEVELS])
def test_whole_plays_are_those_of_minigrid_s_own_bot_and_sight(slow: Level, quick: Level):
    for seed in range(6):
        assert list(_moves(quick, seed)) == list(_moves(slow, seed))


def test_the_plays_that_are_compared_meet_lost_plans_and_solved_games():
    moves = [list(_moves(level, seed)) for level in LEVELS for seed in range(6)]
    advices: list[Any] = [advice for play in moves for advice, *_ in play]
    effects: list[Any] = [play[-1][2] for play in moves]
    assert any(advice.is_lost for advice in advices)
    assert 0 < sum(effect.is_solved for effect in effects) < len(effects)
