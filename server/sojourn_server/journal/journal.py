"""The journal's protocol and its natural keys: append under a key, read in order. One conformance list holds every
keeper to it.

Positions count from 1 and a record never appears behind a position that was already read. `append` returns once the
record is committed as its acknowledgement promises (see journal.proto), or raises JournalUnavailable: then the record
may or may not be there, and a repeat under the same key finds out. Where many hosts append, a record may be committed
before it has a position. A key is the episode's 16-byte hash, then what names the record inside it (a letter for its
kind, the turn, the attempt); `decision_id` is a decision's key in hexadecimal: derived, never drawn.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from functools import lru_cache
from hashlib import blake2b
from struct import Struct
from typing import NamedTuple, Protocol

from sojourn.v1 import journal_pb2

BODIES = tuple(f.name for f in journal_pb2.JournalRecord.DESCRIPTOR.oneofs_by_name["body"].fields)
BODY_CODES = {name: code for code, name in enumerate(BODIES, start=1)}
LESSON_BODIES = frozenset(BODIES) - {"decision", "turn"}
"""Kinds of records that move the fold by themselves; decisions and turns are read when their episode ends."""


EPISODE_BYTES = 16
_INSIDE = Struct(">cIB")
KEY_BYTES = EPISODE_BYTES + _INSIDE.size


@lru_cache(maxsize=4_096)
def episode_key(policy: str, episode_id: str) -> bytes:
    """Names an episode; the policy's length goes first, so that the two names cannot run together."""
    name = policy.encode()
    return blake2b(len(name).to_bytes(2, "big") + name + episode_id.encode(), digest_size=EPISODE_BYTES).digest()


def decision_key(policy: str, episode_id: str, turn_index: int, attempt: int) -> bytes:
    """Names a decision; its hexadecimal form is the decision_id."""
    return episode_key(policy, episode_id) + _INSIDE.pack(b"d", turn_index, attempt)


def turn_key(policy: str, episode_id: str, turn_index: int) -> bytes:
    """Names the report of a turn."""
    return episode_key(policy, episode_id) + _INSIDE.pack(b"t", turn_index, 0)


def terminal_key(policy: str, episode_id: str) -> bytes:
    """Names an episode's terminal record, outcome or expiry: the first one wins."""
    return episode_key(policy, episode_id) + _INSIDE.pack(b"o", 0, 0)


def late_outcome_key(policy: str, episode_id: str) -> bytes:
    """Names an outcome that came after the expiry."""
    return episode_key(policy, episode_id) + _INSIDE.pack(b"l", 0, 0)


def key_of(record: journal_pb2.JournalRecord) -> bytes | None:
    """The natural key of a record; None for records that may repeat (settings, registry, exclusions)."""
    policy, episode_id = record.policy, record.episode_id
    match record.WhichOneof("body"):
        case "decision":
            request = record.decision.request
            return decision_key(policy, episode_id, request.turn_index, request.attempt)
        case "turn":
            return turn_key(policy, episode_id, record.turn.request.turn_index)
        case "outcome" if record.outcome.late:
            return late_outcome_key(policy, episode_id)
        case "outcome" | "episode_expired":
            return terminal_key(policy, episode_id)
    return None


class Appended(NamedTuple):
    """Where a record stands, 0 = it has no position yet; `first` is the record that has its key already, if any."""

    position: int
    first: journal_pb2.JournalRecord | None


class Journal(Protocol):
    """Keeps records; safe to share between threads."""

    def append(self, record: journal_pb2.JournalRecord, *, durable: bool = False, placed: bool = False) -> Appended:
        """Commits a record unless its key is taken.

        `durable`: it and all before it survive power loss. `placed`: waits until it has its position.
        """

    def rewrite(self, records: Sequence[journal_pb2.JournalRecord]) -> None:
        """Erases: puts other contents in the places of records, by position, durably; keys and places stay.

        An erased record is found by its key and its position, but opens no episode. Raises JournalUnavailable.
        """

    def get(self, key: bytes) -> journal_pb2.JournalRecord | None:
        """The record under a natural key."""

    def episode(self, policy: str, episode_id: str) -> list[journal_pb2.JournalRecord]:
        """All records of an episode, in order; last those that have no position yet, as they came."""

    def read(
        self, after: int, *, bodies: Collection[str] | None = None, limit: int = 1000
    ) -> list[journal_pb2.JournalRecord]:
        """Up to `limit` records after a position, in order; `bodies` picks kinds of records (None = all)."""

    def openings(
        self, policy: str, *, after: int = 0, before: int | None = None, limit: int = 1000
    ) -> list[journal_pb2.JournalRecord]:
        """First records of episodes, by position ascending; with `before`, the newest ones below it, descending."""

    def is_quick(self) -> bool:
        """Whether to read, or to append what need not be durable, would wait for nobody now: no network, no sync."""

    def position(self) -> int:
        """Position of the newest committed record; 0 while there is none."""

    def close(self) -> None:
        """Commits what is queued and lets go of all resources."""
