"""A router and its learner over one journal, without a network, under a clock that the test moves."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from random import Random
from typing import Any

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.config import (
    ChoiceSettings,
    Config,
    LearnerConfig,
    LessonSettings,
    ModeName,
    PolicyConfig,
    PriorSettings,
)
from sojourn_server.episodes import Episodes
from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.learner.fold import TERMINAL_BODIES, Fold, Join
from sojourn_server.learner.learner import Learner, Workplace
from sojourn_server.learner.snapshot import Published, SnapshotStore
from sojourn_server.policy.bandit import action_line
from sojourn_server.policy.learned import Knowledge
from sojourn_server.router import Call, Router
from sojourn_server.upkeep.administration import Administration
from sojourn_server.world import ADMINISTRATIVE_BODIES, World, after, load_world
from tests.policy.play import line_of

POLICY = "default"
KINDS = ("search", "code", "reasoning", "file_io")
SECRET = b"secret"
PATIENCE_S = 30.0
HOUR_MS = 3_600_000

Predictions = list[tuple[list[float], float]]


def lesson(**changes: Any) -> LessonSettings:
    """A small prior in a small space, so that a test is quick."""
    return LessonSettings(**{"weight_bits": 12, "prior": PriorSettings(events=50), **changes})


def configured(
    *,
    lesson_settings: LessonSettings | None = None,
    choice: ChoiceSettings | None = None,
    mode: ModeName = "LIVE",
    live_share: float = 1.0,
) -> Config:
    """Defaults with one policy that explores, so that every model is tried; without controls."""
    exploring = ChoiceSettings(prior_width=0.5, control_share=0.0)
    policy = PolicyConfig(
        lesson=lesson_settings or lesson(), choice=choice or exploring, mode=mode, live_share=live_share
    )
    return Config(policies={POLICY: policy})


class Audience:
    """Hands versions to the router, and remembers everything."""

    def __init__(self) -> None:
        self.router: Router | None = None
        self.episodes: Episodes | None = None
        self.published_versions: list[Published] = []
        self.joins: list[Join] = []
        self.expired_episodes: list[str] = []
        self.faults: list[str] = []

    def published(self, policy: str, published: Published, *, created_at_ms: int) -> None:
        self.published_versions.append(published)
        if self.router is not None:
            self.router.use(policy, published)

    def expired(self, policy: str, episode_id: str) -> None:
        self.expired_episodes.append(episode_id)
        if self.episodes is not None:
            self.episodes.forget(policy, episode_id)

    def joined(self, join: Join) -> None:
        self.joins.append(join)

    def survived(self, fault: str) -> None:
        self.faults.append(fault)


class Workshop:
    """Everything of the service but its edge. `open` it again after `close` to restart."""

    def __init__(
        self,
        directory: Path,
        config: Config | None = None,
        *,
        journal: Journal | None = None,
        publish_outcomes: int = 4,
        keep_snapshots: int = 50,
    ) -> None:
        self.journal: Journal = journal or MemoryJournal()
        self.store = SnapshotStore(directory, keep=keep_snapshots)
        self.now_ms = 1_000_000
        self.reporter = ""  # who calls from here on
        self._config = config or configured()
        self._learning = LearnerConfig(publish_outcomes=publish_outcomes, publish_interval_ms=10)
        self.open()

    def open(self, config: Config | None = None) -> None:
        """Starts router and learner over what the journal and the store hold."""
        self._config = config or self._config
        world = load_world(self.journal, self._config, self.now_ms)
        self.episodes = Episodes(self.journal, capacity=1_000)
        self.router = Router(self.journal, self.episodes, world=world, secret=SECRET)
        self.audience = Audience()
        self.audience.router, self.audience.episodes = self.router, self.episodes
        place = Workplace(self.journal, self.store, self._learning, lambda: self.now_ms)
        self.learner = Learner(place, self.audience)
        self.admin = Administration(self.journal, self.router, self.store, self.learner)
        self.router.wakes(self.learner)
        self.learner.start()

    def close(self) -> None:
        """Folds and publishes what is committed, then stops; the journal stays open."""
        self.learner.close()

    def restart(self, config: Config | None = None) -> None:
        """Closes and opens."""
        self.close()
        self.open(config)

    # --- What callers do ---

    def call(self) -> Call:
        """A call at this moment; a second passes with each."""
        self.now_ms += 1_000
        return Call(self.now_ms, self.reporter)

    def decide(self, episode_id: str, turn_index: int = 0, **fields: Any) -> router_pb2.DecideResponse:
        """Decides a turn; fields of the context go by their own names."""
        context = {n: fields.pop(n) for n in list(fields) if n in types_pb2.Context.DESCRIPTOR.fields_by_name}
        request = router_pb2.DecideRequest(
            episode_id=episode_id, turn_index=turn_index, context=types_pb2.Context(**context), **fields
        )
        return self.router.decide(request, self.call())

    def report(self, episode_id: str, turn_index: int, **facts: Any) -> router_pb2.ReportTurnResponse:
        """Reports a turn on its own."""
        request = router_pb2.ReportTurnRequest(
            episode_id=episode_id, turn_index=turn_index, facts=types_pb2.TurnFacts(**facts)
        )
        return self.router.report_turn(request, self.call())

    def end(self, episode_id: str, score: float | None = 1.0, **fields: Any) -> router_pb2.ReportOutcomeResponse:
        """Reports an outcome."""
        request = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score, **fields)
        return self.router.report_outcome(request, self.call())

    def play(self, episode_id: str, seed: int, *, turns: int = 6, score: float | None = None) -> None:
        """An episode with errors, growing prompts and changing work; the score depends on who served."""
        random = Random(seed)
        kinds = [random.choice(KINDS) for _ in range(turns)]
        facts, good = None, 0
        for t, kind in enumerate(kinds):
            answer = self.decide(
                episode_id, t, tool_type=kind, prompt_tokens=2_000 + 700 * t, task_type="t", previous_turn=facts
            )
            error = random.choice((types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_NONE, types_pb2.SEVERITY_MEDIUM))
            facts = types_pb2.TurnFacts(error=error, usage=types_pb2.Usage(output_tokens=100 + 10 * t))
            good += (answer.model == "gpt-5") == (kind == "reasoning")
        self.end(episode_id, score if score is not None else good / turns, last_turn=facts)

    def play_many(self, count: int, *, first: int = 0) -> None:
        """Episodes e<first> and on, one after the other, each learned before the next begins every now and then."""
        for i in range(first, first + count):
            self.play(f"e{i}", seed=i)
            if i % 3 == 0:
                self.settle()

    # --- What the test looks at ---

    def settle(self) -> Published:
        """Waits until all that is committed is folded and published; the newest version."""
        self.learner.wake()
        until = self._newest_lesson()
        return self.wait_for(lambda: self.audience.published_versions[-1].version >= until)

    def wait_for(self, condition: Callable[[], bool]) -> Published:
        """Waits for a condition; the newest version then."""
        deadline = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < deadline, "the learner did not get there"
            time.sleep(0.002)
        return self.audience.published_versions[-1]

    def _newest_lesson(self) -> int:
        positions = [r.position for r in self.journal.read(0, bodies=TERMINAL_BODIES, limit=10**6)]
        return positions[-1] if positions else 0

    def decisions(self) -> list[journal_pb2.JournalRecord]:
        """All decisions' records, in order."""
        return self.journal.read(0, bodies={"decision"}, limit=10**6)

    def joins(self) -> dict[str, int]:
        """What the newest version has counted."""
        return dict(self.settle().statistics.joins)


