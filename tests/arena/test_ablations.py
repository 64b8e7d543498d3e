"""Each ablation takes away what it says, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise

import pytest

from benchmarks.arena import tables
from benchmarks.arena.ablations import COST_WEIGHTS, SeeingRouter, cost_weight_of, variant
from benchmarks.arena.contestants import contestants, entry
from benchmarks.arena.environments import TUNING_SEEDS, by_name
from benchmarks.arena.sojourn import Sojourn, settings
from benchmarks.arena.tables import table_at
from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.demo.play import EpisodeResult

LARGE = by_name("babyai-large")
SEED = TUNING_SEEDS[0]
TASKS = LARGE.tasks(4, seed=SEED)
HAND_TABLE = dict(zip(LARGE.tool_types, LARGE.model_names, strict=False))


@cache
def _play(name: str) -> tuple[list[EpisodeResult], list[journal_pb2.DecisionRecord]]:
    """Some episodes of a contestant, and its decisions in order."""
    chooser = entry(LARGE, name).make(LARGE, SEED, ())
    assert isinstance(chooser, Sojourn)
    episodes = [LARGE.play(task, chooser) for task in TASKS]
    records = chooser.journal.read(0, bodies=frozenset({"decision"}), limit=10_000)
    return episodes, [record.decision for record in records]


def _draws(decisions: Sequence[journal_pb2.DecisionRecord]) -> tuple[int, int]:
    """How many draws, and how many pairs of episode and phase, there were at decision points."""
    opened = [d for d in decisions if d.answer.decision_point]
    draws = {(d.request.episode_id, d.inputs.draw) for d in opened}
    return len(draws), len({(d.request.episode_id, d.answer.phase) for d in opened})


def test_a_router_that_is_shown_turns_as_they_are_decides_as_any_other():
    policy = settings(dict(LARGE.table), LARGE.strongest, cost_weight=1.0)

    def same(*args: object, **kwargs: object) -> SeeingRouter:
        return SeeingRouter(*args, sees=lambda turn: turn, **kwargs)

    seeing = Sojourn(LARGE.registry, policy, seed=SEED, make_router=same)
    assert [LARGE.play(task, seeing) for task in TASKS] == _play("sojourn-warm")[0]


def test_every_turn_is_a_decision_point_and_draws_are_still_per_phase():
    _, usual = _play("sojourn-warm")
    assert not all(decision.answer.decision_point for decision in usual)
    for name in ("sojourn-every-turn", "sojourn-free"):
        _, decisions = _play(name)
        assert all(decision.answer.decision_point for decision in decisions)
        draws, phases = _draws(decisions)
        assert draws == phases < len(decisions)


def test_a_fresh_draw_at_each_decision_point_knows_nothing_of_earlier_ones():
    _, decisions = _play("sojourn-fresh-draws")
    opened = [decision for decision in decisions if decision.answer.decision_point]
    draws, phases = _draws(decisions)
    assert draws == len(opened) > phases
    assert {(d.inputs.surviving.low, d.inputs.surviving.high) for d in opened} <= {(0.0, 0.0), (0.0, 1.0)}


def _warmth(name: str) -> list[set[float]]:
    """By decision point after an episode's first turn: the warm tokens of candidates that have a cache."""
    cached = {model.name for model in LARGE.models if model.prices.ttl_s}
    return [
        {
            tokens
            for candidate, tokens in zip(d.inputs.candidates, d.inputs.warm_tokens, strict=True)
            if candidate in cached
        }
        for d in _play(name)[1]
        if d.inputs.incumbent and d.answer.decision_point
    ]


def test_without_a_price_of_switches_all_caches_look_alike():
    assert any(len(warm) > 1 for warm in _warmth("sojourn-warm"))
    assert all(len(warm) == 1 and warm != {0.0} for warm in _warmth("sojourn-no-switch-price"))


def test_a_flat_penalty_takes_the_place_of_the_price():
    assert all(len(warm) == 1 for warm in _warmth("sojourn-flat:0.03"))
    few, many = (sum(e.switches for e in _play(f"sojourn-flat:{size}")[0]) for size in ("0.3", "0"))
    assert few < many


def test_errors_are_withheld_from_features_and_stay_in_the_facts():
    episodes, decisions = _play("sojourn-no-errors")
    assert any(any(episode.erred) for episode in episodes)
    assert {(d.inputs.error_count, d.inputs.last_error) for d in decisions} == {(0, types_pb2.SEVERITY_UNSPECIFIED)}
    assert any(d.request.previous_turn.error > types_pb2.SEVERITY_NONE for d in decisions)


