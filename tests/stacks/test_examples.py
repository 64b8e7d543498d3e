"""Each stack's example runs, with a router and without; where the package is missing it is skipped, as the laws are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sojourn_server.app import App
from tests.stacks.agents_under_test import STACKS, agent_class
from tests.stacks.test_laws import models_of

FOLDER = Path(__file__).parents[2] / "examples" / "stacks"
EXAMPLES = dict(
    zip(
        STACKS,
        ("litellm_router", "langchain_agent", "openai_agents_run", "pydantic_ai_agent", "strands_agent"),
        strict=True,
    )
)

pytestmark = [pytest.mark.parametrize("stack", STACKS), pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


def run(stack: str, address: str) -> str:
    """What the example prints."""
    try:
        agent_class(stack)
    except ImportError as error:
        pytest.skip(f"SKIPPED: {stack} is not installed ({error}); run python -m tests.stacks")
    variables = os.environ | {"SOJOURN_ADDRESS": address, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    example = [sys.executable, str(FOLDER / f"{EXAMPLES[stack]}.py")]
    result = subprocess.run(example, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0 or "sojourn.errors.DroppedReports" in result.stderr.splitlines()[-1]
    return result.stdout


def test_an_example_prints_the_models_that_the_router_chose(stack: str, server: App):
    printed = run(stack, server.address)
    chosen = models_of(server, f"{stack}-example")
    assert len(chosen) == 2
    assert all(model in printed for model in chosen)


def test_an_example_runs_without_a_router_and_says_that_its_reports_were_lost(stack: str, unused_port: int):
    assert "deepseek-v3.2" in run(stack, f"127.0.0.1:{unused_port}")
