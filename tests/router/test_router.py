"""The way of a request without the wire: one episode in cache and journal, one answer per key, always an answer."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from sojourn.v1 import router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.config import ChoiceSettings, Config, PolicyConfig
from sojourn_server.episodes import Episodes
from sojourn_server.errors import JournalUnavailable, PayloadConflict, SojournError
from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.policy.learned import Knowledge
from sojourn_server.router import Call, Router
from sojourn_server.world import load_world
from tests.learner.workshop import POLICY, SECRET, Workshop, configured
from tests.policy.play import taught

Open = Callable[..., Workshop]
SHARE = ChoiceSettings().cacheable_share
RACERS = 16


def host(journal: Journal, *, knowledge: Knowledge | None = None, secret: bytes = SECRET) -> Router:
    """A decider with a cache of its own over a journal; version 0 decides."""
    config = Config(policies={POLICY: PolicyConfig(choice=ChoiceSettings(prior_width=0.5))})
    router = Router(journal, Episodes(journal, capacity=100), world=load_world(journal, config, 0), secret=secret)
    router.use(POLICY, knowledge or taught())
    return router


def asked(episode_id: str, turn_index: int = 0, **fields: Any) -> router_pb2.DecideRequest:
    context = pb.Context(tool_type=fields.pop("tool_type", "search"))
    return router_pb2.DecideRequest(episode_id=episode_id, turn_index=turn_index, context=context, **fields)


# --- The episode ---

steps = st.lists(
    st.tuples(
        st.sampled_from(["decide", "attempt", "gap", "report", "report older", "piggy-backed", "stay"]),
        st.sampled_from(["search", "code", "plan"]),
        st.sampled_from(["", "gpt-5", "kimi-k2", "a stranger"]),
        st.integers(0, 400_000),
    ),
    max_size=12,
)


@settings(max_examples=60)
@given(steps)
def test_the_cached_episode_is_always_the_one_that_the_journal_would_give(script: list[tuple[str, str, str, int]]):
    """Whatever decisions, attempts, gaps, reports and idle times come in which order."""
    journal = MemoryJournal()
    episodes, router = Episodes(journal, capacity=10), host(journal)
    router._episodes = episodes
    turn, attempt, now_ms = 0, 0, 1_000_000
    router.decide(asked("e"), Call(now_ms))
    for kind, tool_type, served, idle_ms in script:
        now_ms += idle_ms
        facts = pb.TurnFacts(served_model=served, error=pb.SEVERITY_LOW, usage=pb.Usage(input_tokens=idle_ms // 100))
        if kind.startswith("report"):
            back = 0 if kind == "report" else min(turn, 2)
            request = router_pb2.ReportTurnRequest(episode_id="e", turn_index=turn - back, facts=facts)
            request.facts.decided_by_client = True
            _tolerated(lambda r=request, at=now_ms: router.report_turn(r, Call(at)))  # type: ignore[misc]  # bound now
        else:
            attempt = attempt + 1 if kind == "attempt" else 0
            turn += {"attempt": 0, "gap": 3}.get(kind, 1)
            extra: dict[str, Any] = {"previous_turn": facts} if kind == "piggy-backed" else {}
            if kind == "stay":
                extra["constraints"] = pb.Constraints(must_stay_because="open tool call")
            request_ = asked("e", turn, attempt=attempt, tool_type=tool_type, **extra)
            _tolerated(lambda r=request_, at=now_ms: router.decide(r, Call(at)))  # type: ignore[misc]  # bound now
        cached = episodes.get(POLICY, "e", cacheable_share=SHARE)
        episodes.forget(POLICY, "e")
        assert cached == episodes.get(POLICY, "e", cacheable_share=SHARE)
        episodes.put(POLICY, "e", cached)


def _tolerated(call: Callable[[], object]) -> None:
    """Refusals are answers too: an eighth attempt has nobody left, a turn's facts may be known."""
    try:
        call()
    except JournalUnavailable:
        raise
    except SojournError:
        pass


