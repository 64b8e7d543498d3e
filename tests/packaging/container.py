"""Images without an engine: a base by mmdebstrap, the Dockerfile by buildah, the container by unshare and chroot.

All of it lives below one folder. A container gets namespaces of its own (mounts, network, processes), the image's root
read-only, its volume and a /tmp in memory, and the image's user without capabilities; its program is process 1 there,
as under an engine, so signals meet it as they would there.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from tests.packaging.environments import TrialFailed

AUTHORITIES = Path("/etc/ssl/certs/ca-certificates.crt")
UV_SETTINGS = "system-certs = true\n"
START_WITHIN_S = 60.0
FoundT = TypeVar("FoundT")
ENTER = """
set -e
mount --bind "$1" "$1"
mount -o remount,bind,ro "$1"
mount --bind "$2" "$1$3"
mount -t tmpfs tmpfs "$1/tmp"
mount -t proc proc "$1/proc"
mount --rbind /dev "$1/dev"
ip link set lo up
root=$1
shift 3
exec chroot "$root" "$@"
"""
"""Run by a shell in new namespaces: root, data, the volume's place, then the command."""


@dataclass(frozen=True)
class Buildah:
    """Buildah with a store below a folder, by chroot and copies: it needs root and nothing of the kernel's."""

    folder: Path

    def run(self, *arguments: object) -> str:
        """What a command prints last. Raises TrialFailed."""
        places = ["--root", str(self.folder / "store"), "--runroot", str(self.folder / "run")]
        command = ["buildah", "--storage-driver", "vfs", *places]
        variables = {**os.environ, "BUILDAH_ISOLATION": "chroot"}
        command += [str(argument) for argument in arguments]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrialFailed(f"{' '.join(command)}:\n{(done.stdout + done.stderr)[-4_000:]}")
        return done.stdout.strip()

    def stand_in(self, name: str, tree: Path) -> None:
        """Stores a Debian with Python as the image of a name, ready to install packages as the real one is."""
        settings = self.folder / "uv.toml"
        settings.write_text(UV_SETTINGS, "utf-8")
        container = self.run("from", "scratch")
        self.run("add", "--quiet", container, tree, "/")
        self.run("add", "--quiet", container, AUTHORITIES, AUTHORITIES)
        self.run("add", "--quiet", container, settings, "/etc/uv/uv.toml")
        self.run("run", container, "--", "sh", "-c", "rm -f /usr/lib/python3*/EXTERNALLY-MANAGED")
        self.run("config", "--env", "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin", container)
        self.run("commit", "--quiet", container, f"docker.io/library/{name}")
        self.run("rm", container)

    def build(self, context: Path, tag: str) -> None:
        """Builds a folder's Dockerfile; nothing is pulled."""
        self.run("bud", "--pull-never", "--format", "docker", "--quiet", "--tag", tag, context)

    def unpacked(self, name: str) -> Path:
        """The root of a fresh container of an image."""
        return Path(self.run("mount", self.run("from", "--pull-never", name)))

    def configuration(self, name: str) -> dict[str, Any]:
        """What an image says about how it is run, as Docker's format has it."""
        return dict(json.loads(self.run("inspect", "--type", "image", name))["Docker"]["config"])


def bootstrap(suite: str, target: Path) -> None:
    """Makes a minimal Debian with Python as a tar file. Raises TrialFailed."""
    include = "--include=ca-certificates,netbase,tzdata,python3,python3-pip,python3-venv"
    command = ["mmdebstrap", "--quiet", "--mode=root", "--variant=minbase", include, suite, str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise TrialFailed(f"{' '.join(command)}:\n{done.stderr[-2_000:]}")


@dataclass(frozen=True)
class Container:
    """A running container; `pid` is its first process, as numbered outside."""

    process: subprocess.Popen[bytes]
    pid: int
    user: Sequence[str]
    log: Path

    def execute(self, *command: str) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, as the image's user and with its variables."""
        enter = ["nsenter", f"--target={self.pid}", "--mount", "--net", "--pid", "--root", *self.user, *command]
        return subprocess.run(enter, capture_output=True, text=True, check=False)

    def reach(self, *command: str) -> str:
        """What a command of this machine prints in the container's network. Raises TrialFailed."""
        enter = ["nsenter", f"--target={self.pid}", "--net", *command]
        done = subprocess.run(enter, capture_output=True, text=True, check=False)
        if done.returncode:
            raise TrialFailed(f"{' '.join(command)}:\n{done.stderr[-2_000:]}")
        return done.stdout

    def status(self, name: str) -> str:
        """A line of the first process' /proc/PID/status."""
        lines = Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith(f"{name}:"))

    def stop(self, within_s: float) -> tuple[int, float]:
        """Sends SIGTERM to the first process: its exit code, and the seconds that it took. Raises TimeoutExpired."""
        began = time.monotonic()
        os.kill(self.pid, signal.SIGTERM)
        return self.process.wait(within_s), time.monotonic() - began


@contextmanager
def started(root: Path, data: Path, configuration: dict[str, Any], log: Path) -> Iterator[Container]:
    """A container of an unpacked image: its entry point as its user on a read-only root. It is gone afterwards."""
    user, _, group = configuration["User"].partition(":")
    os.chown(data, int(user), int(group))
    ids = (f"--reuid={user}", f"--regid={group}", "--clear-groups")
    as_user = ["/usr/bin/setpriv", *ids, "--inh-caps=-all", "--bounding-set=-all", "--no-new-privs"]
    as_user += ["/usr/bin/env", "-i", f"--chdir={configuration['WorkingDir']}", *configuration["Env"]]
    (volume,) = configuration["Volumes"]
    script = ["sh", "-c", ENTER, "enter", str(root), str(data), volume]
    spaces = ("--mount", "--net", "--pid", "--ipc", "--uts", "--fork", "--kill-child", "--propagation=private")
    command = ["unshare", *spaces, *script, *as_user, *configuration["Entrypoint"], *configuration["Cmd"]]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Container(process, _first_process(process, root), as_user, log)
    finally:
        process.kill()  # its children go with it
        process.wait()


def _first_process(process: subprocess.Popen[bytes], root: Path) -> int:
    """The number of a container's first process once it has the image's root."""
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def inside() -> int | None:
        for child in children.read_text("ascii").split():
            if Path(f"/proc/{child}/root").readlink() == root:
                return int(child)
        return None

    return wait_for(inside, "the container did not start")


def wait_for(look: Callable[[], FoundT | None], otherwise: str) -> FoundT:
    """What `look` gives once it gives something. Raises TrialFailed."""
    until = time.monotonic() + START_WITHIN_S
    while time.monotonic() < until:
        try:
            if found := look():
                return found
        except FileNotFoundError:
            pass  # not there yet, or gone already
        time.sleep(0.05)
    raise TrialFailed(otherwise)
