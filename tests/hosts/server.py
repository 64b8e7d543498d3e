"""A PostgreSQL of the tests' own: in a temporary directory, on a Unix socket, as a user without rights.

Debian's package is installed where there is none and root may do so. Where there can be none the tests are skipped, and
say so; in CI that is a failure.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path

WAIT_S = 30.0
IMMEDIATE, FAST = signal.SIGQUIT, signal.SIGINT  # as PostgreSQL's documentation names its shutdowns


class NoPostgres(Exception):
    """There is no PostgreSQL, and none can be installed here."""


def find_binaries() -> Path:
    """The folder of `initdb` and `postgres`, of the newest version there is. Raises NoPostgres."""
    found = _installed()
    if found is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        for command in (["apt-get", "update"], ["apt-get", "install", "--yes", "postgresql"]):
            subprocess.run(command, env=environment, capture_output=True, check=False)
        found = _installed()
    if found is None:
        raise NoPostgres("no PostgreSQL server: needs initdb and postgres on the PATH, or Debian's package postgresql")
    return found


def _installed() -> Path | None:
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    newest = max(folders, key=lambda folder: float(folder.parent.name), default=None)
    on_path = shutil.which("initdb")
    return newest or (Path(on_path).resolve().parent if on_path else None)


def ordinary_user() -> dict[str, str]:
    """Arguments of `subprocess` that run a child without rights: PostgreSQL refuses to run as root."""
    return {"user": "nobody"} if os.geteuid() == 0 else {}


class PostgresServer:
    """One server; `stop` and `start` may be called in turn."""

    def __init__(self, binaries: Path) -> None:
        self._binaries = binaries
        self.directory = Path(tempfile.mkdtemp(prefix="sojourn-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")
        self._data = self.directory / "data"
        initdb = [binaries / "initdb", "-D", self._data, "-U", "sojourn", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.directory, **ordinary_user())  # type: ignore[call-overload] # of one user
        self.start()

    def start(self) -> None:
        """Returns once the server takes connections."""
        command = [self._binaries / "postgres", "-D", self._data, "-k", self.directory, "-c", "listen_addresses="]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(  # type: ignore[call-overload] # as above
                command, stdout=log, stderr=log, cwd=self.directory, **ordinary_user()
            )
        give_up_at = time.monotonic() + WAIT_S
        while subprocess.run([self._binaries / "pg_isready", "-q", "-h", self.directory], check=False).returncode:
            if time.monotonic() > give_up_at or self._process.poll() is not None:
                raise RuntimeError((self.directory / "log").read_text()[-2_000:])
            time.sleep(0.05)

    def stop(self, how: signal.Signals = FAST) -> None:
        """Shuts down. IMMEDIATE is a crash: what was not synced is lost."""
        self._process.send_signal(how)
        self._process.wait(WAIT_S)

    def dsn(self, schema: str) -> str:
        """The URL of a schema of its own."""
        return f"postgresql://sojourn@/postgres?host={self.directory}&search_path={schema}"

    def close(self) -> None:
        """Stops, and removes everything."""
        if self._process.poll() is None:
            self.stop(IMMEDIATE)
        shutil.rmtree(self.directory)
