"""What docs/tracing.md shows was seen, with the laws of today."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LAWS = ast.parse((ROOT / "tests" / "backends" / "test_laws.py").read_text("utf-8"))
SEEN = json.loads((ROOT / "benchmarks" / "results" / "backends.json").read_text("utf-8"))
MAX_PICTURE_BYTES = 200_000


@pytest.mark.parametrize("backend", ["phoenix", "mlflow", "jaeger"])
def test_every_law_was_tried_in_every_backend_and_none_failed(backend: str):
    laws = {f.name.removeprefix("test_") for f in LAWS.body if isinstance(f, ast.FunctionDef) and "test_" in f.name}
    assert SEEN[backend]["laws"].keys() == laws
    assert SEEN[backend]["failed"] == 0
    assert SEEN[backend]["passed"] >= 6


@pytest.mark.parametrize("backend", ["phoenix", "mlflow"])
def test_each_picture_is_there_and_small(backend: str):
    assert 0 < (ROOT / "docs" / "images" / f"{backend}.png").stat().st_size <= MAX_PICTURE_BYTES
