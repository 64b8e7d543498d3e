"""What becomes of each ended episode: learned once, or counted with the reason why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from benchmarks.memory import resident_mib
from sojourn.v1 import journal_pb2, router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.errors import EpisodeEnded
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import Fold
from sojourn_server.policy.learned import usual_score
from tests.learner.workshop import HOUR_MS, Workshop, configured, lesson, predictions, world_at

Open = Callable[..., Workshop]
DAY_MS = 24 * HOUR_MS
RECORDED, DUPLICATE, LATE = (
    router_pb2.REPORT_STATE_RECORDED,
    router_pb2.REPORT_STATE_DUPLICATE,
    router_pb2.REPORT_STATE_LATE,
)


def unmoved(workshop: Workshop) -> bool:
    """True if nothing was learned: the newest version predicts what the first did."""
    newest = workshop.settle()
    return predictions(newest) == predictions(workshop.audience.published_versions[0])


def test_an_outcome_is_learned_and_moves_the_predictions(workshop: Workshop):
    workshop.play("e", 1)
    assert workshop.joins() == {"learned": 1}
    assert not unmoved(workshop)
    (join,) = workshop.audience.joins
    assert (join.state, join.cohort) == ("learned", pb.COHORT_LEARNED)


def test_the_same_outcome_again_is_a_duplicate_and_learned_once(workshop: Workshop):
    workshop.decide("e", tool_type="search")
    answers = [workshop.end("e", 0.5) for _ in range(3)]
    assert [a.state for a in answers] == [RECORDED, DUPLICATE, DUPLICATE]
    assert {a.joined_decisions for a in answers} == {1}
    assert workshop.joins() == {"learned": 1, "turns_unreported": 1}


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"score": None, "status": pb.OUTCOME_STATUS_ABANDONED}, "abandoned"),
        ({"score": 0.5, "status": pb.OUTCOME_STATUS_ABANDONED}, "learned"),
        ({"score": None, "status": pb.OUTCOME_STATUS_FAILED}, "learned"),
    ],
)
def test_an_abandoned_episode_is_learned_only_by_its_score(workshop: Workshop, fields: dict[str, Any], state: str):
    workshop.decide("e", tool_type="search")
    workshop.end("e", **fields)
    assert workshop.joins()[state] == 1
    assert unmoved(workshop) == (state == "abandoned")


def test_an_outcome_without_decisions_is_recorded_and_says_that_it_joins_none(workshop: Workshop):
    answer = workshop.end("nobody's")
    assert (answer.state, answer.joined_decisions) == (RECORDED, 0)
    assert workshop.joins() == {"no_decisions": 1}
    assert unmoved(workshop)


def test_earlier_attempts_are_never_learned(open_workshop: Open):
    """Two routers alike, one of which met a provider's failure first: the surviving attempt alone teaches."""
    workshop = open_workshop()
    failed = workshop.decide("e", tool_type="search").model
    served = workshop.decide("e", tool_type="search", attempt=1).model
    workshop.end("e", 1.0)
    statistics = workshop.settle().statistics
    assert statistics.decisions == 1
    assert set(statistics.turns_by_model) == {served}
    assert failed != served


@pytest.mark.parametrize(
    ("mode", "report", "learn_served", "learned"),
    [
        ("LIVE", "chosen", False, 1),
        ("LIVE", "other", False, 0),
        ("LIVE", "other", True, 0),
        ("LIVE", "nothing", False, 1),
        ("HEURISTIC", "other", False, 0),
        ("HEURISTIC", "nothing", False, 1),
        ("SHADOW", "chosen", False, 1),
        ("SHADOW", "other", False, 0),
        ("SHADOW", "other", True, 1),
        ("SHADOW", "stranger", True, 0),
        ("SHADOW", "nothing", False, 0),
    ],
)
def test_what_was_served_decides_what_is_learned(
    open_workshop: Open, mode: Any, report: str, learn_served: bool, learned: int
):
    workshop = open_workshop(configured(mode=mode, lesson_settings=lesson(learn_served_in_shadow=learn_served)))
    chosen = workshop.decide("e", tool_type="search").model
    other = next(name for name in workshop.router.world.registry.models if name != chosen)
    served = {"chosen": chosen, "other": other, "stranger": "a model of the caller's own"}
    if report in served:
        workshop.report("e", 0, served_model=served[report])
    workshop.end("e", 1.0)
    assert workshop.settle().statistics.decisions == learned
    assert unmoved(workshop) == (learned == 0)


