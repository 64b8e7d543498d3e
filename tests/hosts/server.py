"""A PostgreSQL of the tests' own: in a temporary directory, on a Unix socket, as a user without rights.

Debian's package is installed where there is none and root may do so. Where there can be none the tests are skipped, and
say so; in CI that is a failure.
"""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.debian import found_or_installed, on_path

WAIT_S = 30.0
Command = list[str | Path]
POOLER_PORT = 6432  # names a Unix socket only
IMMEDIATE, FAST = signal.SIGQUIT, signal.SIGINT  # as PostgreSQL's documentation names its shutdowns


def find_binaries() -> Path:
    """The folder of `initdb` and `postgres`, of the newest version there is. Raises NotInstalled."""
    return found_or_installed(_installed, "postgresql")


def find_pgbouncer() -> Path:
    """The connection pooler. Raises NotInstalled."""
    return found_or_installed(lambda: on_path("pgbouncer", f"{os.environ['PATH']}:/usr/sbin"), "pgbouncer")


def _installed() -> Path | None:
    folders = [p.parent for p in Path("/usr/lib/postgresql").glob("*/bin/initdb")]
    initdb = on_path("initdb")
    newest = max(folders, key=lambda folder: float(folder.parent.name), default=None)
    return newest or (initdb.resolve().parent if initdb else None)


def ordinary_user() -> dict[str, Any]:
    """Arguments of `subprocess` that run a child without rights: PostgreSQL refuses to run as root."""
    if os.geteuid() != 0:
        return {}
    nobody = pwd.getpwnam("nobody")
    return {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": []}


class PostgresServer:
    """One server; `stop` and `start` may be called in turn."""

    def __init__(
        self, binaries: Path, *, fsync: bool = True, listen: str = "", before: Callable[[], Command] | None = None
    ) -> None:
        """Without `fsync` a commit writes all that it must, so it survives PostgreSQL's crashes, not the machine's.

        It listens on a Unix socket, and on the address `listen` if one is given. `before` makes what stands before its
        command, such as one that enters a namespace and gives its rights away.
        """
        self._binaries = binaries
        self._before = before
        self._settings = [f"listen_addresses={listen}", f"fsync={'on' if fsync else 'off'}"]
        self.directory = Path(tempfile.mkdtemp(prefix="sojourn-pg-"))
        if os.geteuid() == 0:
            shutil.chown(self.directory, "nobody")
        self._data = self.directory / "data"
        initdb: Command = [
            binaries / "initdb",
            "-D",
            self._data,
            "-U",
            "sojourn",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        ]
        subprocess.run(initdb, check=True, capture_output=True, cwd=self.directory, **ordinary_user())
        if listen:
            with (self._data / "pg_hba.conf").open("a") as rules:
                rules.write("host all all samenet trust\n")
        self.start()

    def start(self) -> None:
        """Returns once the server takes connections."""
        as_whom = ordinary_user() if self._before is None else {}
        command: Command = self._before() if self._before is not None else []
        command += [self._binaries / "postgres", "-D", self._data, "-k", self.directory]
        command += [option for setting in self._settings for option in ("-c", setting)]
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=self.directory, **as_whom)
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

    @contextmanager
    def pooled(self, pgbouncer: Path, mode: str) -> Iterator[Callable[[str], str]]:
        """PgBouncer in front, lending sessions by `mode`; yields what `dsn` is through it."""
        settings = {
            "listen_port": POOLER_PORT,
            "unix_socket_dir": self.directory,
            "auth_type": "any",
            "pool_mode": mode,
            "default_pool_size": 20,
        }
        lines = [f"{name} = {value}" for name, value in settings.items()]
        file = self.directory / "pgbouncer.ini"
        database = f"postgres = host={self.directory} user=sojourn"
        file.write_text("\n".join(["[databases]", database, "[pgbouncer]", *lines, ""]))
        process = subprocess.Popen([pgbouncer, "-q", file], cwd=self.directory, **ordinary_user())
        try:
            while not (self.directory / f".s.PGSQL.{POOLER_PORT}").exists():
                assert process.poll() is None, "pgbouncer did not start"
                time.sleep(0.02)
            yield lambda schema: f"{self.dsn(schema)}&port={POOLER_PORT}"
        finally:
            process.terminate()
            process.wait(WAIT_S)

    def close(self) -> None:
        """Stops, and removes everything."""
        if self._process.poll() is None:
            self.stop(IMMEDIATE)
        shutil.rmtree(self.directory)
