"""Worlds that change: what a router is told, what reaches it, and what the figures mean."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from benchmarks.arena.changes.contestants import Faulty, make, tell
from benchmarks.arena.changes.report import blocks, detection, episodes, lasting_recovery, moving_means, recovery
from benchmarks.arena.changes.run import KNOWING, Job, load, play
from benchmarks.arena.changes.worlds import CHANGES, MOST_USED, NEWCOMER, SPECIALIST, STRONGEST, Fault
from benchmarks.arena.environments import TUNING_SEEDS, by_name
from benchmarks.arena.policies.features import Context
from benchmarks.arena.policies.learning import PerTurn, Turn
from benchmarks.arena.sojourn import Sojourn
from sojourn_server.demo.play import Chooser, Task, TurnFacts, TurnView

SEED = TUNING_SEEDS[0]
BEFORE = by_name("babyai-small")
ROSTER_CHANGES = ["price-doubles", "price-halves", "degrades", "arrives", "withdrawn", "improves"]


def told(policy: str, change: str) -> Chooser:
    after = CHANGES[change].after(BEFORE)
    chooser = make(policy, BEFORE, after, seed=SEED)
    tell(policy, chooser, BEFORE, after, cost_weight=CHANGES[change].cost_weight)
    return chooser


def sojourn_told(change: str) -> Sojourn:
    chooser = told("sojourn-warm", change)
    assert isinstance(chooser, Sojourn)
    return chooser


@pytest.mark.parametrize("name", ROSTER_CHANGES)
def test_every_change_of_the_roster_reaches_the_tasks_and_only_them(name):
    after = CHANGES[name].after(BEFORE)
    task, same = after.tasks(1, seed=SEED)[0], BEFORE.tasks(1, seed=SEED)[0]
    assert tuple(task.level.models.values()) == after.models != BEFORE.models
    assert task == same, "the same layout and the same luck"
    assert tuple(same.level.models.values()) == BEFORE.models, "the world before is as it was"


def test_what_changes():
    before = {model.name: model for model in BEFORE.models}
    after = {name: {m.name: m for m in CHANGES[name].after(BEFORE).models} for name in ROSTER_CHANGES}
    prices = {
        name: after[name][STRONGEST].prices.input_usd_per_mtok / before[STRONGEST].prices.input_usd_per_mtok
        for name in ("price-doubles", "price-halves")
    }
    assert prices == {"price-doubles": 2.0, "price-halves": 0.5}
    lost = [p for p, skill in before[MOST_USED].skills.items() if after["degrades"][MOST_USED].skills[p] < skill]
    assert lost == ["exploring"]
    assert set(after["withdrawn"]) == set(before) - {SPECIALIST}
    assert set(after["arrives"]) == set(before) | {NEWCOMER}
    better = [name for name, model in after["improves"].items() if model != before[name]]
    assert better == ["scripted-medium-c"]


def test_the_router_and_the_fold_follow_prices_withdrawals_and_arrivals():
    doubled = sojourn_told("price-doubles")
    price = doubled.router.world.registry.models[STRONGEST].input_usd
    assert price == pytest.approx(2 * sojourn_told("none").router.world.registry.models[STRONGEST].input_usd)
    assert SPECIALIST not in sojourn_told("withdrawn").router.world.registry.models
    assert NEWCOMER in sojourn_told("arrives").router.world.registry.models
    assert doubled.fold.world is doubled.router.world


@pytest.mark.parametrize("name", ["degrades", "improves", "none"])
def test_nobody_is_told_of_skills(name):
    untold = make("sojourn-warm", BEFORE, BEFORE, seed=SEED)
    assert isinstance(untold, Sojourn)
    assert sojourn_told(name).journal.position() == untold.journal.position()


def test_callers_ask_for_another_cost_weight():
    sojourn = sojourn_told("cost-weight-quadruples")
    BEFORE.play(BEFORE.tasks(1, seed=SEED)[0], sojourn)
    decisions = sojourn.journal.read(0, bodies=frozenset({"decision"}))
    assert {record.decision.inputs.cost_weight for record in decisions} == {4.0}


def test_who_knows_another_cost_weight_has_met_it_before_its_first_episode(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.arena.cache.folder", lambda: tmp_path)
    job = Job("babyai-small", "cost-weight-quarters", "sojourn-cold", SEED, before=2, after=3)
    assert job.reference == job._replace(before=0, after=5)
    for played in (job, job.reference):
        play(played)
    own, knowing = load(job), load(job.reference)
    assert len(own) == len(knowing) == 5
    assert own[0].utility == own[0].score - 0.25 * own[0].usd


def test_rivals_are_told_what_is_on_offer():
    withdrawn, arrived = told("linucb-turn", "withdrawn"), told("linucb-turn", "arrives")
    assert isinstance(withdrawn, PerTurn)
    assert isinstance(arrived, PerTurn)
    assert SPECIALIST not in withdrawn.offered
    assert NEWCOMER in arrived.offered
    early = make("linucb-turn", BEFORE, CHANGES["arrives"].after(BEFORE), seed=SEED)
    assert isinstance(early, PerTurn)
    assert NEWCOMER not in early.offered


@pytest.mark.parametrize("policy", ["sojourn-warm", "heuristic", "linucb-turn", "per-turn"])
def test_a_withdrawn_model_serves_no_more_turns(policy):
    after = CHANGES["withdrawn"].after(BEFORE)
    chooser = make(policy, BEFORE, after, seed=SEED)
    for task in BEFORE.tasks(5, seed=SEED):
        BEFORE.play(task, chooser)
    tell(policy, chooser, BEFORE, after, cost_weight=1.0)
    served = {model for task in after.tasks(10, seed=SEED)[5:] for model in after.play(task, chooser).served}
    assert served
    assert SPECIALIST not in served


def test_a_newcomer_gets_turns_of_a_learner():
    after = CHANGES["arrives"].after(BEFORE)
    chooser = make("sojourn-cold", BEFORE, after, seed=SEED)
    early = {model for task in BEFORE.tasks(5, seed=SEED) for model in BEFORE.play(task, chooser).served}
    tell("sojourn-cold", chooser, BEFORE, after, cost_weight=1.0)
    late = {model for task in after.tasks(15, seed=SEED)[5:] for model in after.play(task, chooser).served}
    assert NEWCOMER not in early
    assert NEWCOMER in late


class Recorder:
    """Keeps what it is told; has an episode's own state as Sojourn has."""

    def __init__(self) -> None:
        self._episode_id = ""
        self.outcomes: list[tuple[str, float]] = []

    def begin(self, task: Task) -> None:
        self._episode_id = str(task.index)

    def choose(self, view: TurnView) -> str:
        return STRONGEST

    def observe(self, facts: TurnFacts) -> None: ...

    def end(self, score: float, usd: float) -> None:
        self.outcomes.append((self._episode_id, score))


