"""`python -m tests.packaging.image`: the Dockerfile built and run where there is no container engine and no registry.

A Debian of the suite that the Dockerfile's base is made of, with Debian's own Python, stands in for that base under its
name. The image is then started as its configuration says, asked for a decision through its port, and stopped. Writes
benchmarks/results/image.json and a table of docs/packages.md; ends with 1 if anything is wrong. Needs Linux and root.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from benchmarks.latency import where
from benchmarks.memory import resident_mib
from deploy.release import ROOT, version
from tests.packages import NoProgram, found_or_installed, on_path
from tests.packaging.container import Buildah, Container, bootstrap, started, wait_for
from tests.packaging.environments import HERE, TrialFailed
from tests.pages import table, write_between

RESULT = ROOT / "benchmarks" / "results" / "image.json"
PAGE = ROOT / "docs" / "packages.md"
COMMAND = "python -m tests.packaging.image"
MARKS = (f"<!-- image: {COMMAND} -->", "<!-- end of image -->")
STOP_WITHIN_S = 10.0  # what Docker waits before it kills
LEFT_OUT = ("matplotlib", "mypy", "numpy", "pip", "pytest", "scipy", "uv")
"""Distributions that a router has no use for."""


def main() -> None:
    """Builds, runs, writes."""
    parser = argparse.ArgumentParser(prog=COMMAND, description=__doc__)
    parser.add_argument("--base", type=Path, help="tar file of the Debian; made there if there is none")
    given = parser.parse_args()
    with TemporaryDirectory() as directory:
        try:
            result = try_image(Path(directory), given.base)
        except (NoProgram, TrialFailed) as error:
            sys.exit(f"WRONG: {error}")
    place = where(COMMAND)
    RESULT.write_text(json.dumps(result | place, indent=2) + "\n", "utf-8")
    rows = [["measured", "value"], *([name, f"{value:g}"] for name, value in result["measured"].items())]
    write_between(PAGE, MARKS, f"{table(rows)}\n\n{result['stand_in']}", place)
    print(json.dumps(result, indent=2))
    sys.exit(bool(result["findings"]))


def try_image(folder: Path, tree: Path | None) -> dict[str, Any]:
    """What is wrong, and what was measured. Raises NoProgram, TrialFailed."""
    if os.geteuid() != 0:
        raise NoProgram("building by chroot needs root")
    for program, package in (("buildah", "buildah"), ("mmdebstrap", "mmdebstrap"), ("ip", "iproute2")):
        found_or_installed(lambda program=program: on_path(program), package)  # type: ignore[misc] # bound on purpose
    base, tag = base_image(), f"sojourn:{version()}"
    tree = tree or folder / "base.tar"
    if not tree.exists():
        bootstrap(base.rpartition("-")[2], tree)
    buildah, began = Buildah(folder), time.monotonic()
    buildah.stand_in(base, tree)
    buildah.build(ROOT, tag)
    measured = {"build, s": time.monotonic() - began}
    below, root = buildah.unpacked(base), buildah.unpacked(f"localhost/{tag}")
    measured |= {"stand-in for the base, MB": _bytes_of(below) / 1e6, "on top of it, MB": _bytes_of(root / "opt") / 1e6}
    configuration = buildah.configuration(f"localhost/{tag}")
    data = folder / "volume"
    data.mkdir()
    findings = list(configuration_findings(configuration))
    for run in ("first", "second"):
        with started(root, data, configuration, folder / f"{run}.log") as container:
            findings += [f"{run} start: {finding}" for finding in run_findings(container, configuration, run, measured)]
    rounded = {name: round(value, 1) for name, value in measured.items()}
    return {"measured": rounded, "stand_in": stand_in(base, below), "findings": findings}


def base_image() -> str:
    """The one base that the Dockerfile names, such as python:3.13-slim-trixie."""
    (base,) = set(re.findall(r"^FROM (\S+)", (ROOT / "Dockerfile").read_text("utf-8"), re.MULTILINE))
    return str(base)


def stand_in(base: str, root: Path) -> str:
    """In which way the base was not the real one. Raises TrialFailed where the Pythons differ too much to tell."""
    suite = base.rpartition("-")[2]
    said = subprocess.run(["chroot", root, "python3", "--version"], capture_output=True, text=True, check=True).stdout
    found, wanted = said.split()[1], base.partition(":")[2].partition("-")[0]
    if found.rpartition(".")[0] != wanted:
        raise TrialFailed(f"Debian {suite} has Python {found}, the base has {wanted}")
    return (
        f"The base was not `{base}` of a registry but a stand-in of its name: Debian {suite} by mmdebstrap with pip, "
        f"this machine's certificate authorities, and Debian's own Python {found} in `/usr/bin`; the real one has "
        "python.org's in `/usr/local/bin`. No engine and no HEALTHCHECK timer took part: the command was run by hand."
    )


def configuration_findings(configuration: dict[str, Any]) -> Iterator[str]:
    """What the image does not say about itself."""
    if configuration["User"].split(":")[0] in ("", "0", "root"):
        yield "it runs as root"
    if "50051/tcp" not in configuration.get("ExposedPorts", {}):
        yield "it does not expose its port"
    if "Healthcheck" not in configuration:
        yield "it has no health check"


def run_findings(
    container: Container, configuration: dict[str, Any], run: str, measured: dict[str, float]
) -> Iterator[str]:
    """What a running container does wrong, from its health to its end."""
    began = time.monotonic()
    check = configuration["Healthcheck"]["Test"][1:]
    healthy = lambda: container.execute(*check).returncode == 0 or None  # noqa: E731 - named for what it tells
    try:
        wait_for(healthy, f"it is not healthy: {' '.join(check)}")
    except TrialFailed as error:
        raise TrialFailed(f"{error}\n{container.log.read_text()[-2_000:]}") from None
    measured[f"{run} start to healthy, s"] = time.monotonic() - began
    if run == "first":
        decided = json.loads(container.reach(sys.executable, str(HERE / "decide_once.py"), "127.0.0.1:50051", "20000"))
        if decided["fallback"] is not None:
            yield f"it did not decide: {decided}"
    elif container.execute("sojourn", "explain", "packaged", "--journal", ".").returncode:
        yield "what was decided before it ended is not in the volume"
    yield from confinement_findings(container)
    measured["resident, MiB"] = resident_mib(container.pid)
    code, seconds = container.stop(STOP_WITHIN_S)
    measured[f"{run} stop on SIGTERM, s"] = seconds
    if code != 0:
        yield f"it ended with {code}"


def confinement_findings(container: Container) -> Iterator[str]:
    """What the container could do and should not; and what is in it for nothing."""
    if (users := set(container.status("Uid").split())) != {"10001"}:
        yield f"it runs as {users}"
    if int(container.status("CapEff"), 16):
        yield "it has capabilities"
    for place in ("/", "/opt/sojourn", "/usr/local/bin"):
        if container.execute("touch", f"{place}/written").returncode == 0:
            yield f"{place} can be written to"
    if container.execute("touch", "/var/lib/sojourn/written", "/tmp/written").returncode:
        yield "its volume or /tmp cannot be written to"
    listed = container.execute(
        "python", "-c", "import importlib.metadata as m\nfor d in m.distributions(): print(d.name)"
    )
    yield from (f"{name} is in it for nothing" for name in LEFT_OUT if name in listed.stdout.split())


def _bytes_of(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


if __name__ == "__main__":
    main()
