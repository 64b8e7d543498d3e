"""The bandit learns, serialises exactly, and shares between candidates and phases what it should."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.memory import resident_mib
from sojourn.v1 import types_pb2
from sojourn_server.policy.bandit import Bandit, action_line
from sojourn_server.policy.registry import Model
from tests.policy.play import line_of, model

KINDS = ("search", "code", "plan")
ACTIONS = ["|m m_good c_large:0.5", "|m m_bad c_small:0.5", "|m m_other c_small:0.5"]
TURNS_CAP = 100
OPTIONS = ("", "--coin", "-l 0.05", "--l2 0.001", "--l1 0.0001", "--power_t 0 --sgd -l 0.01")


def shared(kind: str, number: float = 0.5) -> str:
    return f"shared |c turn:{number} p_{kind} |t t_{kind}"


def fresh(options: str = "") -> Bandit:
    return Bandit.fresh(options=options, weight_bits=12, turns_cap=TURNS_CAP)


def taught(bandit: Bandit, lessons: int = 200, seed: int = 3) -> Bandit:
    """Every lesson says that the good model gains .4 and ends after 5 turns, the others lose .3 and end after 40."""
    random = Random(seed)
    for _ in range(lessons):
        chosen, line = random.randrange(len(ACTIONS)), shared(random.choice(KINDS), random.random())
        advantage, turns = (0.4, 5.0) if chosen == 0 else (-0.3, 40.0)
        bandit.learn_advantage(line, ACTIONS[chosen], advantage=advantage, step=0.05)
        bandit.learn_turns(line, turns)
    return bandit


def predictions(bandit: Bandit) -> list[tuple[list[float], float]]:
    return [bandit.predict(shared(kind, number), ACTIONS) for kind in KINDS for number in (0.0, 0.3, 1.0)]


@pytest.mark.parametrize("options", ["", "--coin"])
def test_it_learns_the_advantage_of_each_candidate_and_the_usual_turns(options: str):
    advantages, turns = taught(fresh(options), 600).predict(shared("code"), ACTIONS)
    assert advantages == pytest.approx([0.4, -0.3, -0.3], abs=0.05)
    assert turns == pytest.approx((5 + 40 + 40) / 3, abs=10)


def test_an_error_rate_teaches_all_candidates_at_once():
    bandit, random = fresh(), Random(5)
    for _ in range(600):
        rate, chosen = random.choice([-0.1, 0.1]), random.randrange(2)
        action = action_line(Model.of(model("ab"[chosen])), {}, rate)
        bandit.learn_advantage(shared("code"), action, advantage=-2.0 * rate, step=0.05)
    careful, careless = (action_line(Model.of(model("c")), {}, rate) for rate in (-0.1, 0.1))
    (better, worse), _ = bandit.predict(shared("search"), [careful, careless])
    assert better - worse == pytest.approx(0.4, abs=0.1)


def test_an_untaught_bandit_predicts_no_advantage_and_one_turn():
    assert fresh().predict(shared("code"), ACTIONS) == ([0.0, 0.0, 0.0], 1.0)


def test_a_bandit_takes_no_more_memory_than_its_weights_and_the_examples_of_a_turn():
    """Each snapshot opens another one, so what VW allocates in advance would come and go with every batch."""
    made, before_mib = [fresh()], resident_mib()
    made += [Bandit.from_bytes(*made[0].to_bytes(), options="", turns_cap=TURNS_CAP) for _ in range(8)]
    assert (resident_mib() - before_mib) / 8 < 4


@pytest.mark.parametrize("options", OPTIONS)
def test_bytes_round_trip_exactly_and_learning_goes_on_as_if_never_stopped(options: str):
    """Not only predictions: whatever the options, a reloaded bandit learns the same lessons to the same bits."""
    stayed, left = taught(fresh(options), 50), taught(fresh(options), 50)
    loaded = Bandit.from_bytes(*left.to_bytes(), options=options, turns_cap=TURNS_CAP)
    assert predictions(loaded) == predictions(stayed)
    assert predictions(taught(loaded, 50, seed=8)) == predictions(taught(stayed, 50, seed=8))


def test_serialising_does_not_disturb_the_bandit():
    watched, left_alone = taught(fresh()), taught(fresh())
    watched.to_bytes()
    assert predictions(taught(watched, 20)) == predictions(taught(left_alone, 20))


def test_the_same_lessons_give_the_same_bits():
    assert predictions(taught(fresh())) == predictions(taught(fresh()))


def test_predicting_teaches_nothing():
    bandit = taught(fresh())
    before = predictions(bandit)
    for _ in range(50):
        bandit.predict(shared("code"), ACTIONS)
    assert predictions(bandit) == before


@pytest.mark.parametrize(("advantage", "expected"), [(-0.6, -0.6), (1.0, 1.0), (-3.0, -2.0), (9.0, 2.0)])
def test_advantages_are_learned_either_way_and_clipped_at_the_range(advantage: float, expected: float):
    bandit = fresh()
    for _ in range(100):
        bandit.learn_advantage(shared("code"), ACTIONS[1], advantage=advantage, step=0.1)
    assert bandit.predict(shared("code"), ACTIONS)[0][1] == pytest.approx(expected, abs=0.001)


@given(
    st.floats(0.001, 0.9), st.floats(-1, 1), st.dictionaries(st.sampled_from("xyz"), st.floats(-8, 8)), st.booleans()
)
def test_a_lesson_goes_exactly_as_far_as_its_step_says(
    step: float, advantage: float, features: dict[str, float], foreign: bool
):
    """Whatever the candidate's own numbers are, and however many words of a tool type it is crossed with."""
    bandit, action = fresh(), action_line(Model.of(model("a")), features, 0.2)
    line = "shared |c turn:1 |t t_code" + " other l_python" * foreign
    after = bandit.learn_advantage(line, action, advantage=advantage, step=step)
    assert after == pytest.approx(step * advantage, rel=0.01, abs=1e-6)
    assert after == bandit.predict(line, [action])[0][0]


