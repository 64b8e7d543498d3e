"""What was computed already, kept in files under a digest of the code that decides how it comes out."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import cache
from hashlib import sha256
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER_VARIABLE = "SOJOURN_ARENA_DIR"
_FOLDERS = ("server/sojourn_server", "clients/python/sojourn", "benchmarks/arena")
_SILENT = frozenset(
    {
        "report.py",
        "measures.py",
        "plots.py",
        "quick.py",
        "contests.py",
        "progress.py",
        "__main__.py",
        "questions",
        "cli",
    }
)
"""Files and folders that name what is played and read results, but decide none."""


@cache
def folder() -> Path:
    """Where this code's results are kept; other code has another folder."""
    files = [file.relative_to(ROOT) for folder in _FOLDERS for file in (ROOT / folder).rglob("*.py")]
    digest = sha256()
    for file in sorted(file for file in files if _SILENT.isdisjoint(file.parts)):
        digest.update((ROOT / file).read_bytes())
    return Path(os.environ.get(FOLDER_VARIABLE, ROOT / ".arena")) / digest.hexdigest()[:12]


def remembered(name: str, compute: Callable[[], Any]) -> Any:
    """What `compute` gave the first time, as JSON keeps it; `name` may contain folders."""
    path = folder() / f"{name}.json"
    if not path.exists():
        write(path, compute())
    return json.loads(path.read_text())


def write(path: Path, value: Any) -> None:
    """Writes a value as JSON, whole or not at all."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(value))
    part.rename(path)