def test_an_episode_goes_on_unchanged_after_it_fell_out_of_the_cache(open_workshop: Open):
    kept, evicted = open_workshop(), open_workshop()
    for workshop in (kept, evicted):
        workshop.now_ms = 5_000
    answers = []
    for workshop in (kept, evicted):
        given_answers = []
        for t, kind in enumerate(("search", "code", "search", "code", "search")):
            given_answers.append(workshop.decide("e", t, tool_type=kind, prompt_tokens=20_000))
            if workshop is evicted:
                workshop.episodes.forget(POLICY, "e")
        answers.append(given_answers)
    assert answers[0] == answers[1]


# --- Keys ---


def test_of_many_hosts_racing_for_one_turn_one_wins_and_all_give_its_answer():
    """Each host has a cache and draws of its own; the journal alone decides who was first."""
    journal = MemoryJournal()
    hosts = [host(journal, secret=bytes([i])) for i in range(RACERS)]
    start = threading.Barrier(RACERS)

    def race(router: Router) -> list[str]:
        start.wait(10)
        return [router.decide(asked(f"e{i}"), Call(1_000 + i)).SerializeToString().hex() for i in range(20)]

    with ThreadPoolExecutor(RACERS) as threads:
        rounds = list(zip(*threads.map(race, hosts), strict=True))
    assert {len(set(answers)) for answers in rounds} == {1}
    assert len(journal.read(0, bodies={"decision"})) == len(rounds)
    assert len({answers[0] for answers in rounds}) > 1


def test_a_repeat_gets_its_answer_even_after_its_candidate_left_the_registry(workshop: Workshop):
    """A name was enough at first, so it is enough for the repeat."""
    only = [pb.Candidate(model="kimi-k2"), pb.Candidate(model="gpt-5")]
    first = workshop.decide("e", candidates=only)
    workshop.admin.remove_model("kimi-k2", workshop.call())
    assert workshop.decide("e", candidates=only) == first


def test_the_order_of_a_requests_maps_does_not_make_it_another_payload(workshop: Workshop):
    first = workshop.decide("e", features={"a": 1.0, "b": 2.0})
    assert workshop.decide("e", features={"b": 2.0, "a": 1.0}) == first
    with pytest.raises(PayloadConflict):
        workshop.decide("e", features={"b": 2.0, "a": 1.5})


# --- Cohorts ---


def test_an_episode_keeps_its_cohort_whatever_mode_and_share_become(open_workshop: Open):
    workshop = open_workshop(configured(live_share=1.0))
    first = workshop.decide("e", 0)
    workshop.admin.set_live_share(POLICY, 0.0, workshop.call())
    workshop.admin.set_mode(POLICY, pb.MODE_HEURISTIC, workshop.call())
    assert workshop.decide("e", 1).cohort == first.cohort == pb.COHORT_LEARNED
    assert workshop.decide("f", 0).cohort == pb.COHORT_HEURISTIC


def test_episodes_of_one_assignment_key_share_a_cohort(open_workshop: Open):
    choice = ChoiceSettings(control_share=0.2)
    workshop = open_workshop(configured(choice=choice, live_share=0.5))
    cohorts = Counter(
        (key, workshop.decide(f"{key}{i}", assignment_key=f"tenant{key}").cohort) for key in range(12) for i in range(5)
    )
    assert len(cohorts) == 12
    assert len({cohort for _, cohort in cohorts}) == 3


# --- Faults ---


class Broken:
    """Knowledge whose predictions fail, or are no numbers."""

    def __init__(self, fault: Exception | float) -> None:
        self.version = 7
        self.statistics = taught().statistics
        self._fault = fault

    def predict(self, shared: str, actions: Any) -> tuple[list[float], float]:
        """Fails as it was told to."""
        if isinstance(self._fault, Exception):
            raise self._fault
        return [self._fault] * len(actions), 1.0


