"""The whole service but its edge, driven by random steps against a small reference model (Hypothesis, stateful).

The model knows, per episode: which decisions were answered with what, which facts and which outcome stand, whether it
has ended. From that it says of every call what must come back. At the end the journal is folded anew: the published
policy must be the fold, and every outcome must have been counted once.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import mkdtemp
from typing import TypeVar

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.errors import EpisodeEnded, NoEligibleCandidate, PayloadConflict, TurnOutOfOrder, UnknownDecision
from sojourn_server.journal.sqlite import SqliteJournal
from tests.learner.workshop import HOUR_MS, Workshop, configured, replayed, same

T = TypeVar("T")
TOOL_TYPES = st.sampled_from(["search", "code", "reasoning", ""])
SEVERITIES = st.sampled_from([types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_LOW, types_pb2.SEVERITY_HIGH])
SCORES = st.sampled_from([0.0, 0.25, 1.0])
BACK = st.integers(0, 2)
PICK = st.integers(0, 59)
"""Picks among what there is. What is drawn must not depend on the service, whose threads keep times of their own."""
WINDOW_HOURS = 24


@dataclass
class Expected:
    """One episode as callers know it."""

    name: str
    opened_at_ms: int
    decisions: dict[tuple[int, int], tuple[str, router_pb2.DecideResponse]] = field(default_factory=dict)
    facts: dict[int, types_pb2.TurnFacts] = field(default_factory=dict)
    score: float | None = None
    may_have_expired: bool = False

    @property
    def newest(self) -> tuple[int, int]:
        """(turn, attempt) of the newest decision; before the first one."""
        return max(self.decisions, default=(-1, 0))

    @property
    def is_over(self) -> bool:
        """Whether an outcome was acknowledged."""
        return self.score is not None


class Service(RuleBasedStateMachine):
    """Random interleavings of everything callers and administrators do, with restarts in between."""

    steps_taken = 0  # over all runs
    decided = 0

    def __init__(self) -> None:
        super().__init__()
        self._directory = Path(mkdtemp(prefix="sojourn-machine-"))
        self._known: list[Expected] = []
        self._removed: set[str] = set()

    @initialize()
    def starts(self) -> None:
        """On an empty journal."""
        self._journal = SqliteJournal.open(self._directory)
        self._workshop = Workshop(self._directory / "snapshots", configured(), journal=self._journal)

    def teardown(self) -> None:
        """Everything is folded, once, and the fold is the published policy to the last bit."""
        try:
            published = self._workshop.settle()
            self._workshop.close()
            assert same(replayed(self._journal, published.version), published)
            joins = dict(published.statistics.joins)
            ended = sum(e.is_over and not e.may_have_expired for e in self._known)
            unsure = sum(e.may_have_expired for e in self._known)
            counted = sum(joins.get(state, 0) for state in ("learned", "no_decisions", "nothing_learnable"))
            assert ended <= counted <= ended + unsure
        finally:
            self._journal.close()
            shutil.rmtree(self._directory)

    @invariant()
    def counts(self) -> None:
        """Keeps the tally of steps."""
        Service.steps_taken += 1

    # --- Callers ---

    def _begin(self) -> Expected:
        """An episode that nobody has heard of."""
        self._known.append(Expected(f"episode-{len(self._known)}", self._workshop.now_ms))
        return self._known[-1]

    def _at(self, back: int) -> Expected:
        """The newest episode but `back`; steps meet few episodes, so that each sees many."""
        return self._known[max(len(self._known) - 1 - back, 0)] if self._known else self._begin()

    @rule(turns=st.integers(1, 3), tool_type=TOOL_TYPES, error=SEVERITIES)
    def begins(self, turns: int, tool_type: str, error: types_pb2.Severity.ValueType) -> None:
        """A new episode and its first turns."""
        known = self._begin()
        for turn in range(turns):
            self._decide(known, turn, 0, tool_type, error)

    @rule(back=BACK, ahead=st.integers(1, 3), tool_type=TOOL_TYPES, error=SEVERITIES)
    def decides(self, back: int, ahead: int, tool_type: str, error: types_pb2.Severity.ValueType) -> None:
        """The next turn, or one after a gap in which the client decided by itself."""
        known = self._at(back)
        self._decide(known, known.newest[0] + ahead, 0, tool_type, error)

    @rule(back=BACK, tool_type=TOOL_TYPES)
    def tries_again(self, back: int, tool_type: str) -> None:
        """The chosen model could not serve: another attempt at the same turn."""
        known = self._at(back)
        turn, attempt = known.newest
        if turn >= 0:
            self._decide(known, turn, attempt + 1, tool_type, types_pb2.SEVERITY_UNSPECIFIED)

    def _decide(
        self, known: Expected, turn: int, attempt: int, tool_type: str, error: types_pb2.Severity.ValueType
    ) -> None:
        fields = {"previous_turn": types_pb2.TurnFacts(error=error)} if error and turn and not attempt else {}
        try:
            answer = self._workshop.decide(known.name, turn, attempt=attempt, tool_type=tool_type, **fields)
        except EpisodeEnded:
            assert known.is_over or known.may_have_expired
            return
        except NoEligibleCandidate:
            assert attempt >= 2
            return
        assert not known.is_over
        assert 0.0 < answer.propensity <= 1.0
        assert answer.model not in self._removed
        earlier = {known.decisions[turn, a][1].model for a in range(attempt) if (turn, a) in known.decisions}
        assert answer.model not in earlier
        known.decisions[turn, attempt] = tool_type, answer
        Service.decided += 1

    @rule(back=BACK, pick=PICK)
    def repeats(self, back: int, pick: int) -> None:
        """Any decision again: the first answer; with another payload: a conflict."""
        known = self._at(back)
        if not known.decisions:
            return
        turn, attempt = _picked(sorted(known.decisions), pick)
        tool_type, first = known.decisions[turn, attempt]
        assert self._workshop.decide(known.name, turn, attempt=attempt, tool_type=tool_type) == first
        _refused(lambda: self._workshop.decide(known.name, turn, attempt=attempt, tool_type="other"), PayloadConflict)

    @rule(back=BACK)
    def looks_back(self, back: int) -> None:
        """A turn that was never seen and lies below the newest is refused."""
        known = self._at(back)
        unseen = set(range(known.newest[0])) - {turn for turn, _ in known.decisions}
        if unseen:
            _refused(lambda: self._workshop.decide(known.name, min(unseen)), TurnOutOfOrder, EpisodeEnded)

    @rule(back=BACK, error=SEVERITIES, pick=PICK)
    def reports_a_turn(self, back: int, error: types_pb2.Severity.ValueType, pick: int) -> None:
        """Facts of a decided turn: the first ones stand, the same again is a duplicate, others are a conflict."""
        known = self._at(back)
        turns = sorted({turn for turn, _ in known.decisions})
        if not turns:
            _refused(lambda: self._workshop.report(known.name, 0, error=error), UnknownDecision)
            return
        turn = _picked(turns, pick)
        try:
            state = self._workshop.report(known.name, turn, error=error).state
        except PayloadConflict:
            return  # other facts came first, perhaps on the back of the next decision
        if state == router_pb2.REPORT_STATE_DUPLICATE:
            assert known.facts.get(turn, types_pb2.TurnFacts(error=error)).error == error
        if state == router_pb2.REPORT_STATE_LATE:
            assert known.is_over or known.may_have_expired
        known.facts[turn] = types_pb2.TurnFacts(error=error)
        again = self._workshop.report(known.name, turn, error=error).state
        assert again == router_pb2.REPORT_STATE_DUPLICATE

    @rule(back=BACK, score=SCORES)
    def reports_the_outcome(self, back: int, score: float) -> None:
        """Once; then the same is a duplicate, another score a conflict, and after the window it is late."""
        known = self._at(back)
        try:
            answer = self._workshop.end(known.name, score)
        except PayloadConflict:
            assert known.score not in (None, score)
            return
        if answer.state == router_pb2.REPORT_STATE_LATE:
            assert known.may_have_expired
        if known.is_over and known.score == score and not known.may_have_expired:
            assert answer.state == router_pb2.REPORT_STATE_DUPLICATE
        if answer.state == router_pb2.REPORT_STATE_RECORDED:
            assert answer.joined_decisions == len(known.decisions)
        known.score = score

    # --- Time, administrators, faults ---

    @rule(hours=st.sampled_from([-2, 1, 30]))
    def time_passes(self, hours: int) -> None:
        """Also backwards. Beyond the window open episodes expire, at some moment after."""
        self._workshop.now_ms += hours * HOUR_MS
        for known in self._known:
            past = self._workshop.now_ms - known.opened_at_ms > (WINDOW_HOURS - 1) * HOUR_MS
            known.may_have_expired |= past and not known.is_over and bool(known.decisions)

    @rule(change=st.sampled_from(["price", "newcomer", "drain"]), value=st.sampled_from([0.1, 1.0, 30.0]))
    def administers(self, change: str, value: float) -> None:
        """A price, a model that comes or goes, a drain or its end: acts at once; decided turns keep their answers."""
        admin, call = self._workshop.admin, self._workshop.call()
        first = min((model for model in admin.models() if model.name != "newcomer"), key=lambda model: model.name)
        if change == "price":
            first.input_usd_per_mtok = value
            admin.put_model(first, call)
        elif change == "drain":
            admin.drain_model(first.name, value > 1.0, call)
            (self._removed.add if value > 1.0 else self._removed.discard)(first.name)
        elif "newcomer" in {model.name for model in admin.models()}:
            admin.remove_model("newcomer", call)
            self._removed.add("newcomer")
        else:
            newcomer = types_pb2.Model()
            newcomer.CopyFrom(first)
            newcomer.name, newcomer.drained = "newcomer", False
            admin.put_model(newcomer, call)
            self._removed.discard("newcomer")

    @rule()
    def restarts(self) -> None:
        """The journal is closed and opened as by another process, the caches are empty."""
        self._workshop.close()
        self._journal.close()
        self._journal = SqliteJournal.open(self._directory)
        self._workshop.journal = self._journal
        self._workshop.open()


def _picked(choices: Sequence[T], pick: int) -> T:
    return choices[pick % len(choices)]


def _refused(call: Callable[[], object], *errors: type[Exception]) -> None:
    try:
        call()
    except errors:
        return
    raise AssertionError(f"expected {errors}")
