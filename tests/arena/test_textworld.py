from __future__ import annotations

import os
import pickle
import random
import subprocess
import sys

import pytest

from sojourn_server.demo.choosers import NeverSwitch, UniformRandom
from sojourn_server.demo.models import MODELS as DEMO_MODELS
from sojourn_server.demo.models import STRONGEST
from sojourn_server.demo.play import expert_turns, play, tasks, turn_cap
from sojourn_server.demo.tokens import PROMPTS
from sojourn_server.demo.world import Level

pytest.importorskip("textworld", reason="no TextWorld: needs `uv sync --group textworld`")

from benchmarks.arena.textworld import (
    GAMES_PER_KIND,
    HELD_OUT,
    LEVELS,
    MAKERS,
    PHASE_OF_VERB,
    REFUSED_SHARE,
    TABLE,
    TOOL_TYPES,
    Game,
    slips,
)
from benchmarks.arena.textworld_games import State, Transitions, transitions
from benchmarks.arena.textworld_models import BY_NAME, MODELS, PHASES

SMALL = PROMPTS["small"]
QUICK = next(level for level in LEVELS if level.name == "short_quest")
EACH_LEVEL = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
WALK_TURNS = 30


def _walk(game: Transitions, seed: int) -> list[State]:
    """States on a walk that follows the plan half of the time."""
    draws, states = random.Random(seed), [game.start]
    while not states[-1].is_solved and len(states) < WALK_TURNS:
        follows = draws.random() < 0.5
        command = states[-1].plan[0] if follows else draws.choice([c for _, c in slips(states[-1])])
        states.append(game.after(states[-1], command) if command in states[-1].commands else states[-1])
    return states


@EACH_LEVEL
def test_the_expert_alone_solves_every_kind_within_half_its_cap_and_slack(level: Level):
    assert 5 <= expert_turns(level, 0) <= 16
    assert turn_cap(level, 0) > 1.5 * expert_turns(level, 0)


@pytest.mark.slow
@pytest.mark.timeout(600)
@EACH_LEVEL
def test_the_expert_alone_solves_all_games_of_a_kind_without_losing_its_plan(level: Level):
    for seed in range(GAMES_PER_KIND):
        game = level.open(seed)
        advice = game.advise()
        while not game.step(advice.action).is_solved:
            advice = game.advise()
            assert not advice.is_lost


@EACH_LEVEL
@pytest.mark.parametrize("seed", range(3))
def test_after_slips_there_is_still_a_plan_and_it_begins_with_an_admissible_command(level: Level, seed: int):
    for state in _walk(transitions(level.name, MAKERS[level.name], 0), seed):
        assert state.is_solved or state.plan[0] in state.commands


def test_a_state_that_is_looked_up_is_the_state_that_playing_leads_to():
    """Walks on one shared game, where states are merged and looked up, equal walks on games that know nothing."""
    shared = Transitions(_game_of("long_quest"))
    for seed in range(6):
        alone = _walk(Transitions(_game_of("long_quest")), seed)
        for known, fresh in zip(_walk(shared, seed), alone, strict=True):
            assert (known.commands, known.plan, known.is_solved) == (fresh.commands, fresh.plan, fresh.is_solved)


def _game_of(kind: str) -> object:
    return MAKERS[kind](3)


def test_a_game_is_the_same_in_another_process_whether_made_or_kept():
    code = (
        "from benchmarks.arena.textworld import MAKERS\n"
        "from benchmarks.arena.textworld_games import Transitions, transitions\n"
        "made, kept = Transitions(MAKERS['short_quest'](0)).start, transitions('short_quest', None, 0).start\n"
        "print([made == kept, made.commands, made.plan])"
    )
    start = transitions("short_quest", MAKERS["short_quest"], 0).start
    for hash_seed in ("1", "2"):
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": os.pathsep.join(sys.path)}
        command = [sys.executable, "-c", code]
        ran = subprocess.run(command, capture_output=True, text=True, check=True, env=environment)
        assert ran.stdout.strip() == str([True, start.commands, start.plan])


def test_an_episode_is_the_same_after_others_were_played_on_its_game():
    first, *others = tasks(4, seed=3, levels=[QUICK])
    before = play(first, UniformRandom(), SMALL)
    for task in others:
        play(task, NeverSwitch(STRONGEST), SMALL)
    assert play(first, UniformRandom(), SMALL) == before


def test_a_refused_command_shows_and_changes_nothing():
    game = QUICK.open(0)
    before, advice = game.situation(), game.advise()
    assert game.step("sing").is_refused
    assert (game.situation(), game.advise()) == (before, advice)
    assert not game.step(advice.action).is_refused


def test_slips_are_never_the_advice_and_the_listed_share_is_refused():
    for state in _walk(transitions(QUICK.name, MAKERS[QUICK.name], 0), 1)[:-1]:
        listed = slips(state)
        limits = [limit for limit, _ in listed]
        assert limits == sorted(limits)
        assert listed[0][0] == REFUSED_SHARE
        assert limits[-1] == 1
        assert listed[0][1] not in state.commands
        assert all(command in state.commands and command != state.plan[0] for _, command in listed[1:])


@EACH_LEVEL
def test_a_caller_sees_a_known_tool_type_and_counts_and_never_the_phase(level: Level):
    game, seen = level.open(0), set()
    is_solved = False
    while not is_solved:
        situation, advice = game.situation(), game.advise()
        assert situation.tool_type in TOOL_TYPES
        assert advice.phase in PHASES
        seen |= {situation.tool_type, *situation.features}
        is_solved = game.step(advice.action).is_solved
    assert not seen & set(PHASES)


def test_every_verb_belongs_to_a_phase_and_every_tool_type_to_a_class():
    assert set(PHASE_OF_VERB.values()) == set(PHASES)
    assert set(TABLE) == set(TOOL_TYPES)


def test_the_held_out_games_are_other_games():
    def numbers(levels: tuple[Level, ...]) -> set[int]:
        return {int(level.open.args[1]) + seed for level in levels for seed in range(GAMES_PER_KIND)}  # type: ignore[attr-defined]  # a partial

    assert not numbers(LEVELS) & numbers(HELD_OUT)
    assert isinstance(HELD_OUT[0].open(0), Game)


def test_tasks_can_be_sent_to_another_process():
    sent = tasks(3, seed=1, levels=LEVELS)
    assert [t.level.name for t in pickle.loads(pickle.dumps(sent))] == [t.level.name for t in sent]


def test_the_models_have_the_demo_s_names_and_prices_and_skills_for_every_phase():
    assert [(m.name, m.prices) for m in MODELS] == [(m.name, m.prices) for m in DEMO_MODELS]
    assert all(set(m.skills) == set(PHASES) for m in MODELS)
    assert set(BY_NAME) == {m.name for m in MODELS}


@pytest.mark.parametrize("phase", PHASES)
def test_in_no_phase_is_the_strongest_model_the_best_one(phase: str):
    """Else never switching would be right, and there would be nothing to route."""
    assert max(MODELS, key=lambda model: model.skills[phase]).name != STRONGEST
