"""The bandit learns, serialises exactly, and shares between candidates and phases what it should."""

from __future__ import annotations

from random import Random

import pytest

from benchmarks.memory import resident_mib
from sojourn_server.policy.bandit import LEVEL_ACTION_LINE, Bandit, action_line
from sojourn_server.policy.registry import Model
from tests.policy.play import model

KINDS = ("search", "code", "plan")
ACTIONS = ["|m m_good c_large", "|m m_bad c_small", "|m m_other c_small"]
TURNS_CAP = 100
OPTIONS = ("", "--coin", "-l 0.05", "--l2 0.001", "--l1 0.0001", "--power_t 0 --sgd -l 0.01")


def shared(kind: str, number: float = 0.5) -> str:
    return f"shared |c turn:{number} p_{kind} |t t_{kind}"


def fresh(options: str = "") -> Bandit:
    return Bandit.fresh(options=options, weight_bits=12, turns_cap=TURNS_CAP)


def taught(bandit: Bandit, lessons: int = 200, seed: int = 3) -> Bandit:
    """Every lesson scores the good model .9 after 5 turns, the others .2 after 40."""
    random = Random(seed)
    for _ in range(lessons):
        chosen = random.randrange(len(ACTIONS))
        score, turns = (0.9, 5.0) if chosen == 0 else (0.2, 40.0)
        bandit.learn(shared(random.choice(KINDS), random.random()), ACTIONS, chosen, score=score, turns_to_go=turns)
    return bandit


def predictions(bandit: Bandit) -> list[tuple[list[float], float]]:
    return [bandit.predict(shared(kind, number), ACTIONS) for kind in KINDS for number in (0.0, 0.3, 1.0)]


@pytest.mark.parametrize("options", ["", "--coin"])
def test_it_learns_the_score_of_each_candidate_and_the_usual_turns(options: str):
    scores, turns = taught(fresh(options), 600).predict(shared("code"), ACTIONS)
    assert scores == pytest.approx([0.9, 0.2, 0.2], abs=0.3)
    assert turns == pytest.approx((5 + 40 + 40) / 3, abs=10)


def test_an_error_rate_teaches_all_candidates_at_once():
    bandit, random = fresh(), Random(5)
    for _ in range(600):
        rate, chosen = random.choice([-0.1, 0.1]), random.randrange(2)
        actions = [action_line(Model.of(model(name)), {}, rate) for name in "abc"]
        bandit.learn(shared("code"), actions, chosen, score=0.5 - 2.0 * rate, turns_to_go=5.0)
    careful, careless = (action_line(Model.of(model("c")), {}, rate) for rate in (-0.1, 0.1))
    (better, worse), _ = bandit.predict(shared("search"), [careful, careless])
    assert better - worse == pytest.approx(0.4, abs=0.1)


def test_an_untaught_bandit_predicts_the_best_score_and_one_turn_for_all_alike():
    scores, turns = fresh().predict(shared("code"), ACTIONS)
    assert (len(set(scores)), turns) == (1, 1.0)


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


@pytest.mark.parametrize(("score", "expected"), [(-0.6, -0.6), (-1.0, -1.0), (-3.0, -1.0), (2.0, 1.0)])
def test_credit_below_zero_is_learned_as_such_and_clipped_at_the_range(score: float, expected: float):
    bandit = fresh()
    for _ in range(300):
        bandit.learn(shared("code"), ACTIONS, 1, score=score, turns_to_go=5)
    assert bandit.predict(shared("code"), ACTIONS)[0][1] == pytest.approx(expected, abs=0.02)


def test_level_only_learning_moves_the_level_and_keeps_all_advantages():
    bandit = taught(fresh())
    before, _ = bandit.predict(shared("code"), ACTIONS)
    for _ in range(100):
        bandit.learn_level(shared("code"), ACTIONS, 1, score=0.4, turns_to_go=60)
    after, turns_after = bandit.predict(shared("code"), ACTIONS)
    assert after[1] == pytest.approx(0.4, abs=0.03)
    assert turns_after == pytest.approx(60, abs=2)
    for candidate in (0, 2):
        assert after[candidate] - after[1] == pytest.approx(before[candidate] - before[1], abs=1e-5)


def test_the_level_is_what_a_candidate_without_features_is_predicted():
    bandit = taught(fresh())
    assert "c_" not in LEVEL_ACTION_LINE
    alone, beside = (bandit.predict(shared("code"), [LEVEL_ACTION_LINE, *more])[0][0] for more in ([], ACTIONS))
    assert alone == beside
