"""The `helm` of these tests, and what it renders of the chart.

Taken is, in this order: what SOJOURN_HELM names, a `helm` on the PATH, one that an earlier run built. Helm is in no
registry as a program, so it is built from Go's module proxy, which takes minutes: only where SOJOURN_VERIFY=1 asks
for all checks. Without any of these, tests that need it are skipped and say so.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.envoy import ROOT

VERSION = "v4.3.1"
KUBERNETES = "1.37.0"
CHART = ROOT / "deploy" / "helm" / "sojourn"
DEFAULTS = "defaults"
VALUE_SETS = {DEFAULTS: None, **{path.stem: path for path in sorted((CHART / "ci").glob("*.yaml"))}}
"""Files of values that the chart is tried with, by name."""
RELEASE, NAMESPACE = "prod", "routing"
BUILD_S = 1_500
Manifest = dict[str, Any]


@functools.cache
def find_helm() -> Path | None:
    """A helm that runs here, or None."""
    built = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sojourn" / f"helm-{VERSION}" / "helm"
    named = os.environ.get("SOJOURN_HELM") or shutil.which("helm")
    if named or built.exists():
        return Path(named or built)
    if os.environ.get("SOJOURN_VERIFY") == "1" and shutil.which("go"):
        module = f"helm.sh/helm/{VERSION.partition('.')[0]}/cmd/helm@{VERSION}"
        environment = {**os.environ, "GOBIN": str(built.parent)}
        subprocess.run(["go", "install", module], env=environment, check=True, timeout=BUILD_S)
        return built
    return None


def helm(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Runs it; skips the test where there is none."""
    program = find_helm()
    if program is None:
        pytest.skip("no helm: put one on the PATH, name it in SOJOURN_HELM, or build it with SOJOURN_VERIFY=1 and Go")
    command = [program, *arguments, "--kube-version", KUBERNETES]  # one built by Go may take itself for an old one
    return subprocess.run(command, capture_output=True, text=True, check=False)


def chosen(values: str) -> list[str | Path]:
    """The option for a set of values."""
    path = VALUE_SETS[values]
    return [] if path is None else ["--values", path]


@functools.cache
def rendered(values: str, *options: str) -> tuple[Manifest, ...]:
    """Every manifest of the chart with a set of values, hooks included."""
    answer = helm("template", RELEASE, CHART, "--namespace", NAMESPACE, *chosen(values), *options)
    assert answer.returncode == 0, answer.stderr
    return tuple(document for document in yaml.safe_load_all(answer.stdout) if document)


def of_kind(manifests: tuple[Manifest, ...], kind: str) -> list[Manifest]:
    """Those of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def workload(manifests: tuple[Manifest, ...]) -> Manifest:
    """The Deployment or StatefulSet."""
    (found,) = of_kind(manifests, "Deployment") + of_kind(manifests, "StatefulSet")
    return found


def pod(manifests: tuple[Manifest, ...]) -> Manifest:
    """The router's pod, as its workload makes it."""
    template: Manifest = workload(manifests)["spec"]["template"]
    return template


def router(manifests: tuple[Manifest, ...]) -> Manifest:
    """Its container."""
    (container,) = pod(manifests)["spec"]["containers"]
    found: Manifest = container
    return found


def ports_of(container: Manifest) -> dict[str, int]:
    """A container's ports by name."""
    return {port["name"]: port["containerPort"] for port in container["ports"]}


def selects(selector: dict[str, str], labels: dict[str, str]) -> bool:
    """Whether labels are selected; an empty selector is none of ours."""
    return bool(selector) and selector.items() <= labels.items()


def merged(base: Any, over: Any) -> Any:
    """As Helm merges: maps by key, everything else as a whole."""
    if not (isinstance(base, dict) and isinstance(over, dict)):
        return over
    return {key: merged(base.get(key), over[key]) if key in over else base[key] for key in base | over}
