"""Open episodes, cached, and the rules of order and repetition among their turns.

The journal is the truth, the cache saves reading it at every turn. One lock per stripe of episodes makes the turns of
one episode one after the other inside this process; between processes the journal's keys decide. A lost or evicted
entry is folded again from the journal.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Sequence

from sojourn.v1 import journal_pb2, router_pb2
from sojourn_server.errors import EpisodeEnded, PayloadConflict, TurnOutOfOrder
from sojourn_server.journal.journal import Journal
from sojourn_server.policy.episode import Episode, after_facts, fold

_STRIPES = 1024


class Episodes:
    """The newest `capacity` episodes by use."""

    def __init__(self, journal: Journal, *, capacity: int) -> None:
        self._journal = journal
        self._capacity = capacity
        self._cached: OrderedDict[tuple[str, str], Episode] = OrderedDict()  # owned under _cache_lock
        self._cache_lock = threading.Lock()
        self._stripes = [threading.Lock() for _ in range(_STRIPES)]

    def lock(self, policy: str, episode_id: str) -> threading.Lock:
        """Held by the one caller that works on an episode (and on those that share its stripe)."""
        return self._stripes[hash((policy, episode_id)) % _STRIPES]

    def get(self, policy: str, episode_id: str, *, cacheable_share: float) -> Episode:
        """The episode as committed. Raises JournalUnavailable if it must be read and cannot."""
        key = (policy, episode_id)
        with self._cache_lock:
            cached = self._cached.get(key)
            if cached is not None:
                self._cached.move_to_end(key)
                return cached
        return folded(self._journal.episode(policy, episode_id), cacheable_share=cacheable_share)

    def put(self, policy: str, episode_id: str, episode: Episode) -> None:
        """Remembers an open episode; an ended one is forgotten, the journal has it."""
        key = (policy, episode_id)
        with self._cache_lock:
            if episode.ended:
                self._cached.pop(key, None)
                return
            self._cached[key] = episode
            self._cached.move_to_end(key)
            if len(self._cached) > self._capacity:
                self._cached.popitem(last=False)

    def forget(self, policy: str, episode_id: str) -> None:
        """Drops an entry that the journal has moved past."""
        with self._cache_lock:
            self._cached.pop((policy, episode_id), None)


def folded(found: Sequence[journal_pb2.JournalRecord], *, cacheable_share: float) -> Episode:
    """The episode of these records. Raises EpisodeEnded if it was erased: nothing may be added to it."""
    if any(record.HasField("episode_erased") for record in found):
        raise EpisodeEnded("the episode has ended, and its records are erased")
    return fold(found, cacheable_share=cacheable_share)


def check_order(request: router_pb2.DecideRequest, episode: Episode) -> None:
    """Raises EpisodeEnded or TurnOutOfOrder for a turn that was never seen and comes too late."""
    if episode.ended:
        raise EpisodeEnded(f"episode {request.episode_id!r} has ended; begin another one under a new episode_id")
    newest = episode.newest
    if newest is not None and (request.turn_index, request.attempt) < (newest.turn_index, newest.attempt):
        raise TurnOutOfOrder(
            f"turn_index: {request.turn_index} (attempt {request.attempt}) was never seen and lies below the newest, "
            f"{newest.turn_index} (attempt {newest.attempt})"
        )


def with_previous_turn(
    episode: Episode, request: router_pb2.DecideRequest, *, at_ms: int, cacheable_share: float
) -> Episode:
    """The episode with the piggy-backed facts of the turn before, if there are any and none are known."""
    if not request.HasField("previous_turn"):
        return episode
    return after_facts(
        episode, request.turn_index - 1, request.previous_turn, at_ms=at_ms, cacheable_share=cacheable_share
    )


def contradicts(episode: Episode, request: router_pb2.DecideRequest) -> bool:
    """True if facts of the previous turn are known and differ from the piggy-backed ones."""
    known = episode.facts.get(request.turn_index - 1)
    return known is not None and request.HasField("previous_turn") and known != request.previous_turn


def same_or_conflict(request: router_pb2.DecideRequest, first: journal_pb2.JournalRecord) -> router_pb2.DecideResponse:
    """The first answer, if the request has the same values but for `previous_turn`. Raises PayloadConflict."""
    if first.features_erased:
        raise EpisodeEnded(f"episode {request.episode_id!r} has ended, and the features of its turns are erased")
    if _payload(first.decision.request) != _payload(request):
        raise PayloadConflict(
            f"turn {request.turn_index} (attempt {request.attempt}) of episode {request.episode_id!r} was decided "
            "for another payload"
        )
    return first.decision.answer


def _payload(request: router_pb2.DecideRequest) -> router_pb2.DecideRequest:
    payload = router_pb2.DecideRequest()
    payload.CopyFrom(request)
    payload.ClearField("previous_turn")
    return payload


def duplicate_or_conflict(same: bool, what: str) -> router_pb2.ReportTurnResponse:
    """DUPLICATE if the earlier report was the same; raises PayloadConflict if not: the first one wins."""
    if not same:
        raise PayloadConflict(f"{what} was reported with other contents; the first report stands")
    return router_pb2.ReportTurnResponse(state=router_pb2.REPORT_STATE_DUPLICATE)
