"""Each stack's example runs, with a router and without; where the package is missing it is skipped, as the laws are."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from sojourn_server.app import App
from tests.stacks.agents_under_test import STACKS, agent_class
from tests.stacks.ai_sdk import FOLDER_VARIABLE, STACK
from tests.stacks.test_laws import models_of

FOLDER = Path(__file__).parents[2] / "examples" / "stacks"
EXAMPLES = {
    "litellm": "litellm_router.py",
    "langchain": "langchain_agent.py",
    "openai-agents": "openai_agents_run.py",
    "pydantic-ai": "pydantic_ai_agent.py",
    "strands": "strands_agent.py",
    STACK: "ai_sdk_run.ts",
}

pytestmark = [pytest.mark.parametrize("stack", STACKS), pytest.mark.filterwarnings("default"), pytest.mark.timeout(300)]


def run(stack: str, address: str) -> str:
    """What the example prints."""
    try:
        agent_class(stack)
    except ImportError as error:
        pytest.skip(f"SKIPPED: {stack} is not installed ({error}); run python -m tests.stacks")
    variables = os.environ | {"SOJOURN_ADDRESS": address, "LITELLM_LOCAL_MODEL_COST_MAP": "True"}
    file = FOLDER / EXAMPLES[stack]
    program = [sys.executable, str(file)] if file.suffix == ".py" else ["node", f"dist/stacks/{file.stem}.js"]
    folder = os.environ[FOLDER_VARIABLE] if stack == STACK else None
    result = subprocess.run(program, cwd=folder, env=variables, capture_output=True, text=True, check=False)
    assert result.returncode == 0 or "sojourn.errors.DroppedReports" in result.stderr.splitlines()[-1]
    return result.stdout


def test_an_example_prints_the_models_that_the_router_chose(stack: str, server: App):
    printed = run(stack, server.address)
    chosen = models_of(server, f"{stack}-example")
    assert len(chosen) == 2
    assert all(model in printed for model in chosen)


def test_an_example_runs_without_a_router_and_says_that_its_reports_were_lost(stack: str, unused_port: int):
    assert "deepseek-v3.2" in run(stack, f"127.0.0.1:{unused_port}")
