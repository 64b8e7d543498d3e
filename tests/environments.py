"""Virtual environments that a run makes for packages of its own, and what pytest found in them."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

from tests.habits.sources import REPOSITORY

UV = Path(sys.executable).with_name("uv")

Outcome = Literal["passed", "failed", "skipped"]


class NotInstalled(Exception):
    """What uv said instead."""


def environment(
    folder: Path, *requirements: str, python: Path | str = sys.executable, beside: Path = REPOSITORY
) -> Path:
    """Makes a virtual environment; its Python. Paths among the requirements are below `beside`. Raises NotInstalled."""
    made = folder / "bin" / "python"
    commands: tuple[list[str | Path], ...] = (
        ["venv", "--quiet", "--python", python, folder],
        ["pip", "install", "--quiet", "--python", made, *requirements],
    )
    for command in commands:
        done = subprocess.run([UV, *command], cwd=beside, stderr=subprocess.PIPE, text=True, check=False)
        if done.returncode:
            raise NotInstalled(f"uv {' '.join(str(part) for part in command)}:\n{done.stderr[-2_000:]}")
    return made


def version_of(python: Path, package: str) -> str:
    """The version of a package that an environment has."""
    code = f"import importlib.metadata as m; print(m.version({package!r}))"
    return subprocess.run([python, "-c", code], capture_output=True, text=True, check=True).stdout.strip()


def outcomes(
    python: Path, folder: Path, selection: Sequence[str], variables: Mapping[str, str] | None = None
) -> dict[str, Outcome]:
    """Runs some of the tests by an environment's Python; what came of each, by "module::name"."""
    report = folder / "report.xml"
    tests = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", f"--junit-xml={report}", *selection]
    subprocess.run(tests, cwd=REPOSITORY, env=variables, check=False)
    cases = ET.parse(report).getroot().iter("testcase")
    return {f"{case.attrib['classname']}::{case.attrib['name']}": _outcome(case) for case in cases}


def _outcome(case: ET.Element) -> Outcome:
    tags = {child.tag for child in case}
    if tags & {"failure", "error"}:
        return "failed"
    return "skipped" if "skipped" in tags else "passed"
