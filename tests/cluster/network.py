"""A network of the test's own: a bridge, and namespaces on it that can be cut off and healed. Linux, root and `ip`."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterable
from types import TracebackType
from typing import Self


class NoNetwork(Exception):
    """Namespaces cannot be made here."""


class Network:
    """Namespaces by name, each with one address; the bridge's own is that of whoever runs the test."""

    def __init__(self, names: Iterable[str]) -> None:
        """Raises NoNetwork."""
        if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
            raise NoNetwork("network namespaces need Linux, root, and Debian's iproute2 and util-linux")
        self._tag = f"{os.getpid() % 0xFFFF:x}"
        self._bridge = f"sj{self._tag}"
        self._subnet = f"10.213.{os.getpid() % 250}"
        self._names = list(names)
        try:
            self._make()
        except subprocess.CalledProcessError as error:
            self.close()
            raise NoNetwork(f"network namespaces cannot be made: {error.stderr.decode().strip()}") from error

    def _make(self) -> None:
        _ip("link", "add", self._bridge, "type", "bridge")
        _ip("addr", "add", f"{self._subnet}.1/24", "dev", self._bridge)
        _ip("link", "set", self._bridge, "up")
        for name in self._names:
            space, cable = self._space(name), self._cable(name)
            _ip("netns", "add", space)
            _ip("link", "add", cable, "type", "veth", "peer", "name", "eth0", "netns", space)
            _ip("link", "set", cable, "master", self._bridge, "up")
            _ip("-n", space, "addr", "add", f"{self.address(name)}/24", "dev", "eth0")
            _ip("-n", space, "link", "set", "eth0", "up")
            _ip("-n", space, "link", "set", "lo", "up")

    def address(self, name: str) -> str:
        """The address inside a namespace."""
        return f"{self._subnet}.{10 + self._names.index(name)}"

    def enter(self, name: str) -> list[str]:
        """What to put before a command, so that it runs in a namespace; the process keeps its number."""
        return ["nsenter", f"--net=/run/netns/{self._space(name)}"]

    def cut(self, name: str) -> None:
        """Nothing reaches a namespace any more, and nothing leaves it; nobody is told."""
        _ip("link", "set", self._cable(name), "down")

    def heal(self, name: str) -> None:
        """Undoes `cut`."""
        _ip("link", "set", self._cable(name), "up")

    def _space(self, name: str) -> str:
        return f"sj-{self._tag}-{name}"

    def _cable(self, name: str) -> str:
        return f"sj{self._tag}-{name}"

    def close(self) -> None:
        """Removes everything; processes inside should be gone."""
        for name in self._names:
            subprocess.run(["ip", "netns", "del", self._space(name)], capture_output=True, check=False)
        subprocess.run(["ip", "link", "del", self._bridge], capture_output=True, check=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
