"""Every promise names tests that exist."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_every_promise_names_a_test_that_exists():
    """Each row of the table in docs/promises.md has at least one path below tests/, and all are there."""
    promises = (ROOT / "docs" / "promises.md").read_text(encoding="utf-8").split("\n## ")[0]
    rows = [line for line in promises.splitlines() if line.startswith("| ")][2:]
    assert len(rows) > 10
    for row in rows:
        paths = re.findall(r"`(tests/[\w/.]+)`", row)
        assert paths, row
        assert [path for path in paths if not (ROOT / path).exists()] == []
