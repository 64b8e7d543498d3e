"""Clean environments with one distribution each, and what is tried in them: decisions without and with a router.

An environment is made by uv from the built file alone, its own folder as the working directory and nothing of the
checkout on its path, so that only what was packed can be imported.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import typing_extensions

from tests.environments import UV, NotInstalled, environment
from tests.ports import find_unused_port
from tests.serving import DidNotStart, address_of

HERE = Path(__file__).resolve().parent
WITHIN_S = 300.0


class TrialFailed(Exception):
    """Something in an environment did not do what it should."""


@dataclass(frozen=True)
class Environment:
    """A virtual environment in a folder of its own."""

    folder: Path

    def run(self, program: str, *arguments: object) -> str:
        """What one of its programs prints. Raises TrialFailed if it ends badly."""
        command = [str(self.folder / "bin" / program), *(str(argument) for argument in arguments)]
        done = subprocess.run(
            command, cwd=self.folder, env=clean(), capture_output=True, text=True, timeout=WITHIN_S, check=False
        )
        if done.returncode:
            raise TrialFailed(f"{program} {' '.join(command[1:])}:\n{(done.stdout + done.stderr)[-2_000:]}")
        return done.stdout

    def decide(self, address: str, deadline_ms: float) -> dict[str, Any]:
        """One decision of its client: `model`, `reason`, `fallback`."""
        return dict(json.loads(self.run("python", HERE / "decide_once.py", address, deadline_ms)))

    def footprint(self) -> dict[str, Any]:
        """What importing the client costs: see footprint.py."""
        return dict(json.loads(self.run("python", HERE / "footprint.py")))

    def installed(self) -> int:
        """How many distributions are installed in it."""
        ask: list[str | Path] = [
            UV,
            "pip",
            "list",
            "--quiet",
            "--format",
            "json",
            "--python",
            self.folder / "bin" / "python",
        ]
        return len(json.loads(subprocess.run(ask, capture_output=True, check=True).stdout))

    def disk_mib(self) -> float:
        """What its packages take on disk."""
        (packages,) = self.folder.glob("lib/python*/site-packages")
        return sum(path.stat().st_size for path in packages.rglob("*") if path.is_file()) / 2**20


def clean(**more: str) -> dict[str, str]:
    """The variables that the network needs and no others, so that nothing of this checkout's is taken over."""
    network = re.compile("PROXY|proxy|CERT|CA_BUNDLE")
    kept = {name: value for name, value in os.environ.items() if network.search(name)}
    return {"PATH": "/usr/bin:/bin", "HOME": os.environ.get("HOME", "/"), **kept, **more}


def make(folder: Path, python: Path | str, requirement: str) -> Environment:
    """Makes an environment with one requirement, compiled as pip does it. Raises TrialFailed."""
    try:
        environment(folder, "--compile-bytecode", requirement, python=python, beside=folder.parent)
    except NotInstalled as error:
        raise TrialFailed(str(error)) from error
    return Environment(folder)


@contextmanager
def router(made: Environment, address: str = "127.0.0.1:0", **variables: str) -> Iterator[str]:
    """A router of an environment, with its journal in `data` there: its address. Raises TrialFailed."""
    command: list[str | Path] = [made.folder / "bin" / "sojourn", "serve", "--address", address]
    settings = clean(SOJOURN_JOURNAL__DIRECTORY="data", SOJOURN_LOG__FORMAT="json", **variables)
    process = subprocess.Popen(command, cwd=made.folder, env=settings, stderr=subprocess.PIPE, text=True)
    try:
        yield address_of(process)
    except DidNotStart as error:
        raise TrialFailed(f"the router did not start:\n{error}") from error
    finally:
        process.terminate()
        process.communicate(timeout=WITHIN_S)
    if process.returncode:
        raise TrialFailed(f"the router ended with {process.returncode}")


def metrics_of(made: Environment) -> str:
    """What a router of this environment serves to Prometheus."""
    port = str(find_unused_port())
    with (
        router(made, OTEL_METRICS_EXPORTER="prometheus", OTEL_EXPORTER_PROMETHEUS_PORT=port),
        urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=WITHIN_S) as answer,
    ):
        return str(answer.read().decode())


def link_dependencies(folder: Path) -> None:
    """Puts the client's dependencies into a folder: with it as the path and `python -S` nothing else is found."""
    for package in ("grpc", "google"):
        (folder / package).symlink_to(Path(grpc.__file__).parents[1] / package)
    (folder / "typing_extensions.py").symlink_to(typing_extensions.__file__)
