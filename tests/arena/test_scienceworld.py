"""ScienceWorld's games as the arena plays them: recorded from the real simulator, and undisturbed by slips."""

from __future__ import annotations

from random import Random
from shutil import which

import pytest

from sojourn_server.demo.choosers import NeverSwitch
from sojourn_server.demo.models import MODELS as DEMO_MODELS
from sojourn_server.demo.models import STRONGEST
from sojourn_server.demo.play import expert_turns, play, tasks, turn_cap
from sojourn_server.demo.tokens import PROMPTS
from sojourn_server.demo.world import Level

pytest.importorskip("scienceworld", reason="no ScienceWorld: needs `uv sync --group scienceworld`")
if which("java") is None:
    pytest.skip("no Java, which ScienceWorld runs on", allow_module_level=True)

from benchmarks.arena import scienceworld_games
from benchmarks.arena.scienceworld import (
    GAMES_PER_TASK,
    HELD_OUT,
    KIND_OF_VERB,
    LEVELS,
    SLIPS,
    TABLE,
    TASKS,
    TOOL_TYPES,
    Game,
    phase,
    pool,
)
from benchmarks.arena.scienceworld_games import IDLE, LONGEST, REFUSED, Recording, Seen, recording, variations
from benchmarks.arena.scienceworld_models import MODELS, PHASES

TASK = "chemistry-mix"
EACH_LEVEL = pytest.mark.parametrize("level", LEVELS, ids=lambda level: level.name)

# Each of these starts the simulator and records games, which takes most of a minute the first time.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


@EACH_LEVEL
def test_the_expert_alone_solves_every_task_within_its_cap(level: Level):
    for seed in range(GAMES_PER_TASK):
        assert 4 <= expert_turns(level, seed) <= LONGEST
        assert turn_cap(level, seed) > 1.5 * expert_turns(level, seed)


def test_the_two_sides_have_no_game_in_common():
    for task in TASKS:
        train, test = (variations(task, side) for side in ("train", "test"))
        assert not set(train) & set(test)
        assert pool(task, "train")
        assert pool(task, "test")
    assert [level.name for level in LEVELS] == [level.name for level in HELD_OUT] == list(TASKS)


def test_the_simulator_itself_reaches_the_full_score_along_a_recording_with_other_slips_in_between():
    made = pool(TASK, "train")[0]
    variation = next(v for v in variations(TASK, "train") if recording(TASK, v) == made)
    slips = Random(77)
    answers = list(scienceworld_games._play(TASK, variation, made.commands, [], random=slips))
    assert [understood for understood, _ in answers] == [True] * len(made.commands)
    assert answers[-1][1] == 1.0


def test_a_game_that_slips_disturb_is_not_recorded():
    """The circuits of this task burn or drain while others look around."""
    assert any(recording("power-component", variation) is None for variation in variations("power-component", "train"))


def test_a_slip_costs_the_turn_and_nothing_else():
    level = LEVELS[0]
    game, undisturbed = level.open(3), level.open(3)
    for _ in range(expert_turns(level, 3)):
        for _, slip in SLIPS:
            if game.advise().action != slip:
                effect = game.step(slip)
                assert (effect.is_solved, effect.is_refused) == (False, slip == REFUSED)
        advised = game.advise()
        assert advised == undisturbed.advise()
        assert game.step(advised.action).is_solved == undisturbed.step(advised.action).is_solved


def test_a_caller_sees_the_last_command_and_not_the_next(monkeypatch: pytest.MonkeyPatch):
    made = Recording(("open door to kitchen", "pick up cup", "0"), (Seen(3, 1, 0), Seen(5, 0, 0), Seen(5, 0, 1)))
    monkeypatch.setattr("benchmarks.arena.scienceworld.pool", lambda task, side: [made])
    game, seen = Game(TASK, "train", 0), []
    for command in made.commands:
        seen.append((game.situation().tool_type, game.advise().phase))
        game.step(command)
    assert seen == [("observe", "travelling"), ("travel", "handling"), ("handle", "handling")]
    assert Game(TASK, "train", 0).situation().features == {
        "things_in_sight": 3.0,
        "doors_in_sight": 1.0,
        "carried": 0.0,
    }


def test_every_command_of_the_games_has_a_kind():
    kinds = {
        command.partition(" ")[0]: phase(command)
        for task in TASKS
        for made in pool(task, "train")
        for command in made.commands
    }
    assert set(kinds.values()) == set(PHASES)
    assert all(verb.isdigit() or verb in KIND_OF_VERB for verb in kinds)


def test_six_models_share_names_and_prices_with_the_demo_and_none_is_best_at_everything():
    assert [(m.name, m.prices) for m in MODELS] == [(m.name, m.prices) for m in DEMO_MODELS]
    best = [max(MODELS, key=lambda m, p=p: m.skills[p]).name for p in PHASES]  # type: ignore[misc]  # bound now
    assert len(set(best)) == len(PHASES)
    assert STRONGEST not in best
    assert set(TABLE) == set(TOOL_TYPES)
    assert [share for share, _ in SLIPS][-1] == 1.0
    assert {slip for _, slip in SLIPS} == {REFUSED, *IDLE}


def test_equal_tasks_go_equal_ways():
    some = tasks(6, seed=4, levels=LEVELS)
    once, again = ([play(task, NeverSwitch(STRONGEST), PROMPTS["small"]) for task in some] for _ in range(2))
    assert once == again