def predictions(knowledge: Knowledge) -> Predictions:
    """Scores and turns of the default models in a spread of contexts, exact to the bit."""
    registry = load_world(MemoryJournal(), Config(), 0).registry
    actions = [action_line(model, {}) for model in registry.models.values()]
    found = []
    for kind in (*KINDS, ""):
        for turn_index in (0, 5):
            shared = line_of(
                types_pb2.Context(task_type="t"),
                turn_index=turn_index,
                kind=kind,
                tabled=bool(kind),
                phase=kind,
                error_count=turn_index,
                last_error=types_pb2.SEVERITY_NONE,
                prompt_tokens=4_000.0,
            )
            found.append(knowledge.predict(shared, actions))
    return found


def world_at(journal: Journal, position: int, policy: str = POLICY) -> World:
    """What administrators had set up to a position, but at least until the policy had settings."""
    world = World()
    for record in journal.read(0, bodies=ADMINISTRATIVE_BODIES, limit=10**6):
        if record.position <= position or policy not in world.policies:
            world = after(world, record)
    return world


def replayed(journal: Journal, version: int, policy: str = POLICY) -> Published:
    """The policy at a version, folded from the prior over the journal alone, in one go."""
    world = world_at(journal, version, policy)
    fold = Fold.prior(policy, world)
    fold.catch_up(journal, version)
    fold.position = version
    return Published.of(fold.snapshot(created_at_ms=0), world.policies[policy].settings.lesson)


def same(one: Knowledge, other: Knowledge) -> bool:
    """True if two versions predict and count alike, bit for bit."""
    return predictions(one) == predictions(other) and one.statistics == other.statistics


def versions(published: Sequence[Published]) -> list[int]:
    """Their numbers."""
    return [p.version for p in published]
