"""A router as the process that it is, with Prometheus' endpoint on, and a Prometheus that scrapes it every second."""

from __future__ import annotations

import http.client
import json
import math
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from sojourn_server.config import CacheConfig, Config
from tests.habits.sources import REPOSITORY
from tests.ports import find_unused_port
from tests.serving import address_of

SOJOURN = Path(sys.executable).with_name("sojourn")
PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
WAIT_S = 30.0
CACHE_TTL_MS = 500
CALLS_IN_FLIGHT = 4
Sample = dict[str, Any]


class Router:
    """`sojourn serve`: every model has a cache, which is soon cold; many control episodes, few calls at once."""

    def __init__(self, directory: Path) -> None:
        self.metrics_address = f"127.0.0.1:{find_unused_port()}"
        cache = CacheConfig(ttl_ms=CACHE_TTL_MS)
        models = [m.model_copy(update={"cache": cache}).model_dump(mode="json") for m in Config().models]
        environment = {
            "PATH": os.environ["PATH"],
            "OTEL_METRICS_EXPORTER": "prometheus",
            "OTEL_EXPORTER_PROMETHEUS_HOST": "127.0.0.1",
            "OTEL_EXPORTER_PROMETHEUS_PORT": self.metrics_address.rpartition(":")[2],
            "SOJOURN_JOURNAL__DIRECTORY": str(directory / "journal"),
            "SOJOURN_MODELS": json.dumps(models),
            "SOJOURN_POLICIES": '{"default": {"choice": {"control_share": 0.25}}}',
            "SOJOURN_SERVER__MAX_CALLS_IN_FLIGHT": str(CALLS_IN_FLIGHT),
            "SOJOURN_SERVER__THREADS": "2",
        }
        command = [str(SOJOURN), "serve", "--address", "127.0.0.1:0"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.address = address_of(self.process)

    @contextmanager
    def without_disk(self) -> Iterator[None]:
        """No write to a file succeeds."""
        limits = resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE)
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, (0, limits[1]))
        yield
        resource.prlimit(self.process.pid, resource.RLIMIT_FSIZE, limits)

    def close(self) -> None:
        """Ends at once."""
        self.process.kill()
        self.process.communicate()


class Prometheus:
    """Runs on the example configuration, which it gets with a target that exists and without patience."""

    def __init__(self, program: Path, directory: Path, target: str) -> None:
        self._address = f"127.0.0.1:{find_unused_port()}"
        example = (PROMETHEUS / "prometheus.yml").read_text(encoding="utf-8")
        example = example.replace("15s", "1s").replace("alerts.yml", str(PROMETHEUS / "alerts.yml"))
        file = directory / "prometheus.yml"
        file.write_text(example.replace('"router-a:9464", "router-b:9464"', f'"{target}"'), encoding="utf-8")
        self.log = directory / "prometheus.log"
        command = [str(program), f"--config.file={file}", f"--storage.tsdb.path={directory / 'data'}"]
        command.append(f"--web.listen-address={self._address}")
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log)
        self._wait_until_it_answers()
        self.began_s = time.time()
        self.await_scrape()

    def instant(self, query: str) -> list[Sample]:
        """What an expression is now, by series."""
        return list(self.get("query", query=query)["result"])

    def over_time(self, query: str) -> list[Sample]:
        """What it was since the first scrape, second by second."""
        span = {"start": self.began_s, "end": time.time(), "step": 1}
        return list(self.get("query_range", query=query, **span)["result"])

    def rules(self) -> list[dict[str, Any]]:
        """The alert rules as loaded, with their state."""
        return [rule for group in self.get("rules")["groups"] for rule in group["rules"]]

    def await_scrape(self) -> None:
        """Returns when a scrape has begun and ended since."""
        since_s, give_up_at = time.time(), time.monotonic() + WAIT_S
        while not any(float(s["value"][1]) > since_s for s in self.instant('timestamp(up{job="sojourn"})')):
            assert time.monotonic() < give_up_at, self.log.read_text()
            time.sleep(0.1)

    def get(self, what: str, **parameters: Any) -> Any:
        """The data of an answer of the HTTP API; fails with Prometheus' own words."""
        with closing(http.client.HTTPConnection(self._address, timeout=WAIT_S)) as connection:
            connection.request("GET", f"/api/v1/{what}?{urlencode(parameters)}")
            answer = json.loads(connection.getresponse().read())
        assert answer["status"] == "success", f"{answer.get('error')}: {parameters}"
        return answer["data"]

    def close(self) -> None:
        """Ends at once."""
        self.process.kill()
        self.process.wait()

    def _wait_until_it_answers(self) -> None:
        give_up_at = time.monotonic() + WAIT_S
        while True:
            try:
                self.get("status/runtimeinfo")
                return
            except (OSError, http.client.HTTPException, ValueError):  # not listening yet, or still loading
                assert self.process.poll() is None, self.log.read_text()
                assert time.monotonic() < give_up_at, self.log.read_text()
                time.sleep(0.1)


def numbers(samples: list[Sample]) -> list[float]:
    """All values that are numbers."""
    points = [point for sample in samples for point in sample.get("values", [sample.get("value")])]
    return [value for _, text in points if not math.isnan(value := float(text))]
