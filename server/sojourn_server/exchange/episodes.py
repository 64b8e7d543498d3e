"""A journal's records as the episodes of one policy, small enough to keep thousands of them.

Records are taken one by one, in journal order, from an export or from a journal; what an episode consists of is held
until it ends. Turns carry what the figures ask for and no more. Nothing here reads a clock or a file.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import NamedTuple

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.evaluation.savings import Assigned, assigned
from sojourn_server.exchange.turns import ending, forfeited_usd, served_turns
from sojourn_server.learner import credit
from sojourn_server.policy.registry import Registry


class Turn(NamedTuple):
    """A served turn. `stayed` is None at the first one; `forfeited_usd` is None unless a switch has a known price.

    `tool_type` is the phase where retention has erased the tool type.
    """

    tool_type: str
    model: str
    error: int
    stayed: bool | None
    left: str
    forfeited_usd: float | None


class Episode(NamedTuple):
    """An episode that has decisions. Score in [0, 1] and USD are None where unknown."""

    episode_id: str
    started_at_ms: int
    ended: bool
    is_control: bool
    imported: bool
    score: float | None
    cost_usd: float | None
    turns: tuple[Turn, ...]
    assigned: Assigned | None

    @property
    def switches(self) -> int:
        """Turns that left the model before."""
        return sum(turn.stayed is False for turn in self.turns)


class Reading:
    """The episodes of one policy so far. Not safe to share between threads."""

    def __init__(self, policy: str, *, newest: int) -> None:
        """Keeps the `newest` ended episodes, in the order of their ends."""
        self.policy = policy
        self.ended: deque[Episode] = deque(maxlen=newest)
        self.ended_count = 0
        self.decisions = 0
        self.position = 0
        self._open: dict[str, tuple[int, list[journal_pb2.JournalRecord]]] = {}  # with the epoch of the first record
        self._epoch = 0
        self._registry = Registry()
        self._registries = {0: self._registry}

    def take(self, record: journal_pb2.JournalRecord) -> None:
        """Takes the next record, whatever it is about."""
        self.position = max(self.position, record.position)
        body = record.WhichOneof("body")
        if body == "model_put":
            self._registry = self._registry.put(record.model_put.model, record.position)
        elif body == "model_removed":
            self._registry = self._registry.without(record.model_removed.name, record.position)
        self._registries[self._registry.version] = self._registry
        if record.policy != self.policy:
            return
        if body in ("mode", "settings"):
            self._epoch += 1
        came_late = body in ("turn", "outcome") and getattr(record, body).late
        if not record.episode_id or body == "episode_erased" or came_late:
            return
        self.decisions += body == "decision"
        _, records = self._open.setdefault(record.episode_id, (self._epoch, []))
        records.append(record)
        if ending([record]) is not None:
            self._end(record.episode_id)

    def _end(self, episode_id: str) -> None:
        epoch, records = self._open.pop(episode_id)
        episode = self._episode(records, epoch)
        if episode is not None:
            self.ended.append(episode)
            self.ended_count += 1

    @property
    def open_count(self) -> int:
        """Episodes without an end yet."""
        return len(self._open)

    def still_open(self) -> Iterator[Episode]:
        """Episodes without an end yet, in the order of their beginnings."""
        for epoch, records in self._open.values():
            episode = self._episode(records, epoch)
            if episode is not None:
                yield episode

    def _episode(self, records: list[journal_pb2.JournalRecord], epoch: int) -> Episode | None:
        """None for records without a decision, such as reports that came after the end."""
        served = served_turns(records)
        if not served:
            return None
        end, answer = ending(records), served[0].decision.answer
        live, found = answer.mode == types_pb2.MODE_LIVE, assigned(records, epoch, self._registries)
        return Episode(
            episode_id=records[0].episode_id,
            started_at_ms=records[0].received_at_ms,
            ended=end is not None,
            is_control=live and served[0].decision.inputs.cohort != types_pb2.COHORT_LEARNED,
            imported=served[0].imported,
            score=end.score if end else None,
            cost_usd=found.cost_usd if found else credit.cost_usd(records, self._registries),
            turns=tuple(
                Turn(
                    tool_type=turn.decision.inputs.tool_type or turn.decision.answer.phase,
                    model=turn.served,
                    error=turn.facts.error if turn.facts else types_pb2.SEVERITY_UNSPECIFIED,
                    stayed=None if i == 0 else not turn.switched,
                    left=served[i - 1].served if turn.switched else "",
                    forfeited_usd=forfeited_usd(turn),
                )
                for i, turn in enumerate(served)
            ),
            assigned=found,
        )
