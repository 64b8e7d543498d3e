"""`python -m tests.packaging`: builds what is released, installs it in clean environments and decides from each.

Wheel and sdist are looked into, held to what an index demands, and installed bare and with every extra; each client
decides by its table while no router runs, then asks one that the server's extra started. Writes
benchmarks/results/packages.json and a table of docs/packages.md; ends with 1 if anything is wrong.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.latency import where
from deploy.release import distributions, proto_archive
from tests.environments import UV
from tests.habits.sources import REPOSITORY
from tests.packaging.contents import CPYTHONS, sdist_findings, wheel_findings
from tests.packaging.environments import TrialFailed
from tests.packaging.trials import installed_pythons, plan, routed, try_one, untried_extras
from tests.pages import table, write_between

RESULT = REPOSITORY / "benchmarks" / "results" / "packages.json"
PAGE = REPOSITORY / "docs" / "packages.md"
COMMAND = "python -m tests.packaging"
TWINE = "twine==7.0.0"
CHECK_WHEEL_CONTENTS = "check-wheel-contents==0.6.3"
INTENDED = "W009"  # two packages in one wheel: the client, and the service that an extra makes usable


def main() -> None:
    """Builds, tries, writes."""
    with TemporaryDirectory() as directory:
        findings, result = try_all(Path(directory))
    place = where(COMMAND)
    RESULT.write_text(json.dumps(result | {"findings": findings} | place, indent=2) + "\n", "utf-8")
    for name, rows in tables(result).items():
        write_between(PAGE, (f"<!-- {name}: {COMMAND} -->", f"<!-- end of {name} -->"), table(rows), place)
    for finding in findings:
        print(f"WRONG: {finding}")
    if result["not_tried"]:
        print(f"Not tried, for want of an interpreter here: CPython {', '.join(result['not_tried'])}")
    sys.exit(bool(findings))


def try_all(folder: Path) -> tuple[list[str], dict[str, Any]]:
    """What is wrong, and what was measured."""
    sdist, wheel = distributions(folder)
    files = {path.name: path.stat().st_size for path in (wheel, sdist, proto_archive(folder))}
    findings = [*wheel_findings(wheel), *sdist_findings(sdist), *index_findings(wheel, sdist), *untried_extras()]
    pythons, rows = installed_pythons(), []
    with routed(folder, wheel) as address:
        for trial in plan(wheel, sdist, pythons):
            print(f"{trial} ... ", end="", flush=True)
            try:
                rows.append(try_one(folder / "tried", trial, address))
                print("decided")
            except TrialFailed as error:
                findings.append(f"{trial}: {error}")
                print("FAILED")
    not_tried = [minor for minor in CPYTHONS if minor not in pythons]
    return findings, {"files": files, "environments": rows, "not_tried": not_tried}


def index_findings(wheel: Path, sdist: Path) -> list[str]:
    """What an index, and the checker of wheels, would object to."""
    checks: tuple[list[str | Path], ...] = (
        [TWINE, "twine", "check", "--strict", wheel, sdist],
        [CHECK_WHEEL_CONTENTS, "check-wheel-contents", "--ignore", INTENDED, wheel],
    )
    said = []
    for check in checks:
        run = [UV, "tool", "run", "--quiet", "--from", *check]
        done = subprocess.run(run, capture_output=True, text=True, check=False)
        said += [f"{check[0]}: {done.stdout}{done.stderr}"] if done.returncode else []
    return said


def tables(result: dict[str, Any]) -> dict[str, list[list[str]]]:
    """Rows for the page, by the name of their place there."""
    files = [["file", "kB"], *([f"`{name}`", f"{size / 1000:.0f}"] for name, size in result["files"].items())]
    tried = [["installed", "Python", "packages", "MiB on disk", "decides without a router", "with one"]]
    steps = ("interpreter", "with grpcio", "with protobuf", "with sojourn", "a client made")
    measured = [["installed", "Python", "grpcio", *steps, "import, ms"]]
    for row in result["environments"]:
        said = (row["without_router"], row["with_router"])
        tried.append([row["name"], row["python"], str(row["packages"]), f"{row['disk_mib']:.0f}", *said])
        if cost := row.get("footprint"):
            grown = [f"{mib:.1f}" for mib in cost["resident_mib"].values()]
            measured.append([row["name"], row["python"], cost["grpcio"], *grown, str(cost["import_ms"])])
    return {"files": files, "environments": tried, "memory": measured}


if __name__ == "__main__":
    main()