def outcomes_under(fault: Fault, count: int) -> list[tuple[str, float]]:
    recorder = Recorder()
    chooser = Faulty(recorder, fault)
    for task in BEFORE.tasks(count, seed=SEED):
        chooser.begin(task)
        chooser.end(1.0, 0.0)
    return recorder.outcomes


def test_late_outcomes_reach_the_episode_that_they_belong_to():
    assert outcomes_under(Fault(delay_episodes=3), 5) == [("0", 1.0), ("1", 1.0)]


def test_a_share_of_outcomes_is_lost_or_turned_around():
    assert 0.75 < len(outcomes_under(Fault(lost_share=0.2), 1000)) / 1000 < 0.85
    poisoned = outcomes_under(Fault(poisoned_share=0.05), 1000)
    assert len(poisoned) == 1000
    assert 0.03 < sum(score == 0.0 for _, score in poisoned) / 1000 < 0.07
    assert outcomes_under(Fault(), 3) == [("0", 1.0), ("1", 1.0), ("2", 1.0)]


def test_sojourn_learns_late_outcomes_under_their_own_episodes():
    chooser = make("sojourn-cold", BEFORE, BEFORE, seed=SEED)
    assert isinstance(chooser, Sojourn)
    late = Faulty(chooser, Fault(delay_episodes=2))
    for task in BEFORE.tasks(4, seed=SEED):
        BEFORE.play(task, late)
    outcomes = chooser.journal.read(0, bodies=frozenset({"outcome"}))
    assert [outcome.episode_id for outcome in outcomes] == [f"{SEED}-0", f"{SEED}-1"]
    assert chooser.fold.counts.joins["learned"] == 2


