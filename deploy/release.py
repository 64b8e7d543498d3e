"""`python -m deploy.release`: makes what is released in dist/: sdist, wheel, contract, bill of materials, checksums.

The same commit gives the same bytes, so anybody can make the files again and compare; only the bill of materials has
a date and a number of its own. The version is `project.version` of pyproject.toml, and a test holds all other places
that name it against that one.
"""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
import tomllib
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "dist"
SUMS = "SHA256SUMS"
EPOCH = 1577836800
"""Seconds since 1970 of every file in an archive, as hatchling has it: the start of 2020."""


class NotReleasable(Exception):
    """Something of the release is not what the contract or the changelog says."""


def version() -> str:
    """The version of all that is released together."""
    return str(tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["version"])


def distributions(folder: Path) -> tuple[Path, Path]:
    """Builds sdist and, from it, wheel below a folder with this environment's tools. Raises CalledProcessError."""
    build: list[str | Path] = [
        _tool("uv"),
        "build",
        "--quiet",
        "--no-build-isolation",
        "--python",
        sys.executable,
        "--out-dir",
        folder,
    ]
    subprocess.run(build, cwd=ROOT, env={**os.environ, "SOURCE_DATE_EPOCH": str(EPOCH)}, check=True)
    return folder / f"sojourn-{version()}.tar.gz", folder / f"sojourn-{version()}-py3-none-any.whl"


def proto_archive(folder: Path) -> Path:
    """Packs the contract with its image, licence and words on generating stubs below a folder."""
    stem = f"sojourn-proto-{version()}"
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, path in sorted(_contract()):
            content = path.read_bytes()
            entry = tarfile.TarInfo(f"{stem}/{name}")
            entry.size, entry.mode, entry.mtime = len(content), 0o644, EPOCH
            archive.addfile(entry, io.BytesIO(content))
    target = folder / f"{stem}.tar.gz"
    target.write_bytes(gzip.compress(packed.getvalue(), mtime=0))
    return target


def check_image() -> None:
    """Refuses a released image that is not this contract's. Raises NotReleasable."""
    with tempfile.TemporaryDirectory() as directory:
        made = Path(directory) / "image.binpb"
        subprocess.run([_tool("buf"), "build", "--exclude-source-info", "--output", made], cwd=ROOT, check=True)
        if made.read_bytes() != _image().read_bytes():
            raise NotReleasable(f"proto/released/{_image().name} is not the contract's: make it anew (CONTRIBUTING.md)")


def main() -> None:
    """Makes the files and prints their checksums."""
    check_image()
    DIST.mkdir(exist_ok=True)
    made = [*distributions(DIST), proto_archive(DIST)]
    subprocess.run(["make", "sbom"], cwd=ROOT, check=True)
    made.append(DIST / "sojourn.cdx.json")
    sums = "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n" for path in sorted(made))
    (DIST / SUMS).write_text(sums, "utf-8")
    sys.stdout.write(sums)


def _contract() -> Iterator[tuple[str, Path]]:
    """What the archive holds: the name inside it, and the file."""
    yield "LICENSE", ROOT / "LICENSE"
    yield "README.md", ROOT / "proto" / "README.md"
    yield _image().name, _image()
    for path in (ROOT / "proto" / "sojourn").rglob("*.proto"):
        yield path.relative_to(ROOT / "proto").as_posix(), path


def _image() -> Path:
    return ROOT / "proto" / "released" / f"sojourn-v{version()}.binpb"


def _tool(name: str) -> Path:
    return Path(sys.executable).with_name(name)


if __name__ == "__main__":
    main()