def test_steps_that_shrink_as_one_over_n_keep_the_mean_of_the_first_guess_and_all_that_was_seen():
    bandit, random = fresh(), Random(7)
    bandit.learn_advantage(shared("code"), ACTIONS[0], advantage=-0.2, step=0.999_999)
    seen = [random.choice([-0.7, 0.3]) for _ in range(50)]
    for known, value in enumerate(seen):
        bandit.learn_advantage(shared("code"), ACTIONS[0], advantage=value, step=1.0 / (20.0 + known + 1.0))
    expected = (20.0 * -0.2 + sum(seen)) / 70.0
    assert bandit.predict(shared("code"), ACTIONS)[0][0] == pytest.approx(expected, abs=0.001)


def test_a_fifth_of_what_is_learned_of_a_candidate_goes_to_its_class_and_nothing_to_other_phases():
    bandit = fresh()
    bandit.learn_advantage(shared("code"), ACTIONS[1], advantage=1.0, step=0.5)
    assert bandit.predict(shared("code"), ACTIONS)[0] == pytest.approx([0.0, 0.5, 0.1], abs=0.001)
    assert bandit.predict(shared("plan"), ACTIONS)[0] == [0.0, 0.0, 0.0]


def test_phases_that_the_caller_names_learn_apart_and_begin_with_what_their_tool_type_has_taught():
    bandit, actions = fresh(), ACTIONS[:2]
    for _ in range(200):
        for phase, good in (("fix", 0), ("verify", 1)):
            for place, action in enumerate(actions):
                bandit.learn_advantage(named(phase), action, advantage=0.3 if place == good else -0.1, step=0.05)
    assert bandit.predict(named("fix"), actions)[0] == pytest.approx([0.3, -0.1], abs=0.02)
    assert bandit.predict(named("verify"), actions)[0] == pytest.approx([-0.1, 0.3], abs=0.02)
    assert bandit.predict(named("new"), actions)[0] == pytest.approx([0.1, 0.1], abs=0.05)


def named(phase: str) -> str:
    """A turn of the tool type "code" in a phase of the caller's."""
    return line_of(types_pb2.Context(tool_type="code", phase=phase))


def test_turns_are_learned_alone_and_of_the_context_alone():
    bandit = taught(fresh())
    before, _ = bandit.predict(shared("code"), ACTIONS)
    for _ in range(100):
        bandit.learn_turns(shared("code"), 60.0)
    after, turns = bandit.predict(shared("code"), ACTIONS)
    assert after == before
    assert turns == pytest.approx(60, abs=2)
