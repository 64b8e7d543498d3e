"""Programs that tests need beside Python: found, or installed from Debian's packages where root may do so."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path


class NotInstalled(Exception):
    """A program is not there, and cannot be installed here."""


def found_or_installed(find: Callable[[], Path | None], package: str) -> Path:
    """What `find` finds, after installing the package if need be. Raises NotInstalled."""
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", package]):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        found = find()
    if found is None:
        raise NotInstalled(f"{package} is not installed, and cannot be installed here: Debian has it as {package}")
    return found


def on_path(program: str, path: str | None = None) -> Path | None:
    """A program on the path, by default that of the environment; None if it is not there."""
    found = shutil.which(program, path=path)
    return Path(found) if found else None


def find_chromium() -> Path:
    """A browser. Raises NotInstalled."""
    return found_or_installed(lambda: on_path("chromium"), "chromium")
