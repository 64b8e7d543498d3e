"""Savings against hand-made episodes, against simulated ones with a known truth, and on a router's own journal."""

from __future__ import annotations

from math import inf
from random import Random

import pytest

from sojourn.v1 import types_pb2
from sojourn_server.evaluation.savings import CONTROLS, Assigned, compare, confidence_sequence, read_assigned
from sojourn_server.policy.draws import HEURISTIC, LEARNED, NEVER_SWITCH
from tests.learner.workshop import POLICY, configured


def assigned(
    cohort: int, score: float | None, usd: float | None = 0.1, *, key: str = "", task: str = "t", epoch: int = 1
):
    assigned.count += 1  # type: ignore[attr-defined]  # names that nobody needs to think of
    return Assigned(cohort, key or f"k{assigned.count}", (epoch, task), score, usd)  # type: ignore[attr-defined]  # as above


assigned.count = 0  # type: ignore[attr-defined]  # as above


def test_by_hand():
    episodes = [assigned(LEARNED, s, 0.1) for s in (1.0, 0.0)] + [assigned(HEURISTIC, s, 0.3) for s in (0.0, 0.0)]
    found = compare(episodes, "heuristic")
    assert found.score is not None
    assert found.usd is not None
    assert found.score.value == 0.5
    assert found.usd.value == pytest.approx(-0.2)
    assert found.control_usd == pytest.approx(0.3)
    assert (found.learned_episodes, found.control_episodes, found.learned_missing) == (2, 2, 0)


def test_arms_are_compared_within_strata_so_shares_that_move_with_the_tasks_do_not_fool():
    """Easy tasks came when most were learned; within each epoch the arms score the same."""
    episodes = [assigned(LEARNED, 1.0, epoch=1) for _ in range(90)] + [
        assigned(HEURISTIC, 1.0, epoch=1) for _ in range(10)
    ]
    episodes += [assigned(LEARNED, 0.0, epoch=2) for _ in range(10)] + [
        assigned(HEURISTIC, 0.0, epoch=2) for _ in range(90)
    ]
    found = compare(episodes, "heuristic").score
    assert found is not None
    assert found.value == 0.0


def test_a_handful_of_control_episodes_tells_nothing_however_many_were_learned():
    """Three that happen to agree have no variance of their own, and would make the interval far too narrow."""
    learned = [assigned(LEARNED, float(i % 2)) for i in range(1_000)]
    few = compare([*learned, *(assigned(HEURISTIC, 1.0) for _ in range(3))], "heuristic").score
    enough = compare([*learned, *(assigned(HEURISTIC, float(i % 2)) for i in range(20))], "heuristic").score
    assert few is not None
    assert (few.low, few.high) == (-inf, inf)
    assert enough is not None
    assert enough.high < inf


def test_strata_with_one_arm_say_nothing():
    found = compare([assigned(LEARNED, 1.0, task="a"), assigned(NEVER_SWITCH, 0.0, task="b")], "never-switch")
    assert (found.score, found.usd, found.score_bounds) == (None, None, None)


def test_missing_outcomes_widen_to_the_worst_and_the_best_case():
    episodes = [assigned(LEARNED, s) for s in (1.0, None)] + [assigned(HEURISTIC, s) for s in (1.0, None)]
    found = compare(episodes, "heuristic")
    assert found.score_bounds == (-0.5, 0.5)
    assert (found.learned_missing, found.control_missing) == (1, 1)


def test_repeats_of_a_key_count_as_one_observation():
    random = Random(4)
    scores = [(random.random(), random.random()) for _ in range(40)]
    once = [assigned(c, s[c == HEURISTIC]) for s in scores for c in (LEARNED, HEURISTIC)]
    often = [e for e in once for _ in range(5)]
    one, five = compare(once, "heuristic").score, compare(often, "heuristic").score
    assert one is not None
    assert five is not None
    assert five.value == pytest.approx(one.value)
    assert five.high - five.low == pytest.approx(one.high - one.low, rel=0.05)


def test_an_interval_holds_however_often_one_looks():
    """Of 200 simulated services, watched after every 25 episodes, at most a few ever exclude the truth of 0."""
    ever_wrong = 0
    for seed in range(200):
        random, episodes = Random(seed), list[Assigned]()
        for i in range(400):
            cohort = LEARNED if random.random() < 0.5 else HEURISTIC
            episodes.append(assigned(cohort, float(random.random() < 0.6)))
            if i >= 49 and i % 25 == 24:
                found = compare(episodes, "heuristic").score
                assert found is not None
                if not found.low <= 0.0 <= found.high:
                    ever_wrong += 1
                    break
    assert ever_wrong <= 14  # 5 % of 200 and two standard errors


def test_the_sequence_is_wider_than_a_single_look_and_narrows_as_data_come():
    assert confidence_sequence(0.1, 500) > 1.96 * 0.1
    widths = [confidence_sequence(1.0 / n**0.5, n) for n in (50, 200, 1_000, 10_000)]
    assert widths == sorted(widths, reverse=True)


def test_cohorts_of_a_journal_are_read_by_intention_to_treat(open_workshop):
    choice = configured().policies[POLICY].choice.model_copy(update={"control_share": 0.25})
    workshop = open_workshop(configured(choice=choice))
    for i in range(30):
        workshop.decide(f"e{i}", tool_type="search", task_type="t")
        if i % 3:
            workshop.end(f"e{i}", cost_usd=0.25)
    found = list(read_assigned(workshop.journal, POLICY))
    assert len(found) == 30
    assert {e.cohort for e in found} == {LEARNED, HEURISTIC, NEVER_SWITCH}
    assert sum(e.score is None for e in found) == 10
    assert {e.cost_usd for e in found if e.score is not None} == {0.25}
    assert len({e.stratum for e in found}) == 1


def test_episodes_that_report_usage_alone_have_money_and_those_without_are_counted(open_workshop):
    choice = configured().policies[POLICY].choice.model_copy(update={"control_share": 0.25})
    workshop = open_workshop(configured(choice=choice))
    for i in range(30):
        answer = workshop.decide(f"e{i}", tool_type="search", task_type="t")
        usage = types_pb2.Usage(input_tokens=1_000_000) if i % 3 else None
        workshop.end(f"e{i}", last_turn=types_pb2.TurnFacts(served_model=answer.model, usage=usage))
    models = workshop.router.world.registry.models
    prices = {model.terms.input_usd_per_mtok for model in models.values()}
    episodes = list(read_assigned(workshop.journal, POLICY))
    known = [e.cost_usd for e in episodes if e.cost_usd is not None]
    assert len(known) == 20
    assert all(any(usd == pytest.approx(price) for price in prices) for usd in known)
    found = [compare(episodes, control) for control in CONTROLS]
    assert all(c.usd is not None for c in found)
    assert found[0].learned_without_usd + sum(c.control_without_usd for c in found) == 10
