"""What is erased on one host is gone on all, and what was learned stays, bit for bit."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import closing

import grpc
import pytest

from sojourn.v1 import admin_pb2, admin_pb2_grpc
from sojourn_server.app import App
from sojourn_server.errors import EpisodeEnded
from sojourn_server.hosts.shared import open_shared_for_reading
from sojourn_server.upkeep.comparison import compare
from sojourn_server.upkeep.erasure import erase_features
from tests.hosts.hosts import decide, end, host, learned, now_ms, wait_until

POLICY = "default"


def play(hosts: Iterable[App], episode_ids: Iterable[str]) -> None:
    """Two turns each, on different hosts."""
    first, second = hosts
    for i, episode_id in enumerate(episode_ids):
        decide(first, episode_id, 0, tool_name="secret_tool")
        decide(second, episode_id, 1, tool_name="secret_tool")
        end((first, second)[i % 2], episode_id, i % 2)


def replays_to_the_bit(dsn: str) -> bool:
    journal, snapshots = open_shared_for_reading(dsn)
    with closing(journal):
        newest = snapshots.load(POLICY, snapshots.versions(POLICY)[0])
        found = compare(journal, newest, POLICY)
        return found.same and found.version == newest.position


def test_retention_and_erasing_on_any_host_concern_all(dsn: str):
    with host(dsn) as leader, host(dsn) as follower:
        both = (leader, follower)
        play(both, [f"old{i}" for i in range(6)])
        wait_until(lambda: all(learned(app) == 6 for app in both))
        assert erase_features(follower.journal, POLICY, before_ms=now_ms() + 1, now_ms=now_ms()) == 12
        assert {r.features_erased for r in leader.journal.read(0, bodies={"decision"})} == {True}
        play(both, ["new0", "new1", "new2"])
        wait_until(lambda: all(learned(app) == 9 for app in both))
        with grpc.insecure_channel(follower.address) as channel:
            admin = admin_pb2_grpc.AdminServiceStub(channel)
            assert admin.EraseEpisode(admin_pb2.EraseEpisodeRequest(episode_id="new1")).records == 3
        with pytest.raises(EpisodeEnded, match="erased"):
            decide(leader, "new1", 2)
        assert "new1" not in {r.episode_id for r in leader.journal.openings(POLICY)}
        play(both, ["later"])
        wait_until(lambda: all(learned(app) == 10 for app in both))
    assert replays_to_the_bit(dsn)
    with host(dsn) as again:
        assert learned(again) == 10
