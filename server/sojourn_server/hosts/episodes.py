"""Open episodes where other hosts decide as well: a cached one counts only while it has all of its records.

Before each use the journal is asked how many records the episode has; any other number than the one that was folded
means that another host went on with it, or that PostgreSQL lost unsynced decisions in a crash: it is read anew.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Protocol

from sojourn_server.episodes import Episodes, folded
from sojourn_server.journal.journal import Journal
from sojourn_server.policy.episode import Episode


class SharedJournal(Journal, Protocol):
    """A journal that other processes append to."""

    def size_of_episode(self, policy: str, episode_id: str) -> int:
        """How many records an episode has now, whoever appended them. Raises JournalUnavailable."""


class SharedEpisodes(Episodes):
    """Like `Episodes`, over a journal that other hosts append to."""

    def __init__(self, journal: SharedJournal, *, capacity: int) -> None:
        """See Episodes."""
        super().__init__(journal, capacity=capacity)
        self._shared = journal
        self._sizes: OrderedDict[tuple[str, str], int] = OrderedDict()  # records folded; owned under _cache_lock

    def get(self, policy: str, episode_id: str, *, cacheable_share: float) -> Episode:
        """See Episodes.get."""
        key = (policy, episode_id)
        with self._cache_lock:
            cached, size = self._cached.get(key), self._sizes.get(key)
        if cached is not None and size == self._shared.size_of_episode(policy, episode_id):
            return cached
        records = self._shared.episode(policy, episode_id)
        self._remember(key, len(records))
        return folded(records, cacheable_share=cacheable_share)

    def put(self, policy: str, episode_id: str, episode: Episode) -> None:
        """See Episodes.put: the episode that was got, and one record more."""
        super().put(policy, episode_id, episode)
        self._remember((policy, episode_id), self._sizes.get((policy, episode_id), 0) + 1)

    def _remember(self, key: tuple[str, str], size: int) -> None:
        with self._cache_lock:
            self._sizes[key] = size
            self._sizes.move_to_end(key)
            if len(self._sizes) > self._capacity:
                self._sizes.popitem(last=False)
