"""A killed router loses nothing that it acknowledged, and learns it exactly once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.kills import kill_again_and_again

KILLS = 50


@pytest.mark.timeout(300)
def test_killed_servers_lose_no_acknowledged_record_and_learn_each_outcome_once(tmp_path: Path, unused_port: int):
    """After 50 kills, at random moments and amid commits, snapshots and starts, everything acknowledged is there once,
    and the newest snapshot is the fold of the journal to the last bit."""
    killed = kill_again_and_again(tmp_path, unused_port, kills=KILLS, seed=50)
    assert killed.findings.sound, killed
    assert killed.findings.outcomes > KILLS
    assert killed.at_operations > KILLS / 4
