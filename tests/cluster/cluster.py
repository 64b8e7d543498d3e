"""Three hosts, an Envoy and a PostgreSQL, each in a network namespace of its own, and all that can happen to them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random

import grpc

from tests.cluster.network import Network
from tests.deploy.envoy import Envoy
from tests.hosts.hosts import ask, wait_until
from tests.hosts.server import IMMEDIATE, PostgresServer, find_binaries, ordinary_user

SOJOURN = Path(sys.executable).with_name("sojourn")
HOSTS = ("h1", "h2", "h3")
PORT, ENVOY_PORT, ENVOY_ADMIN_PORT = 50051, 8080, 9901
OUTAGE_S = 3.0
BETWEEN_S = 1.5
WAIT_S = 90.0


class Cluster:
    """What runs where, by name. Faults are methods that break something, wait, and mend it."""

    def __init__(self, network: Network, postgres: PostgresServer, directory: Path) -> None:
        self._network = network
        self._directory = directory
        self.postgres = postgres
        self.dsn = postgres.dsn("cluster")
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self.crashed_at_s: list[float] = []

    def start_host(self, name: str) -> None:
        """Starts a host in its namespace; `wait_for` says when it serves."""
        dsn = f"postgresql://sojourn@{self._network.address('pg')}/postgres?search_path=cluster"
        environment = {
            "PATH": os.environ["PATH"],
            "SOJOURN_JOURNAL__KIND": "postgres",
            "SOJOURN_JOURNAL__DSN": dsn,
            "SOJOURN_LEARNER__PUBLISH_OUTCOMES": "4",
            "SOJOURN_LEARNER__KEEP_SNAPSHOTS": "1000",
        }
        command = [*self._network.enter(name), str(SOJOURN), "serve", "--address", f"0.0.0.0:{PORT}"]
        with (self._directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(command, stdout=log, stderr=log, env=environment)

    def address(self, name: str) -> str:
        """Where a host listens."""
        return f"{self._network.address(name)}:{PORT}"

    @property
    def front(self) -> str:
        """Where Envoy listens."""
        return f"{self._network.address('lb')}:{ENVOY_PORT}"

    def wait_for(self, name: str) -> None:
        """Returns once a host answers."""
        give_up_at = time.monotonic() + WAIT_S
        while True:
            with grpc.insecure_channel(self.address(name), (("grpc.use_local_subchannel_pool", 1),)) as channel:
                try:
                    grpc.channel_ready_future(channel).result(timeout=0.5)
                    return
                except grpc.FutureTimeoutError:
                    assert self._processes[name].poll() is None, self.said(name)
                    assert time.monotonic() < give_up_at, self.said(name)

    def said(self, name: str) -> str:
        """The end of a host's log."""
        return (self._directory / f"{name}.log").read_text()[-3_000:]

    def leader(self) -> str:
        """The host that leads; the last one that did, while none does."""
        [row] = ask(self.dsn, "SELECT leader FROM head")
        pid = int(row["leader"].rpartition(":")[2])
        return next((name for name, process in self._processes.items() if process.pid == pid), HOSTS[0])

    def follower(self, random: Random) -> str:
        """A host that does not lead."""
        leader = self.leader()
        return random.choice([name for name in HOSTS if name != leader])

    # --- Faults ---

    def kill(self, name: str) -> None:
        """SIGKILL, and another process in its place."""
        self._processes[name].kill()
        self._processes[name].wait()
        time.sleep(OUTAGE_S / 2)
        self.start_host(name)
        self.wait_for(name)

    def freeze(self, name: str) -> None:
        """A host that stands still, and goes on as if nothing had been."""
        self._processes[name].send_signal(signal.SIGSTOP)
        time.sleep(OUTAGE_S)
        self._processes[name].send_signal(signal.SIGCONT)

    def cut(self, name: str, seconds: float = OUTAGE_S) -> None:
        """A cable that is pulled out, and put back in."""
        self._network.cut(name)
        time.sleep(seconds)
        self._network.heal(name)

    def restart_postgres(self) -> None:
        """A shutdown that loses nothing."""
        self.postgres.stop()
        time.sleep(OUTAGE_S / 2)
        self.postgres.start()

    def crash_postgres(self) -> None:
        """A crash, which takes what was not synced."""
        self.crashed_at_s.append(time.monotonic())
        self.postgres.stop(IMMEDIATE)
        self.crashed_at_s.append(time.monotonic())
        time.sleep(OUTAGE_S / 2)
        self.postgres.start()

    def faults(self, random: Random) -> dict[str, Callable[[], None]]:
        """All that can happen, by name."""
        return {
            "a host is killed": lambda: self.kill(self.follower(random)),
            "the leader is killed": lambda: self.kill(self.leader()),
            "the leader stands still": lambda: self.freeze(self.leader()),
            "a host is cut off": lambda: self.cut(self.follower(random)),
            "the leader is cut off": lambda: self.cut(self.leader()),
            "PostgreSQL is cut off": lambda: self.cut("pg"),
            "PostgreSQL restarts": self.restart_postgres,
            "PostgreSQL crashes": self.crash_postgres,
            "Envoy is cut off": lambda: self.cut("lb", OUTAGE_S / 2),
        }

    def stop(self) -> None:
        """Kills all hosts."""
        for process in self._processes.values():
            process.kill()
            process.wait()


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A cluster that serves. Raises NoNetwork, NotInstalled."""
    with ExitStack() as made:
        directory = Path(made.enter_context(tempfile.TemporaryDirectory()))
        network = made.enter_context(Network((*HOSTS, "pg", "lb")))
        user = ordinary_user()
        entered = [*network.enter("pg"), f"--setuid={user['user']}", f"--setgid={user['group']}"]
        postgres = PostgresServer(find_binaries(), listen=network.address("pg"), before=lambda: [*entered])
        made.callback(postgres.close)
        found = Cluster(network, postgres, directory)
        made.callback(found.stop)
        for name in HOSTS:
            found.start_host(name)
        for name in HOSTS:
            found.wait_for(name)
        places = [(network.address(name), PORT) for name in HOSTS]
        before = network.enter("lb")
        envoy = Envoy(directory, places, port=ENVOY_PORT, admin_port=ENVOY_ADMIN_PORT, before=before)
        made.callback(envoy.stop)
        wait_until(lambda: _answers(found.front), at_most_s=WAIT_S)
        yield found


def _answers(address: str) -> bool:
    with grpc.insecure_channel(address, (("grpc.use_local_subchannel_pool", 1),)) as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=1.0)
        except grpc.FutureTimeoutError:
            return False
        return True
