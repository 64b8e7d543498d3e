"""A real Envoy with the configuration that ships, before routers of a test's own."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import urlopen

import yaml

ROOT = Path(__file__).parents[2]
CONFIG = ROOT / "deploy" / "envoy" / "envoy.yaml"
ENVOY = Path(sys.executable).with_name("envoy")
WAIT_S = 30.0


def configured(routers: Sequence[tuple[str, int]], *, port: int, admin_port: int) -> dict[str, Any]:
    """The configuration that ships, but for its addresses."""
    config: dict[str, Any] = yaml.safe_load(CONFIG.read_text())
    static = config["static_resources"]
    static["listeners"][0]["address"]["socket_address"]["port_value"] = port
    static["clusters"][0]["load_assignment"]["endpoints"][0]["lb_endpoints"] = [
        {"endpoint": {"address": {"socket_address": {"address": host, "port_value": number}}}}
        for host, number in routers
    ]
    config["admin"]["address"]["socket_address"]["port_value"] = admin_port
    return config


class Envoy:
    """A running Envoy; `before` is put before its command, such as one that enters a namespace."""

    def __init__(
        self,
        directory: Path,
        routers: Sequence[tuple[str, int]],
        *,
        port: int,
        admin_port: int,
        before: Sequence[str] = (),
    ) -> None:
        """Starts it; `is_ready` says when it serves."""
        path = directory / "envoy.yaml"
        path.write_text(yaml.safe_dump(configured(routers, port=port, admin_port=admin_port)))
        self.log = directory / "envoy.log"
        self._admin = f"http://127.0.0.1:{admin_port}"
        command = [*before, str(ENVOY), "-c", str(path), "--use-dynamic-base-id", "--log-level", "warning"]
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, cwd=ROOT)

    def wait(self, *, healthy: int) -> None:
        """Returns once it serves and knows so many healthy routers."""
        give_up_at = time.monotonic() + WAIT_S
        while self._healthy() < healthy:
            if time.monotonic() > give_up_at or self._process.poll() is not None:
                raise RuntimeError(self.log.read_text()[-2_000:])
            time.sleep(0.05)

    def _healthy(self) -> int:
        try:
            with urlopen(f"{self._admin}/clusters", timeout=1.0) as answer:
                return int(answer.read().decode().count("health_flags::healthy"))
        except (URLError, OSError):
            return -1

    def stop(self) -> None:
        """Ends it."""
        self._process.terminate()
        self._process.wait(WAIT_S)