def test_the_router_is_told_what_is_left_of_a_budget():
    episodes, decisions = _play("sojourn-budget:0.05")
    left = {d.request.turn_index: d.request.constraints.remaining_budget_usd for d in decisions[: episodes[0].turns]}
    assert left[0] == 0.05
    assert all(later <= earlier for earlier, later in pairwise(left.values()))
    assert left[episodes[0].turns - 1] < left[0]
    unlimited, _ = _play("sojourn-warm")
    assert sum(e.usd for e in episodes) < sum(e.usd for e in unlimited)


def test_each_episode_of_the_mixed_policy_has_a_cost_weight_of_its_own():
    _, decisions = _play("sojourn-mixed-weights")
    weights = {decision.request.episode_id: decision.inputs.cost_weight for decision in decisions}
    assert weights == {f"{SEED}-{task.index}": cost_weight_of(task) for task in TASKS}
    assert {cost_weight_of(task) for task in LARGE.tasks(100, seed=SEED)} == set(COST_WEIGHTS)


@pytest.fixture
def hand_table(monkeypatch: pytest.MonkeyPatch) -> None:
    """A table that is not fitted, since that takes long."""
    monkeypatch.setattr(tables, "hand_table", lambda environment: HAND_TABLE)


@pytest.mark.usefixtures("hand_table")
def test_a_table_that_is_all_right_is_the_hand_table():
    episodes, _ = _play("heuristic@right-4")
    pairs = {pair for episode in episodes for pair in zip(episode.tool_types, episode.served, strict=True)}
    assert pairs <= set(HAND_TABLE.items())
    assert len(pairs) > 1


@pytest.mark.usefixtures("hand_table")
def test_a_table_of_which_nothing_is_right_is_the_article_s():
    assert _play("heuristic@right-0")[0] == _play("heuristic")[0]
    assert _play("sojourn-warm@right-0")[0] == _play("sojourn-warm")[0]
    assert _play("sojourn-warm@inverted")[0] != _play("sojourn-warm")[0]


@pytest.mark.usefixtures("hand_table")
def test_tables_are_right_by_degrees_or_wrong():
    article, right = dict(LARGE.table), table_at(LARGE, "right-4")
    for count in range(5):
        table = table_at(LARGE, f"right-{count}")
        assert [table[tool] == right[tool] for tool in LARGE.tool_types] == [place < count for place in range(4)]
        assert [table[tool] for tool in LARGE.tool_types[count:]] == [article[t] for t in LARGE.tool_types[count:]]
    assert all(table_at(LARGE, "shuffled")[tool] != right[tool] for tool in LARGE.tool_types)
    assert table_at(LARGE, "inverted") == {t: {"small": "large", "large": "small"}[c] for t, c in article.items()}


def test_names_are_read_in_parts():
    assert variant("sojourn-flat:0.03") is not None
    assert variant("sojourn-flat") is None
    assert entry(LARGE, "random-matched:escalation").donor == "escalation"
    assert contestants(LARGE)["random-matched"].donor == "sojourn-warm"
    for nobody in ("sojourn-flat", "sojourn-fancy", "random-unmatched:escalation"):
        with pytest.raises(KeyError):
            entry(LARGE, nobody)
    with pytest.raises(KeyError):
        entry(LARGE, "sojourn-warm@perfect").make(LARGE, SEED, ())


def test_scaled_worlds_differ_in_prompts_and_caches_alone():
    assert by_name("babyai-x1").play(TASKS[0], contestants(LARGE)["random"].make(LARGE, SEED, ())) == by_name(
        "babyai-small"
    ).play(TASKS[0], contestants(LARGE)["random"].make(LARGE, SEED, ()))
    scaled = by_name("babyai-x4-read0.5")
    assert scaled.shape.prompt_tokens(3) == 4 * by_name("babyai-small").shape.prompt_tokens(3)
    assert {m.prices.read_multiplier for m in scaled.models if m.prices.ttl_s} == {0.5}
    (task,) = scaled.tasks(1, seed=SEED)
    assert task.level.models == {model.name: model for model in scaled.models}
    with pytest.raises(KeyError):
        by_name("babyai-huge")
