"""Whatever bytes arrive, the server answers with a status and goes on."""

from __future__ import annotations

from math import isfinite
from pathlib import Path

import pytest

from sojourn.v1 import admin_pb2
from tests.rpc.wire import connected
from tests.torture.audit import audit
from tests.torture.fuzz import fuzz
from tests.torture.service import Server

INPUTS = 8_000
ADMIN_INPUTS = 3_000
MAY_GROW_MIB = 15
"""By open episodes and by caches; a call that is kept for every message that cannot be parsed comes to 27."""


@pytest.mark.timeout(180)
def test_no_message_crashes_the_server_or_leaves_something_non_finite(tmp_path: Path, unused_port: int):
    """After 8,000 odd messages it decides as before, and its policy is the fold of what it recorded."""
    server = Server(tmp_path, unused_port)
    server.start()
    fuzzed = fuzz(server.address, inputs=INPUTS // 2, seed=2)
    before_mib = server.resident_mib()
    fuzzed = fuzz(server.address, inputs=INPUTS // 2, seed=1)
    assert server.resident_mib() - before_mib < MAY_GROW_MIB
    assert fuzzed.faults == ()
    assert fuzzed.statuses["OK"] > INPUTS / 20
    assert fuzzed.statuses["INVALID_ARGUMENT"] > INPUTS / 20
    with connected(server.address) as stubs:
        ranked = stubs.decide("afterwards", tool_type="code", prompt_tokens=4_000).ranked
        assert all(isfinite(each.utility) and 0.0 <= each.probability <= 1.0 for each in ranked)
        assert stubs.admin.GetPolicy(admin_pb2.GetPolicyRequest()).statistics.episodes > 0
    assert server.stop() == 0
    assert audit(server.data, {}).sound


@pytest.mark.timeout(180)
def test_administrators_may_say_what_they_like_too(tmp_path: Path, unused_port: int):
    """Prices, drains, modes, roll backs, undoing and erasing, amid decisions: all odd, and the fold follows."""
    server = Server(tmp_path, unused_port)
    server.start()
    fuzzed = fuzz(server.address, inputs=ADMIN_INPUTS, seed=4, admin_share=0.3)
    assert fuzzed.faults == ()
    assert fuzzed.statuses["OK"] > ADMIN_INPUTS / 20
    assert server.stop() == 0
    findings = audit(server.data, {})
    assert (findings.replay_max_abs_difference, findings.repeated) == (0.0, 0)
