"""How contestants meet a change: what they are told of it, and outcomes that come late, not at all or wrong.

Sojourn is told by the product's own administration, whose records it follows as the service does. A rival is told
which models are on offer. A frozen estimator cannot be offered a model that it was never trained on.
"""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.arena.changes.worlds import Fault
from benchmarks.arena.contestants import entry
from benchmarks.arena.environments import Environment
from benchmarks.arena.policies.learning import PerTurn
from benchmarks.arena.sojourn import START_MS, Sojourn
from sojourn_server.demo.models import luck
from sojourn_server.demo.play import Chooser, Task, TurnFacts, TurnView
from sojourn_server.demo.service import registry_entry
from sojourn_server.learner.snapshot import SnapshotStore
from sojourn_server.router import Call
from sojourn_server.upkeep.administration import Administration
from sojourn_server.world import model_terms

FROZEN = ("mtrouter-like", "mtrouter-like-money")


def make(name: str, before: Environment, after: Environment, *, seed: int) -> Chooser:
    """A contestant that has yet to meet the change.

    Regressions of learning rivals are of fixed shape: they have room for a newcomer, which is not on offer yet.
    """
    policy = entry(before, name)
    chooser = policy.make(before, seed, ())
    if not isinstance(chooser, PerTurn) or name in FROZEN:
        return chooser
    newcomers = tuple(model for model in after.models if model.name not in before.model_names)
    roomy = policy.make(replace(before, models=(*before.models, *newcomers)), seed, ())
    assert isinstance(roomy, PerTurn), "one policy makes one kind of chooser"
    roomy.offered = before.model_names
    return roomy


def tell(name: str, chooser: Chooser, before: Environment, after: Environment, *, cost_weight: float) -> None:
    """Tells a contestant all that a caller would know of the change; most know nothing of prices or their weight."""
    if isinstance(chooser, Sojourn):
        _administer(chooser, before, after)
        chooser.cost_weight = cost_weight
    elif isinstance(chooser, PerTurn):
        known = before.model_names if name in FROZEN else after.model_names
        chooser.offered = [model for model in after.model_names if model in known]


class _Follower:
    """The learner's part: the fold goes on under the world that administrators have set."""

    def __init__(self, sojourn: Sojourn) -> None:
        self._sojourn = sojourn

    def wake(self) -> None:
        """A change was committed."""
        self._sojourn.fold.world = self._sojourn.router.world


def _administer(sojourn: Sojourn, before: Environment, after: Environment) -> None:
    """Removes and puts models until the registry shows what a caller may know of the roster."""
    no_snapshots = SnapshotStore(Path("unused"), keep=1)
    administration = Administration(sojourn.journal, sojourn.router, no_snapshots, _Follower(sojourn))
    call = Call(START_MS)
    for name in set(before.model_names) - set(after.model_names):
        administration.remove_model(name, call)
    known = [registry_entry(model) for model in before.models]
    for terms in map(registry_entry, after.models):
        if terms not in known:
            administration.put_model(model_terms(terms), call)


_EPISODE = ("_episode_id", "_turn_index", "_facts", "_turns", "_forfeited_usd")
"""What Sojourn and the rivals keep of an episode until its outcome; each begins an episode with fresh ones."""


class _Letter(NamedTuple):
    """An outcome under way, with what its chooser knew of the episode."""

    kept: dict[str, Any]
    score: float
    usd: float


class Faulty:
    """A chooser whose outcomes meet a fault. Which ones do is keyed by the task, so it is the same for everybody.

    What is still under way when a run ends never arrives. Sojourn's clock moves with its outcomes; episodes may share
    a time, which nothing but caches depends on, and those are per episode.
    """

    def __init__(self, chooser: Chooser, fault: Fault) -> None:
        """`chooser` is Sojourn or a `PerTurn`."""
        self._chooser = chooser
        self._fault = fault
        self._fate = 0.0  # uniform in [0, 1), of the episode under way; owner: begin()
        self._posted: deque[_Letter | None] = deque()  # one per episode, None = lost; owner: end()

    def begin(self, task: Task) -> None:
        """Draws the outcome's fate."""
        self._fate = luck(seed=task.seed, task=task.index, turn=0, model="the outcome").slips
        self._chooser.begin(task)

    def choose(self, view: TurnView) -> str:
        """The chooser's choice."""
        return self._chooser.choose(view)

    def observe(self, facts: TurnFacts) -> None:
        """Facts of turns meet no fault."""
        self._chooser.observe(facts)

    def end(self, score: float, usd: float) -> None:
        """Posts the outcome; the one that is due arrives."""
        fault = self._fault
        kept = {name: value for name, value in vars(self._chooser).items() if name in _EPISODE}
        is_lost = self._fate < fault.lost_share
        is_poisoned = fault.lost_share <= self._fate < fault.lost_share + fault.poisoned_share
        self._posted.append(None if is_lost else _Letter(kept, 1.0 - score if is_poisoned else score, usd))
        if len(self._posted) > fault.delay_episodes:
            self._deliver(self._posted.popleft())

    def _deliver(self, letter: _Letter | None) -> None:
        if letter is not None:
            vars(self._chooser).update(letter.kept)
            self._chooser.end(letter.score, letter.usd)
