"""What wheel and sdist hold, held against what git tracks: every file of the two packages and nothing beside them.

So a secret, a test, a cache or a forgotten stub cannot be in a distribution without being found, whatever its name is.
"""

from __future__ import annotations

import email.message
import email.parser
import re
import subprocess
import tarfile
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from tests.habits.sources import REPOSITORY

PACKAGES = {"clients/python/sojourn": "sojourn", "server/sojourn_server": "sojourn_server"}
"""Folders of the checkout, and the packages that they are in the wheel."""
BESIDE_THE_PACKAGES = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml"}
MADE_BY_THE_BUILD = {"PKG-INFO", ".gitignore"}
CPYTHONS = ("3.11", "3.12", "3.13", "3.14")


def wheel_findings(wheel: Path) -> list[str]:
    """What is wrong with a wheel, a line each."""
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
        licences = [archive.read(name) for name in names if name.endswith(".dist-info/licenses/LICENSE")]
        (metadata,) = [archive.read(name).decode() for name in names if name.endswith(".dist-info/METADATA")]
    code = {name for name in names if ".dist-info/" not in name}
    expected = {PACKAGES[folder] + path.removeprefix(folder) for folder in PACKAGES for path in tracked(folder)}
    found = [*_differences(code, expected), *metadata_findings(email.parser.Parser().parsestr(metadata))]
    if licences != [(REPOSITORY / "LICENSE").read_bytes()]:
        found.append("the licence is not this repository's")
    for module in (name for name in code if name.endswith(("_pb2.py", "_pb2_grpc.py"))):
        found += [] if f"{module}i" in code else [f"{module} has no stub"]
    return found if "sojourn/py.typed" in code else [*found, "sojourn/py.typed is missing"]


def sdist_findings(sdist: Path) -> list[str]:
    """What is wrong with an sdist, a line each."""
    with tarfile.open(sdist) as archive:
        names = {name.partition("/")[2] for name in archive.getnames()}
    expected = {*tracked("clients/python"), *tracked("server"), *tracked("proto/sojourn"), *BESIDE_THE_PACKAGES}
    return _differences(names - MADE_BY_THE_BUILD, expected)


def metadata_findings(metadata: email.message.Message) -> Iterator[str]:
    """What an index would show wrongly or not at all."""
    for name, wanted in (
        ("License-Expression", "Apache-2.0"),
        ("License-File", "LICENSE"),
        ("Requires-Python", ">=3.11"),
    ):
        if metadata[name] != wanted:
            yield f"{name} is {metadata[name]!r}, not {wanted!r}"
    classifiers = metadata.get_all("Classifier", [])
    yield from (
        f"no classifier of CPython {v}" for v in CPYTHONS if f"Programming Language :: Python :: {v}" not in classifiers
    )
    links = {entry.partition(",")[0] for entry in metadata.get_all("Project-URL", [])}
    yield from (
        f"no URL of {name}" for name in ("Repository", "Documentation", "Changelog", "Issues") if name not in links
    )
    description = str(metadata.get_payload())
    if metadata["Description-Content-Type"] != "text/markdown" or not description.startswith("# Sojourn"):
        yield "the description is not the README"
    yield from (
        f"a link that leads nowhere on an index: {link}"
        for link in re.findall(r"\]\((?!https://|#)([^)]+)\)", description)
    )


def tracked(folder: str) -> set[str]:
    """The files below a folder that git tracks or would, by their paths from the root."""
    ask = ["git", "ls-files", "--cached", "--others", "--exclude-standard", folder]
    listed = subprocess.run(ask, cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    return {line for line in listed.splitlines() if (REPOSITORY / line).exists()}


def _differences(found: Iterable[str], expected: Iterable[str]) -> list[str]:
    more, less = set(found) - set(expected), set(expected) - set(found)
    return [*(f"too much: {name}" for name in sorted(more)), *(f"missing: {name}" for name in sorted(less))]
