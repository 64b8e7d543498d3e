from __future__ import annotations

from dataclasses import replace

from sojourn_server.demo.choosers import NeverSwitch, UniformRandom
from sojourn_server.demo.models import BY_NAME, MODELS, PHASES, STRONGEST
from sojourn_server.demo.play import EpisodeResult, TurnFacts, TurnView, expert_turns, play, tasks, turn_cap
from sojourn_server.demo.tokens import PROMPTS

SMALL = PROMPTS["small"]
TASK = tasks(1, seed=4)[0]


class _Recorder(NeverSwitch):
    """A chooser that keeps all that it is shown and told."""

    def __init__(self, models: tuple[str, ...]) -> None:
        super().__init__(models[0])
        self.models = models
        self.views: list[TurnView] = []
        self.facts: list[TurnFacts] = []
        self.ended: tuple[float, float] | None = None

    def choose(self, view: TurnView) -> str:
        self.views.append(view)
        return self.models[view.turn_index % len(self.models)]

    def observe(self, facts: TurnFacts) -> None:
        self.facts.append(facts)

    def end(self, score: float, usd: float) -> None:
        self.ended = (score, usd)


def test_the_same_models_on_the_same_task_meet_the_same_luck_whoever_chooses_them():
    drawn = play(TASK, UniformRandom(), SMALL)
    play(tasks(2, seed=4)[1], NeverSwitch(STRONGEST), SMALL)
    assert play(TASK, _Recorder(drawn.served), SMALL) == drawn


def test_the_first_tasks_of_a_seed_are_the_same_however_many_are_asked_for():
    assert tasks(30, seed=9)[:10] == tasks(10, seed=9)
    assert tasks(10, seed=8) != tasks(10, seed=9)


def test_a_chooser_is_never_shown_the_hidden_phase():
    recorder = _Recorder(tuple(BY_NAME))
    play(TASK, recorder, SMALL)
    shown = {str(value) for view in recorder.views for value in (*vars(view).values(), *view.features)}
    assert recorder.views
    assert not shown & set(PHASES)


def test_views_count_turns_and_errors_and_the_prompt_grows():
    recorder = _Recorder((MODELS[2].name,))
    result = play(TASK, recorder, SMALL)
    assert any(result.erred)
    for turn, view in enumerate(recorder.views):
        assert view.turn_index == turn
        assert view.error_count == sum(result.erred[:turn])
        assert view.prompt_tokens == SMALL.prompt_tokens(turn)


def test_an_episode_costs_the_sum_of_its_turns_and_ends_with_its_score():
    recorder = _Recorder(tuple(BY_NAME))
    result = play(TASK, recorder, SMALL)
    assert result.usd == sum(facts.spend.usd for facts in recorder.facts)
    assert recorder.ended == (result.score, result.usd)


def test_an_episode_that_is_not_solved_ends_at_its_cap_with_score_0():
    hopeless = NeverSwitch(MODELS[2].name)
    failed = next(r for r in (play(t, hopeless, SMALL) for t in tasks(20, seed=4)) if r.score == 0)
    assert failed.turns == turn_cap(failed.task.level, failed.task.level_seed)


def test_the_cap_leaves_room_for_slips():
    assert turn_cap(TASK.level, TASK.level_seed) > 1.5 * expert_turns(TASK.level, TASK.level_seed)


def test_whoever_stays_forfeits_nothing_and_whoever_comes_back_cold_does():
    cached = (MODELS[0].name, MODELS[1].name)
    assert play(TASK, NeverSwitch(cached[0]), SMALL).forfeited_usd == 0
    assert play(TASK, _Recorder(cached), SMALL).forfeited_usd > 0


def test_switches_and_stays_after_errors_are_read_off_the_turns():
    played = EpisodeResult(
        task=TASK,
        score=1.0,
        served=("a", "a", "b", "b", "a"),
        tool_types=("search",) * 5,
        erred=(True, True, False, True, True),
        usd=0.1,
        forfeited_usd=0.0,
    )
    assert (played.switches, played.turns_after_error, played.stays_after_error) == (2, 3, 1)
    assert replace(played, served=("a",) * 5).stays_after_error == 3