class Attentive:
    """A bandit that keeps how many turns each lesson had."""

    def __init__(self) -> None:
        self.turns: list[int] = []

    def pick(self, context: Context, offered: Sequence[str]) -> str:
        return offered[0]

    def learn(self, turns: Sequence[Turn], utility: float) -> None:
        self.turns.append(len(turns))


def test_a_rival_learns_late_outcomes_with_the_turns_of_their_own_episodes():
    bandit = Attentive()
    late = Faulty(PerTurn(bandit, BEFORE.model_names, cost_weight=1.0), Fault(delay_episodes=2))
    turns = [BEFORE.play(task, late).turns for task in BEFORE.tasks(4, seed=SEED)]
    assert bandit.turns == turns[:2]
    assert len(set(turns)) == 4, "episodes of one length would prove nothing"


def test_recovery_is_the_first_window_within_a_tenth():
    knowing = [1.0] * 10
    assert moving_means([0.0, 1.0, 2.0], 2) == [0.5, 1.5]
    assert recovery([0.0] * 5 + [1.0] * 5, knowing, window=2) == 7
    assert recovery([0.9] * 10, knowing, window=2) == 2
    assert recovery([0.8] * 10, knowing, window=2) is None
    assert recovery([-1.0] * 3, [-1.0] * 3, window=2) == 2, "also where the knowing policy's utility is negative"


def test_a_lasting_recovery_comes_after_the_last_window_behind():
    knowing = [1.0] * 6
    assert lasting_recovery([1.0, 1.0, 0.0, 1.0, 1.0, 1.0], knowing, window=2) == 5
    assert lasting_recovery(knowing, knowing, window=2) == 2
    assert lasting_recovery([1.0, 1.0, 1.0, 1.0, 1.0, 0.0], knowing, window=2) is None
    assert lasting_recovery([1.0], [1.0], window=2) is None


def test_detection_needs_half_of_the_wanted_share():
    shares = [0.0, 0.0, 0.4, 0.4]
    assert detection(shares, 0.8, window=2) == 4
    assert detection(shares, 0.4, window=2) == 3
    assert detection(shares, 1.0, window=2) is None
    assert detection(shares, 0.0, window=2) is None


def test_seeds_that_never_got_there_are_counted_apart():
    assert episodes([100, 200, None]) == "150 (2/3)"
    assert episodes([None]) == "never (0/1)"
    assert blocks([[1.0] * 60, [0.0] * 60]) == [0.5, 0.5]


def test_a_job_leaves_a_file_and_repeats_itself(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmarks.arena.cache.folder", lambda: tmp_path)
    job = Job("babyai-small", "arrives", "sojourn-cold", SEED, 4, 4)
    path = job.path
    play(job)
    first = load(job)
    path.unlink()
    play(job)
    assert load(job) == first
    assert len(first) == 8
    assert all(episode.watched_share == 0.0 for episode in first[:4])


def test_references():
    job = Job("babyai-small", "late", "per-turn", SEED, 4, 4)
    assert job.reference == job._replace(change="none")
    assert job._replace(change="improves").reference.policy == KNOWING
