from __future__ import annotations

import subprocess
import sys

import pytest

from sojourn_server.demo.babyai import LEVELS, TOOL_TYPES, wanted_things
from sojourn_server.demo.models import PHASES
from sojourn_server.demo.thirdparty import Actions
from sojourn_server.demo.world import Level

PLENTY_OF_TURNS = 250


@pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)
@pytest.mark.parametrize("seed", range(3))
def test_the_expert_alone_solves_every_level_without_losing_its_plan(level: Level, seed: int):
    game = level.open(seed)
    for _ in range(PLENTY_OF_TURNS):
        advice = game.advise()
        assert not advice.is_lost
        assert advice.phase in PHASES
        if game.step(advice.action).is_solved:
            return
    pytest.fail("the expert did not solve the level")


def test_what_a_caller_sees_does_not_depend_on_the_expert():
    """With and without an expert beside it, equal actions lead to equal situations."""
    watched, actions = [], []
    game = LEVELS[0].open(7)
    for _ in range(8):
        taken = game.advise().action
        watched.append(game.situation())
        actions.append(taken)
        game.step(taken)
    alone = LEVELS[0].open(7)
    for action, situation in zip(actions, watched, strict=True):
        assert alone.situation() == situation
        alone.step(action)


def test_no_tool_type_is_the_name_of_a_hidden_phase():
    assert not set(TOOL_TYPES) & set(PHASES)


def test_a_task_is_the_same_after_other_tasks_were_played_on_its_level():
    def first_look() -> tuple[object, object]:
        game = LEVELS[-1].open(11)
        return game.advise(), game.situation()

    before = first_look()
    LEVELS[-1].open(12).step(Actions.forward)
    assert first_look() == before


def test_an_action_without_effect_is_refused_and_a_turn_is_not():
    game = LEVELS[0].open(3)
    assert game.step(Actions.done).is_refused
    assert not game.step(Actions.left).is_refused


def test_the_expert_finds_back_after_senseless_actions():
    game = LEVELS[0].open(5)
    for turn in range(PLENTY_OF_TURNS):
        advised = game.advise().action
        taken = Actions.right if turn % 3 == 0 else advised
        if game.step(taken).is_solved:
            return
    pytest.fail("the expert did not recover")


@pytest.mark.parametrize(
    ("mission", "things"),
    [
        ("go to a red object", (("red", None),)),
        ("pick up the box", ((None, "box"),)),
        ("put the grey ball next to a key", (("grey", "ball"), (None, "key"))),
        ("open the blue door on your left", (("blue", "door"),)),
    ],
)
def test_wanted_things_are_read_off_the_mission_s_text(mission: str, things: tuple[tuple[str | None, str | None], ...]):
    assert wanted_things(mission) == things


def test_importing_and_playing_prints_nothing_and_warns_of_nothing():
    code = (
        "from sojourn_server.demo.babyai import LEVELS\n"
        "for level in LEVELS:\n"
        "    for seed in range(3): level.open(seed).situation()\n"
    )
    ran = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True)
    assert (ran.stdout, ran.stderr) == ("", "")


def test_without_minigrid_the_error_names_the_extra():
    code = "import sys; sys.modules['minigrid'] = None; import sojourn_server.demo.thirdparty"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert "pip install 'sojourn[demo]'" in ran.stderr.splitlines()[-1]
