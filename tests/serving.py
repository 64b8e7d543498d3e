"""Routers in processes of their own: where they listen."""

from __future__ import annotations

import json
import subprocess


class DidNotStart(Exception):
    """A router that ended instead; says what it wrote."""


def address_of(process: subprocess.Popen[str]) -> str:
    """Where a `sojourn serve` that logs JSON to a pipe listens, once it serves. Raises DidNotStart."""
    assert process.stderr is not None
    said = []
    for line in process.stderr:
        said.append(line)
        if '"serving"' in line:
            return str(json.loads(line)["address"])
    raise DidNotStart("".join(said)[-2_000:])
