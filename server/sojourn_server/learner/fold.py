"""One policy as a fold over the journal: prior, then one ended episode after another, in journal order.

Nothing but the journal enters: no clock, no file. The same records give the same weights, bit for bit, on one
platform. Whoever owns a `Fold` owns its bandit; deciders only ever see copies made through a snapshot.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import copysign, isfinite
from typing import NamedTuple

import structlog

from sojourn.v1 import journal_pb2, snapshot_pb2
from sojourn_server.errors import BrokenSnapshot, JournalUnavailable
from sojourn_server.journal.journal import Journal
from sojourn_server.learner import credit, statistics
from sojourn_server.learner.credit import Lesson
from sojourn_server.learner.prior import teach_prior
from sojourn_server.learner.snapshot import open_bandit, probe
from sojourn_server.policy.bandit import PLATFORM, Bandit
from sojourn_server.policy.learned import lines, relative_noise, usual_credit, usual_score
from sojourn_server.policy.turn import from_record
from sojourn_server.world import PolicyState, World

TERMINAL_BODIES = frozenset({"outcome", "episode_expired"})
_READ_RECORDS = 500
log = structlog.get_logger(__name__)
NOT_FINITE = "predictions are not finite after it"


class BadLesson(Exception):
    """The record at `position` must not be learned: it breaks the fold, or leaves predictions that are not finite."""

    def __init__(self, position: int, why: str) -> None:
        """`position`: the offender's place in the journal; `why`: for the exclusion's record and the log."""
        super().__init__(f"the record at position {position} cannot be learned: {why}")
        self.position = position
        self.why = why


class Join(NamedTuple):
    """What became of a terminal record: "learned", or why not; score, USD and cohort of the episode where known."""

    policy: str
    state: str
    score: float | None = None
    cost_usd: float | None = None
    cohort: int = 0


class Fold:
    """A policy's learned state up to `position`."""

    def __init__(
        self, policy: str, world: World, bandit: Bandit, *, counts: snapshot_pb2.Statistics, position: int
    ) -> None:
        self.policy = policy
        self.world = world  # replaced by the owner when administrators change it
        self.bandit = bandit
        self.counts = counts
        self.position = position

    @classmethod
    def prior(cls, policy: str, world: World) -> Fold:
        """The fold of an empty journal: version 0, taught the heuristic's table. Raises BadLesson."""
        state = world.policies[policy]
        lesson = state.settings.lesson
        bandit = Bandit.fresh(options=lesson.vw_options, weight_bits=lesson.weight_bits, turns_cap=lesson.turns_cap)
        if not teach_prior(bandit, state.settings, list(state.prior_registry.models.values())):
            raise BadLesson(0, NOT_FINITE)
        return cls(policy, world, bandit, counts=snapshot_pb2.Statistics(), position=0)

    @classmethod
    def restore(cls, world: World, snapshot: snapshot_pb2.Snapshot) -> Fold:
        """The fold of a snapshot. Raises BrokenSnapshot."""
        bandit = open_bandit(snapshot, world.policies[snapshot.policy].settings.lesson)
        return cls(snapshot.policy, world, bandit, counts=_copy(snapshot.statistics), position=snapshot.position)

    @classmethod
    def begin(cls, policy: str, world: World, journal: Journal, *, until: int) -> Fold:
        """The fold of the newest base up to `until`, or of an empty journal; the prior in place of a broken base."""
        state = world.policies[policy]
        base = state.base(until)
        if base is None:
            return cls.prior(policy, world)
        try:
            if base.lesson_digest != state.lesson_digest:
                raise BrokenSnapshot("made under another lesson")
            [record] = journal.read(base.recorded_at - 1, bodies={"base"}, limit=1)
            bandit = open_bandit(record.base.snapshot, state.settings.lesson, of_any_platform=True)
            counts = record.base.snapshot.statistics
        except BrokenSnapshot as error:
            log.error("base_rejected", policy=policy, position=base.position, error=str(error))
            fold = cls.prior(policy, world)
            bandit, counts = fold.bandit, fold.counts
        return cls(policy, world, bandit, counts=counts, position=base.position)

    @classmethod
    def of(cls, policy: str, world: World, journal: Journal, *, until: int) -> Fold:
        """The fold of a journal up to a position. Raises BadLesson."""
        fold = cls.begin(policy, world, journal, until=until)
        fold.catch_up(journal, until)
        return fold

    @property
    def state(self) -> PolicyState:
        """The policy as administrators have set it."""
        return self.world.policies[self.policy]

    def snapshot(self, *, created_at_ms: int) -> snapshot_pb2.Snapshot:
        """The state as a message; raises BadLesson if a probe is not finite."""
        values = probe(self.bandit, self.counts)
        if not all(map(isfinite, values)):
            raise BadLesson(self.position, NOT_FINITE)
        score, turns = self.bandit.to_bytes()
        return snapshot_pb2.Snapshot(
            policy=self.policy,
            position=self.position,
            lesson_digest=self.state.lesson_digest,
            platform=PLATFORM,
            score_regressor=score,
            turns_regressor=turns,
            statistics=self.counts,
            probes=values,
            created_at_ms=created_at_ms,
        )

    def catch_up(self, journal: Journal, until: int) -> None:
        """Folds all terminal records in (position, until]. Raises BadLesson at an offender."""
        for record in ends(journal, self.policy, after=self.position, until=until):
            self.take(record, journal)

    def take(self, record: journal_pb2.JournalRecord, journal: Journal) -> Join:
        """Folds one terminal record, the next of this policy. Raises BadLesson, and then the fold is spoilt."""
        before, self.position = self.position, record.position
        # Protobuf keeps all memory that a message ever used: one that is changed for ever would grow for ever.
        self.counts = _copy(self.counts)
        try:
            return self._take(record, journal)
        except JournalUnavailable:
            self.position = before  # nothing was learned yet: the record is to be taken again
            raise
        except BadLesson:
            raise
        except Exception as error:  # an episode that cannot be read as a lesson must not stop all others
            raise BadLesson(record.position, repr(error)) from error

    def _take(self, record: journal_pb2.JournalRecord, journal: Journal) -> Join:
        if self.state.excludes(record):
            return self._joined("excluded")
        if record.WhichOneof("body") == "outcome":
            if record.outcome.late:
                return self._joined("late")
            if record.outcome.quarantined:
                return self._joined("quarantined")
            score = credit.terminal_score(record.outcome.request)
        else:
            expired = record.episode_expired
            score = expired.default_score if expired.HasField("default_score") else None
        if score is None:
            return self._joined("abandoned" if record.WhichOneof("body") == "outcome" else "expired")
        records = [
            r
            for r in journal.episode(record.policy, record.episode_id)
            if 0 < r.position <= record.position and not self.state.excludes(r)
        ]
        return self._learn(records, score)

    def _joined(self, state: str) -> Join:
        self.counts.joins[state] += 1
        return Join(self.policy, state)

    def _learn(self, records: Sequence[journal_pb2.JournalRecord], score: float) -> Join:
        facts = credit.facts_by_turn(records)
        turns = credit.played_turns(records, facts)
        if not turns:
            return self._joined("no_decisions")._replace(score=score)
        lesson, task_type = self.state.settings.lesson, turns[0].decision.request.context.task_type
        shadow = lesson.learn_served_in_shadow
        expected = statistics.expected_turns(self.counts, task_type, lesson)
        lessons = credit.lessons(turns, facts, score, expected_turns=expected, learn_served_in_shadow=shadow)
        statistics.add(self.counts.score, score)
        statistics.add(self.counts.score_by_task_type[task_type], score)
        for each in lessons:
            self._teach(each, above=each.credit - usual_score(self.counts, task_type))
        if unreported := sum(turn.facts is None for turn in turns):
            self.counts.joins["turns_unreported"] += unreported
        statistics.count_episode(self.counts, turns, lessons, score=score, lesson=lesson)
        if not all(map(isfinite, probe(self.bandit, self.counts))):
            raise BadLesson(self.position, NOT_FINITE)
        join = self._joined("learned" if lessons else "nothing_learnable")
        cost_usd = credit.spent_usd(records, turns, facts, self.world.registries)
        return join._replace(score=score, cost_usd=cost_usd, cohort=turns[0].decision.inputs.cohort)

    def _teach(self, lesson: Lesson, *, above: float) -> None:
        """`above`: by how far the lesson's credit lies above the usual score of its task type.

        Advantages are taught by contrasts (Greenewald et al. 2017): what is usual in the phase need not be known well,
        and a candidate that serves for sure learns nothing from how things go in general.
        """
        decision, contrasts = lesson.turn.decision, lesson.contrasts
        turn = from_record(decision, self.world.registries[decision.inputs.registry_version])
        offers = {offer.model.name: offer for offer in turn.offers}
        shared, actions = lines(turn, [offers[model] for model in contrasts], self.counts)
        believed = dict(zip(contrasts, self.bandit.predict(shared, actions)[0], strict=True))
        evidence = self.counts.evidence_by_phase[turn.phase]
        statistics.add(evidence.credit, above)
        statistics.add(evidence.advantage, believed[lesson.turn.served])
        surprise = above - usual_credit(self.counts, turn.phase) - sum(x * believed[m] for m, x in contrasts.items())
        if not isfinite(surprise):  # Vowpal Wabbit would read it as a cost of 0
            raise BadLesson(self.position, "its credit is not a finite number")
        statistics.add(self.counts.progressive_loss, surprise**2)
        prior_evidence = self.state.settings.lesson.prior.evidence * relative_noise(self.counts)
        after = [self.bandit.learn_turns(shared, lesson.turns_to_go)]
        for (model, x), action in zip(contrasts.items(), actions, strict=True):
            known = prior_evidence + evidence.evidence_by_model.get(model, 0.0) + x**2
            if step := abs(x) / known:
                target = believed[model] + copysign(1.0, x) * surprise
                after.append(self.bandit.learn_advantage(shared, action, advantage=target, step=step))
        if not all(map(isfinite, after)):
            raise BadLesson(self.position, NOT_FINITE)


def ends(
    journal: Journal, policy: str, *, after: int = 0, until: int | None = None
) -> Iterator[journal_pb2.JournalRecord]:
    """A policy's terminal records in (after, until], in order; None = to the journal's end."""
    while records := journal.read(after, bodies=TERMINAL_BODIES, limit=_READ_RECORDS):
        for record in records:
            after = record.position
            if until is not None and after > until:
                return
            if record.policy == policy:
                yield record


def _copy(counts: snapshot_pb2.Statistics) -> snapshot_pb2.Statistics:
    return snapshot_pb2.Statistics.FromString(counts.SerializeToString())
