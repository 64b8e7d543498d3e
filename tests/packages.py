"""Programs that tests need and that Python's registry does not have: root gets Debian's package installed.

Where there can be none, the tests are skipped and say so; in CI that is a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path


class NoProgram(Exception):
    """There is no such program, and none can be installed here."""


def found_or_installed(find: Callable[[], Path | None], package: str) -> Path:
    """What `find` finds, if need be after Debian's package was installed. Raises NoProgram."""
    found = find()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        install = ["apt-get", "install", "--yes", "--no-install-recommends", package]
        for command in (["apt-get", "update"], install):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        found = find()
    if found is None:
        raise NoProgram(f"{package} is not installed, and cannot be installed here: Debian has it as {package}")
    return found


def on_path(name: str) -> Path | None:
    """The program, also from where only root's programs are."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    return Path(found) if found else None
