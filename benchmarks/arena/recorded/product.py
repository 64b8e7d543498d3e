"""Sojourn on recorded outcomes: one choice at turn 0, then the chosen model's recorded turns to the end.

Router, journal and fold are the product's own, in process (see `arena.sojourn`). Later turns are decided too, under
`must_stay_because`, since a recording cannot be left half way: so prompts, replies, errors and lengths reach the router
as they would from a live caller. What was recorded can be imported first, through the code of `sojourn import`.
"""

from __future__ import annotations

from collections.abc import Sequence

from benchmarks.arena.recorded.tables import Item, Outcome, Table
from benchmarks.arena.sojourn import START_MS, TURN_MS, Sojourn
from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.config import (
    ChoiceSettings,
    HeuristicSettings,
    LessonSettings,
    ModeName,
    PolicyConfig,
    PriorSettings,
)
from sojourn_server.exchange.imported import Place, journal_records
from sojourn_server.exchange.trajectories import RecordedTurn, Trajectory
from sojourn_server.router import DEFAULT_POLICY, Call

STAYS_BECAUSE = "recorded to its end"
_DEFAULT_CLASS = "medium"


def settings(table: Table, *, cost_weight: float, mode: ModeName = "LIVE", warm: bool = True) -> PolicyConfig:
    """The product's defaults without cohorts; `warm` = taught the table's heuristic. Imports are learned."""
    classes = [model.model_class for model in table.models]
    heuristic = HeuristicSettings(
        table=dict(table.heuristic),
        tool_patterns={},
        default=_DEFAULT_CLASS if _DEFAULT_CLASS in classes else classes[0],
    )
    choice = ChoiceSettings(
        cost_weight=cost_weight, reference_model=table.models[0].name, control_share=0.0, heuristic=heuristic
    )
    lesson = LessonSettings(learn_served_in_shadow=True)
    if not warm:
        lesson = lesson.model_copy(update={"prior": PriorSettings(events=0)})
    return PolicyConfig(choice=choice, lesson=lesson, mode=mode, live_share=1.0)


class RecordedSojourn:
    """The product as a contestant."""

    def __init__(
        self, table: Table, policy: PolicyConfig, *, cost_weight: float, seed: int, imported: Sequence[Item] = ()
    ) -> None:
        """`imported`: tasks whose every outcome is learned before the first choice; `seed` keys the draws.

        `cost_weight` is sent with each request; the policy's own is what its prior was taught at.
        """
        self.sojourn = Sojourn(table.models, policy, seed=seed)
        self._cost_weight = cost_weight
        self._now_ms = START_MS
        self._import(imported)

    def choose(self, item: Item) -> str:
        """What the router decides at the first turn."""
        return self._decide(item, 0, item.context)

    def learn(self, item: Item, model: str, outcome: Outcome) -> None:
        """The chosen model's recorded turns pass, the outcome is reported and learned at once."""
        facts = outcome.turns[0].facts
        for index, turn in enumerate(outcome.turns[1:], start=1):
            stayed = self._decide(item, index, turn.context, previous=facts)
            assert stayed == model, "a router that must stay stays"
            facts = turn.facts
        report = router_pb2.ReportOutcomeRequest(
            episode_id=item.name, score=outcome.score, cost_usd=outcome.usd, last_turn=facts
        )
        self.sojourn.router.report_outcome(report, self._call())
        self.sojourn.fold.catch_up(self.sojourn.journal, self.sojourn.journal.position())

    def _decide(
        self, item: Item, index: int, context: types_pb2.Context, *, previous: types_pb2.TurnFacts | None = None
    ) -> str:
        request = router_pb2.DecideRequest(
            episode_id=item.name,
            turn_index=index,
            context=context,
            previous_turn=previous,
            cost_weight=self._cost_weight,
        )
        if index > 0:
            request.constraints.must_stay_because = STAYS_BECAUSE
        return self.sojourn.router.decide(request, self._call()).model

    def _call(self) -> Call:
        self._now_ms += TURN_MS
        return Call(self._now_ms)

    def _import(self, items: Sequence[Item]) -> None:
        world, journal = self.sojourn.fold.world, self.sojourn.journal
        place = Place(DEFAULT_POLICY, world.policies[DEFAULT_POLICY], world.registry, START_MS)
        for item in items:
            for model, outcome in item.outcomes.items():
                for record in journal_records(trajectory(item, model, outcome), place):
                    journal.append(record)
        self.sojourn.fold.catch_up(journal, journal.position())


def trajectory(item: Item, model: str, outcome: Outcome) -> Trajectory:
    """An outcome as `sojourn import` reads it, its first turn with what the caller knows of the task."""
    report = router_pb2.ReportOutcomeRequest(
        episode_id=f"imported/{item.name}/{model}", score=outcome.score, cost_usd=outcome.usd
    )
    first, *rest = outcome.turns
    turns = [RecordedTurn(0, item.context, first.facts, first.called_tool, first.at_ms)]
    turns += [turn._replace(turn_index=index) for index, turn in enumerate(rest, start=1)]
    return Trajectory(0, report, model, item.context, None, tuple(turns), chosen_once=True)
