"""What is released holds what it should and nothing else; the bare client stays small.

The rest takes minutes: `python -m tests.packaging`.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from deploy.release import ROOT, distributions, version
from tests.packaging.contents import sdist_findings, wheel_findings
from tests.packaging.environments import HERE, link_dependencies
from tests.packaging.trials import CLIENT_MIB, CLIENTS_PACKAGES, untried_extras

NAMES_OF_THE_VERSION = {
    "clients/cpp/CMakeLists.txt": r"^project\(sojourn VERSION (\S+)",
    "clients/java/pom.xml": r"^  <version>(.+)</version>",
    "clients/rust/Cargo.toml": r'^version = "(.+)"',
    "clients/typescript/package.json": r'^  "version": "(.+)"',
    "deploy/compose.yaml": r"SOJOURN_IMAGE:-sojourn:(.+)}",
    "deploy/helm/sojourn/Chart.yaml": r"^appVersion: (.+)",
    "Dockerfile": r" sojourn:(\S+)$",
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The sdist, and the wheel that was built from it."""
    return distributions(tmp_path_factory.mktemp("dist"))


def test_wheel_and_sdist_hold_what_is_tracked_and_nothing_else(built: tuple[Path, Path]):
    sdist, wheel = built
    assert wheel_findings(wheel) == []
    assert sdist_findings(sdist) == []


def test_a_secret_in_the_wheel_and_a_dead_link_are_found(built: tuple[Path, Path], tmp_path: Path):
    doctored = tmp_path / built[1].name
    with zipfile.ZipFile(built[1]) as wheel, zipfile.ZipFile(doctored, "w") as copy:
        for name in wheel.namelist():
            content = wheel.read(name)
            if name != "sojourn/py.typed":
                copy.writestr(name, content + b"[more](docs/more.md)" if name.endswith("METADATA") else content)
        copy.writestr("sojourn_server/tokens.toml", "secret")
    found = "\n".join(wheel_findings(doctored))
    assert "too much: sojourn_server/tokens.toml" in found
    assert "missing: sojourn/py.typed" in found
    assert "leads nowhere on an index: docs/more.md" in found


def test_the_same_sources_give_the_same_bytes(built: tuple[Path, Path], tmp_path: Path):
    again = distributions(tmp_path)
    assert [path.read_bytes() for path in again] == [path.read_bytes() for path in built]


def test_the_bare_client_is_small_and_imports_nothing_of_the_service(built: tuple[Path, Path], tmp_path: Path):
    zipfile.ZipFile(built[1]).extractall(tmp_path)
    link_dependencies(tmp_path)
    environment = {"PYTHONPATH": str(tmp_path), "PYTHONPYCACHEPREFIX": str(tmp_path / "compiled")}
    for _ in range(2):  # the second finds the sources compiled, as pip leaves them
        run: list[str | Path] = [sys.executable, "-S", HERE / "footprint.py"]
        measured = json.loads(subprocess.run(run, env=environment, capture_output=True, text=True, check=True).stdout)
    assert set(measured["third_party"]) <= CLIENTS_PACKAGES
    assert measured["resident_mib"]["channel"] <= CLIENT_MIB


def test_every_extra_is_tried():
    assert untried_extras() == []


@pytest.mark.parametrize("name", NAMES_OF_THE_VERSION)
def test_every_place_that_names_the_version_names_this_one(name: str):
    (found,) = re.findall(NAMES_OF_THE_VERSION[name], (ROOT / name).read_text("utf-8"), re.MULTILINE)
    assert found == version()


def test_the_sdist_lies_in_one_folder_of_its_name(built: tuple[Path, Path]):
    with tarfile.open(built[0]) as archive:
        assert {name.partition("/")[0] for name in archive.getnames()} == {f"sojourn-{version()}"}
