"""The command as it is installed: help, version, missing extras."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import version

import pytest

from sojourn_server.cli.program import COMMANDS
from tests.cli.command import run

SHOWN = ("episodes", "episode", "decision", "policy", "models")
BLOCK = "import sys; sys.modules[{blocked!r}] = None; sys.argv = ['sojourn', *{arguments!r}]; "
MAIN = "from sojourn_server.cli import main; main()"


@pytest.mark.parametrize(
    "command", [*([c] for c in COMMANDS if c not in {"show", "demo"}), *(["show", s] for s in SHOWN)], ids=str
)
def test_every_command_teaches_by_example(command: list[str]):
    result = run(*command, "--help")
    assert result.exit_code == 0
    assert f"sojourn {' '.join(command)}" in result.output.partition("Example")[2]


def test_the_version_is_the_distribution_s():
    assert run("--version").output.strip() == version("sojourn")


def test_an_unknown_command_is_a_usage_error():
    assert run("serv").exit_code == 2


@pytest.mark.parametrize(
    ("blocked", "arguments"), [("typer", ["--help"]), ("structlog", ["serve"]), ("grpc_health", ["health"])]
)
def test_a_bare_install_is_told_which_extra_it_lacks(blocked: str, arguments: list[str]):
    code = BLOCK.format(blocked=blocked, arguments=arguments) + MAIN
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert "pip install 'sojourn[server]'" in result.stderr
    assert "Traceback" not in result.stderr


def test_health_waits_for_nothing_that_it_does_not_need():
    """The image runs it every few seconds."""
    code = (
        "import sys; from sojourn_server.cli.program import run\n"
        "try: run(['health', '--help'])\n"
        "except SystemExit: print(sorted({'vowpalwabbit', 'rich', 'grpc', 'sojourn'} & sys.modules.keys()))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.splitlines()[-1] == "[]"