def test_in_shadow_the_sojourn_follows_the_model_that_served(open_workshop: Open):
    workshop = open_workshop(configured(mode="SHADOW"))
    chosen = workshop.decide("e", 0, tool_type="search").model
    other = next(name for name in workshop.router.world.registry.models if name != chosen)
    workshop.report("e", 0, served_model=other)
    held = workshop.decide("e", 1, tool_type="search")
    assert (held.incumbent, held.model, held.reason) == (other, other, pb.REASON_HELD)


def test_the_heuristics_mode_moves_the_level_and_keeps_all_advantages(open_workshop: Open):
    """Forty failures of the table's choice: what is expected of every model falls by the same amount."""
    workshop = open_workshop(configured(mode="HEURISTIC"))
    before = workshop.audience.published_versions[-1]
    for i in range(40):
        workshop.decide(f"e{i}", tool_type="search", prompt_tokens=4_000)
        workshop.end(f"e{i}", 0.0)
    after = workshop.settle()
    assert usual_score(after.statistics, "t") < usual_score(before.statistics, "t") - 0.3
    shared, actions = "shared |c turn:0 |t t_search", ["|m m_gpt-5 c_large:0.5", "|m m_gpt-oss-120b c_small:0.5"]
    assert after.predict(shared, actions)[0] == before.predict(shared, actions)[0]


def test_an_explore_share_lets_the_heuristics_mode_learn_advantages(open_workshop: Open):
    exploring = configured().policies["default"].choice.model_copy(update={"explore_share": 0.6})
    workshop = open_workshop(configured(mode="HEURISTIC", choice=exploring))
    for i in range(40):
        workshop.decide(f"e{i}", tool_type="search", prompt_tokens=4_000)
        workshop.end(f"e{i}", 0.0)
    before, after = workshop.audience.published_versions[0], workshop.settle()
    actions = ["|m m_gpt-5 c_large:0.5", "|m m_gpt-oss-120b c_small:0.5"]
    (a, b), (c, d) = (k.predict("shared |c turn:0 |t t_search", actions)[0] for k in (before, after))
    assert abs((a - b) - (c - d)) > 1e-3


# --- Windows ---


@pytest.mark.parametrize(("expired_score", "state"), [(None, "expired"), (0.25, "learned")])
def test_a_window_that_passes_ends_the_episode_and_teaches_the_default_score_if_there_is_one(
    open_workshop: Open, expired_score: float | None, state: str
):
    workshop = open_workshop(configured(lesson_settings=lesson(expired_score=expired_score)))
    workshop.decide("e", tool_type="search")
    workshop.now_ms += DAY_MS
    workshop.learner.wake()
    workshop.wait_for(lambda: workshop.audience.expired_episodes == ["e"])
    assert workshop.joins()[state] == 1
    assert unmoved(workshop) == (expired_score is None)
    with pytest.raises(EpisodeEnded):
        workshop.decide("e", 1, tool_type="search")


def test_an_outcome_after_the_window_is_recorded_as_late_and_never_learned(workshop: Workshop):
    workshop.decide("e", tool_type="search")
    workshop.now_ms += DAY_MS
    workshop.learner.wake()
    workshop.wait_for(lambda: workshop.audience.expired_episodes == ["e"])
    assert [workshop.end("e", 1.0).state for _ in range(2)] == [LATE, DUPLICATE]
    assert workshop.joins() == {"expired": 1, "late": 1}
    assert unmoved(workshop)
    late = workshop.journal.episode("default", "e")[-1]
    assert late.outcome.late
    assert late.outcome.request.score == 1.0


