"""The disk that fails needs Linux and a C compiler; without them its tests are skipped loudly, but never in CI."""

from __future__ import annotations

import os
import sys

import pytest

from tests.torture.disk import compiler

NEED_THE_DISK = {"test_kills.py", "test_power.py", "test_disk_faults.py"}


@pytest.fixture(autouse=True)
def possible(request: pytest.FixtureRequest) -> None:
    """Skips what cannot run here."""
    if request.node.path.name in NEED_THE_DISK and "CI" not in os.environ:
        if sys.platform != "linux":
            pytest.skip("the disk that fails needs Linux")
        if compiler() is None:
            pytest.skip("the disk that fails needs a C compiler: cc, gcc or clang")
