"""`python -m tests.packaging.first_decision`: seconds from `git clone` to the first decision, in each language.

For each language a fresh clone, a fresh home, a router installed and started as the READMEs say, then the commands of
the client's README until its program prints the router's decision. First with empty caches, then once more with those
that the first time left. The languages' own tools (compiler, package manager) are there beforehand. Writes
benchmarks/results/first_decision.json and a table of docs/clients.md; ends with 1 if a decision did not come.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.latency import where
from tests.habits.sources import REPOSITORY
from tests.packaging.environments import Environment, TrialFailed, clean, router
from tests.pages import table, write_between
from tests.scenarios.languages import LANGUAGES

RESULT = REPOSITORY / "benchmarks" / "results" / "first_decision.json"
PAGE = REPOSITORY / "docs" / "clients.md"
COMMAND = "python -m tests.packaging.first_decision"
MARKS = (f"<!-- first decision: {COMMAND} -->", "<!-- end of first decision -->")
ADDRESS = "127.0.0.1:50051"  # as the READMEs have it
REASON = "FIRST_TURN"
WITHIN_S = 1_500.0
MOST_TRIES = 10
Seconds = dict[str, float]
BEFORE = """
From `git clone` to the first decision, in seconds: a fresh clone and home, the router installed from the clone and
started, the client built, all as the READMEs say and downloads included; compilers and package managers were there.
Then again with the caches that this left. The time is the machine's and the network's as much as the client's.
"""


def main() -> None:
    """Measures the languages asked for; one that is not asked for keeps what its last run came to."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("names", nargs="*", metavar="LANGUAGE", help=f"of {', '.join(LANGUAGES)}; all unless given")
    names = parser.parse_args().names or list(LANGUAGES)
    known = json.loads(RESULT.read_text("utf-8")) if RESULT.exists() else {}
    failed = False
    for name in names:
        place = where(COMMAND)
        try:
            known[name] = measure(name) | place
        except TrialFailed as error:
            failed = True
            print(f"{name}: FAILED: {error}", flush=True)
            continue
        print(f"{name}: {known[name]}", flush=True)
        RESULT.write_text(json.dumps(known, indent=2) + "\n", "utf-8")
        write_between(PAGE, MARKS, f"{BEFORE}\n{table(rows(known))}", place)
    sys.exit(failed)


def measure(name: str) -> dict[str, Seconds]:
    """Seconds of one language with cold and with warm caches, by step. Raises TrialFailed."""
    if missing := LANGUAGES[name].prepare():
        raise TrialFailed(f"not on this machine: {', '.join(missing)}")
    with TemporaryDirectory(ignore_cleanup_errors=True) as directory:  # Go's modules cannot be written to
        home = Path(directory) / "home"
        home.mkdir()
        return {caches: walk(name, Path(directory) / caches, home) for caches in ("cold", "warm")}


def walk(name: str, folder: Path, home: Path) -> Seconds:
    """The whole way of a newcomer, once: seconds by step. Raises TrialFailed."""
    folder.mkdir()
    variables = _variables(home)
    began = time.monotonic()
    _do("git", "clone", "--quiet", str(REPOSITORY), "clone", folder=folder, variables=variables)
    cloned = time.monotonic()
    _do(f"{sys.base_prefix}/bin/python3", "-m", "venv", "venv", folder=folder, variables=variables)
    _do("venv/bin/pip", "install", "--quiet", "./clone[server]", folder=folder, variables=variables)
    _check_port()
    environment, tries, said = Environment(folder / "venv"), 0, ""
    *builds, decision = commands(name, folder)
    with router(environment, ADDRESS):
        served = time.monotonic()
        for build in builds:
            _do("bash", "-c", build, folder=folder / "clone" / "clients" / name, variables=variables)
    built = time.monotonic()
    while REASON not in said:  # on a busy machine the deadline may pass, and the table decides; then all is tried anew
        if tries == MOST_TRIES:
            raise TrialFailed(f"the router did not decide: {said}")
        tries += 1
        shutil.rmtree(environment.folder / "data")
        with router(environment, ADDRESS):
            asked = time.monotonic()
            said = _do("bash", "-c", decision, folder=folder / "clone" / "clients" / name, variables=variables)
            decided = time.monotonic()
    steps = {"clone": cloned - began, "router": served - cloned, "build": built - served, "decision": decided - asked}
    steps["all"] = sum(steps.values())
    return {step: round(seconds, 1) for step, seconds in steps.items()} | {"tries": tries}


def commands(name: str, folder: Path) -> list[str]:
    """What a README says to type beside a running router; the last line decides."""
    if name == "python":
        readme = (folder / "clone" / "README.md").read_text("utf-8")
        code = "\n".join(line[4:] for line in readme.splitlines() if line.startswith((">>> ", "... ")))
        (folder / "first_decision.py").write_text(code, "utf-8")
        return [f"{folder}/venv/bin/python {folder}/first_decision.py"]
    readme = (folder / "clone" / "clients" / name / "README.md").read_text("utf-8")
    (block,) = re.findall(r"^First decision, .*?```console\n(.*?)```", readme, re.MULTILINE | re.DOTALL)
    return re.findall(r"^\$ (.+)$", block, re.MULTILINE)


def rows(known: Mapping[str, Mapping[str, Any]]) -> list[list[str]]:
    """A row a language."""
    head = [
        "language",
        "all, caches empty",
        "of these the router",
        "the client's build",
        "all, caches filled",
        "seen on",
    ]
    body = [head]
    for name, language in LANGUAGES.items():
        if (taken := known.get(name)) is None:
            body.append([language.title, "not measured yet", *[""] * 4])
            continue
        shown = (taken["cold"]["all"], taken["cold"]["router"], taken["cold"]["build"], taken["warm"]["all"])
        body.append([language.title, *(f"{seconds:.0f}" for seconds in shown), f"{taken['date']}, {taken['commit']}"])
    return body


def _variables(home: Path) -> dict[str, str]:
    """A home of its own for every tool; only where Rust's toolchain lies is told."""
    rustup = os.environ.get("RUSTUP_HOME", str(Path.home() / ".rustup"))
    mine = str(Path(sys.executable).parent)
    path = os.pathsep.join(part for part in os.environ["PATH"].split(os.pathsep) if part != mine)
    return clean(PATH=path, HOME=str(home), RUSTUP_HOME=rustup, MAVEN_OPTS=f"-Duser.home={home}")


def _do(*command: str, folder: Path, variables: dict[str, str]) -> str:
    done = subprocess.run(
        command, cwd=folder, env=variables, capture_output=True, text=True, timeout=WITHIN_S, check=False
    )
    if done.returncode:
        raise TrialFailed(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-3_000:]}")
    return done.stdout


def _check_port() -> None:
    host, _, port = ADDRESS.partition(":")
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, int(port)))
        except OSError as error:
            raise TrialFailed(f"something listens on {ADDRESS}, where the READMEs have the router") from error


if __name__ == "__main__":
    main()
