"""`python -m tests.verify`: all that is too slow for every change; writes docs/verification.md.

Each check is a command of its own that ends with 0 if all is well. A check that is not run keeps the line of its last
run, with the commit of then.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from benchmarks.latency import where
from tests.pages import table

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "verification.json"
PAGE = ROOT / "docs" / "verification.md"
LOGS = ROOT / "dist" / "verification"


HEAD = """# Verification

What is too slow for every change, and when it was last seen to hold. `make verify` runs all of it and writes
this page; `python -m tests.verify CHECK` runs a part.
"""


class Check(NamedTuple):
    """What is checked, and by which arguments of Python."""

    what: str
    arguments: tuple[str, ...]
    environment: Mapping[str, str] = {}


SLOW_NEEDS = ("--all-extras", "--group", "textworld", "--group", "scienceworld")
CHECKS = {
    "languages": Check("clients of all languages, all scenarios", ("-m", "tests.scenarios")),
    "stacks": Check("agent stacks, oldest and newest version of each", ("-m", "tests.stacks")),
    "backends": Check("traces in Phoenix, MLflow and Jaeger, read back from each", ("-m", "tests.backends")),
    "deploy": Check(
        "Compose, Helm, Envoy, Prometheus: every part by its own tool",
        ("-m", "pytest", "-q", "tests/deploy"),
        {"SOJOURN_VERIFY": "1"},
    ),
    "slow": Check(
        "tests that are marked slow: TextWorld and ScienceWorld, with Java",
        ("-m", "uv", "run", "--quiet", "--locked", *SLOW_NEEDS, "python", "-m", "pytest", "-q", "-m", "slow", "tests"),
        {"UV_PROJECT_ENVIRONMENT": "dist/verification/environment"},
    ),
    "cluster": Check(
        "three hosts, an Envoy and PostgreSQL, each fault four times", ("-m", "tests.cluster", "--rounds", "4")
    ),
    "packages": Check("wheel and sdist in clean environments, with every extra", ("-m", "tests.packaging")),
    "image": Check("the image, built and run without an engine", ("-m", "tests.packaging.image")),
    "first-decision": Check(
        "from a clone to the first decision, in each language", ("-m", "tests.packaging.first_decision")
    ),
    "arena": Check("coarse claims about the policy on live episodes", ("-m", "benchmarks.arena.quick")),
}


def main() -> None:
    """Runs the checks asked for, writes what came of them; ends with 1 if one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.verify", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="CHECK", help=f"of {', '.join(CHECKS)}; all unless given")
    given = parser.parse_args()
    if unknown := set(given.names) - CHECKS.keys():
        parser.error(f"no check {', '.join(sorted(unknown))}; there are {', '.join(CHECKS)}")
    known = json.loads(RESULT.read_text()) if RESULT.exists() else {}
    failed = False
    for name in given.names or CHECKS:
        known[name] = ran = run(name, CHECKS[name])
        failed = failed or not ran["passed"]
        RESULT.write_text(json.dumps(known, indent=2) + "\n")
        PAGE.write_text(page(known))
    sys.exit(failed)


def run(name: str, check: Check) -> dict[str, object]:
    """Runs a check; its output goes to a file."""
    LOGS.mkdir(parents=True, exist_ok=True)
    path = LOGS / f"{name}.log"
    print(f"{name}: {check.what} ... ", end="", flush=True)
    started = time.monotonic()
    with path.open("wb") as log:
        code = subprocess.run(
            [sys.executable, *check.arguments],
            cwd=ROOT,
            env={**os.environ, **check.environment},
            stdout=log,
            stderr=log,
            check=False,
        ).returncode
    seconds = round(time.monotonic() - started)
    print(f"passed in {seconds} s" if code == 0 else f"FAILED, see {path.relative_to(ROOT)}")
    last = path.read_text(errors="replace").rstrip().rpartition("\n")[2]
    place = where(" ".join(["python", *check.arguments]))
    return {"passed": code == 0, "seconds": seconds, "said": last[-100:] if name in ("deploy", "slow") else ""} | place


def page(known: Mapping[str, Mapping[str, object]]) -> str:
    """The page: a line for each check."""
    rows = [["check", "result", "seconds", "date", "commit", "command"]]
    for name, check in CHECKS.items():
        ran = known.get(name)
        if ran is None:
            rows.append([check.what, "never run", "", "", "", f"`python {' '.join(check.arguments)}`"])
            continue
        verdict = f"{'passed' if ran['passed'] else '**failed**'} {ran['said']}".strip()
        rows.append(
            [check.what, verdict, *(str(ran[key]) for key in ("seconds", "date", "commit")), f"`{ran['command']}`"]
        )
    return f"{HEAD}\n{table(rows)}\n"


if __name__ == "__main__":
    main()