def test_facts_of_a_turn_after_the_end_are_recorded_as_late(workshop: Workshop):
    workshop.decide("e", tool_type="search")
    workshop.end("e", 1.0)
    assert [workshop.report("e", 0, error=pb.SEVERITY_HIGH).state for _ in range(2)] == [LATE, DUPLICATE]


def test_an_episode_within_its_window_stays_open(workshop: Workshop):
    """Windows count from the first record; an older episode's end does not end a younger one."""
    workshop.decide("old", tool_type="search")
    workshop.now_ms += 20 * HOUR_MS
    workshop.decide("young", tool_type="search")
    workshop.now_ms += 5 * HOUR_MS
    workshop.learner.wake()
    workshop.wait_for(lambda: workshop.audience.expired_episodes != [])
    assert workshop.audience.expired_episodes == ["old"]
    assert workshop.decide("young", 1, tool_type="search").incumbent != ""


def test_windows_pass_while_the_router_is_down_as_well(workshop: Workshop):
    for i in range(80):
        workshop.decide(f"e{i}", tool_type="search")
    workshop.end("e7", 1.0)
    workshop.close()
    workshop.now_ms += DAY_MS
    workshop.open()
    workshop.wait_for(lambda: len(workshop.audience.expired_episodes) == 79)
    assert workshop.joins()["expired"] == 79


# --- Exactly once ---


def test_every_outcome_is_learned_exactly_once_across_restarts(workshop: Workshop):
    """Restarts right after outcomes, learned or not yet; the count is of acknowledged outcomes."""
    for i in range(12):
        workshop.play(f"e{i}", seed=i)
        if i % 4 == 1:
            workshop.restart()
    assert workshop.joins() == {"learned": 12}
    workshop.restart()
    assert workshop.joins() == {"learned": 12}


class Outage(MemoryJournal):
    """A journal whose episodes cannot be read for a while."""

    def __init__(self) -> None:
        super().__init__()
        self.away = False
        self.refused = 0

    def episode(self, policy: str, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """As the journal in memory, unless away."""
        from sojourn_server.errors import JournalUnavailable

        if self.away:
            self.refused += 1
            raise JournalUnavailable("away")
        return super().episode(policy, episode_id)


def test_an_outcome_that_could_not_be_read_at_once_is_learned_when_the_journal_is_back(open_workshop: Open):
    """The learner waits; it does not pass the outcome by."""
    journal = Outage()
    workshop = open_workshop(journal=journal)
    workshop.decide("e", tool_type="search")
    journal.away = True
    workshop.end("e", 1.0)
    workshop.wait_for(lambda: journal.refused > 2)
    journal.away = False
    newest = workshop.settle()
    assert newest.statistics.joins["learned"] == 1
    fold = Fold.prior("default", world_at(journal, journal.position()))
    fold.catch_up(journal, journal.position())
    assert fold.counts == newest.statistics


def test_an_absurd_turn_index_is_learned_like_any_other(workshop: Workshop):
    workshop.decide("e", 2**31 - 1, tool_type="search")
    workshop.end("e", 1.0)
    assert workshop.joins()["learned"] == 1


def test_counting_on_and_on_takes_no_more_memory_than_the_counts(workshop: Workshop):
    """Every episode changes every count: 500 phases here, 500 times."""
    workshop.play("e", 1)
    workshop.settle()
    journal = workshop.journal
    (outcome,) = journal.read(0, bodies={"outcome"})
    fold = Fold.prior("default", world_at(journal, outcome.position))
    for i in range(500):
        fold.counts.evidence_by_phase[f"{i:0100}"].decisions = 1.0
    fold.take(outcome, journal)
    before_mib = resident_mib()
    for _ in range(500):
        assert fold.take(outcome, journal).state == "learned"
    assert resident_mib() - before_mib < 8