@pytest.mark.parametrize("fault", [RuntimeError("inside"), float("nan"), float("inf")], ids=str)
def test_an_inner_fault_keeps_the_incumbent_or_takes_the_heuristics_choice_and_is_never_learned(
    open_workshop: Open, fault: Exception | float
):
    workshop = open_workshop()
    incumbent = workshop.decide("going", 0, tool_type="search").model
    workshop.router.use(POLICY, Broken(fault))
    with capture_logs() as logs:
        kept, fresh = workshop.decide("going", 1, tool_type="code"), workshop.decide("new", 0, tool_type="reasoning")
    assert [entry["event"] for entry in logs if entry["log_level"] == "error"] == ["choice_failed"] * 2
    for answer, model in ((kept, incumbent), (fresh, "gpt-5")):
        assert (answer.model, answer.reason, answer.propensity) == (model, pb.REASON_INNER_FAULT, 1.0)
        assert not answer.decision_point
    assert [r.decision.learnable for r in workshop.decisions()] == [True, False, False]
    workshop.end("new", 1.0)
    assert workshop.joins() == {"nothing_learnable": 1, "turns_unreported": 1}


class Closed(MemoryJournal):
    """A journal that is away for writing, reading, or both."""

    def __init__(self) -> None:
        super().__init__()
        self.away: set[str] = set()

    def append(self, *args: Any, **options: Any) -> Any:
        """As the journal in memory, unless away."""
        if "append" in self.away:
            raise JournalUnavailable("away")
        return super().append(*args, **options)

    def episode(self, *args: Any) -> Any:
        """As the journal in memory, unless away."""
        if "episode" in self.away:
            raise JournalUnavailable("away")
        return super().episode(*args)


@pytest.mark.parametrize("away", [{"append"}, {"episode"}, {"append", "episode"}], ids=lambda a: "+".join(sorted(a)))
def test_while_the_journal_is_away_all_hosts_give_the_same_answer_from_the_request_alone(away: set[str]):
    """Whatever they know, draw or remember of the episode: the incumbent that the request names, else the table's."""
    journal = Closed()
    here, there = host(journal), host(journal, secret=b"another", knowledge=Broken(0.9))
    here.decide(asked("known"), Call(1_000))
    journal.away = away
    requests = [
        asked("known", 1, tool_type="code"),
        asked("new", tool_type="reasoning"),
        asked("told", 4, previous_turn=pb.TurnFacts(served_model="kimi-k2")),
    ]
    for request, model in zip(requests, ("gpt-5", "gpt-5", "kimi-k2"), strict=True):
        if away == {"episode"} and request.episode_id == "known":
            here.decide(asked("other"), Call(1_000))
            here._episodes.forget(POLICY, "known")
        one, other = (h.decide(request, Call(at)) for h, at in ((here, 2_000), (there, 999_000)))
        assert one == other
        assert (one.model, one.reason, one.propensity) == (model, pb.REASON_JOURNAL_UNAVAILABLE, 1.0)
        assert (one.decision_id, one.cohort) == ("", pb.COHORT_UNSPECIFIED)
    journal.away = set()
    assert here.decide(asked("new", tool_type="reasoning"), Call(3_000)).reason == pb.REASON_FIRST_TURN


def test_an_outcome_is_refused_while_the_journal_is_away_and_taken_when_it_is_back():
    journal = Closed()
    router = host(journal)
    router.decide(asked("e"), Call(1_000))
    journal.away = {"append"}
    outcome = router_pb2.ReportOutcomeRequest(episode_id="e", score=1.0)
    with pytest.raises(JournalUnavailable):
        router.report_outcome(outcome, Call(2_000))
    journal.away = set()
    assert router.report_outcome(outcome, Call(3_000)).state == router_pb2.REPORT_STATE_RECORDED


def test_a_changed_key_of_the_draws_gives_no_propensities_outside_of_zero_to_one():
    """What earlier choices tell of the draw is then untrue; the incumbent stays, and nothing is learned of the turn."""
    journal, flat = MemoryJournal(), taught()
    tomorrow, reasons = Call(86_400_000), set()  # when the incumbent's cache is gone, so the phase is decided again
    for number in range(40):
        name = f"e{number}"
        host(journal, knowledge=flat).decide(asked(name), Call(0))
        host(journal, knowledge=flat).decide(asked(name, 1, tool_type="code"), Call(1))
        answer = host(journal, knowledge=flat, secret=b"another").decide(asked(name, 2, tool_type="code"), tomorrow)
        assert 0 < answer.propensity <= 1
        reasons.add(answer.reason)
    assert reasons == {pb.REASON_HELD, pb.REASON_CACHE_EXPIRED, pb.REASON_INNER_FAULT}  # held: it has no cache
