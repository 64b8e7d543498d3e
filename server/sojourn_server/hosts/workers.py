"""Several processes on one port, and the one that watches them.

The kernel spreads connections over the deciders. Where the journal is SQLite one more process learns; over PostgreSQL
each worker is a host like any other, and one of them learns. Who dies is started again, and meanwhile its callers are
served by the others. The journal's lock is handed on to every worker, so another server can start only when the last
of them is gone; and workers whose watcher is gone end at once.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, suppress
from functools import partial
from multiprocessing import connection, reduction
from multiprocessing.context import SpawnProcess
from typing import Any

import structlog

from sojourn_server.config import Config, JournalConfig
from sojourn_server.errors import StartRefused
from sojourn_server.hosts.local import learning
from sojourn_server.hosts.stop import Stop
from sojourn_server.journal.disk import lock

log = structlog.get_logger(__name__)
Work = Callable[[Config], AbstractContextManager[object]]
LEARNER = "learner"
PROMETHEUS_PORT, INSTANCE = "OTEL_EXPORTER_PROMETHEUS_PORT", "service.instance.id"
LOOK_S = 0.2
RESTART_S = 1.0
"""A worker that dies sooner than this after its start has to wait as long for the next one."""
START_S, STOP_S = 120.0, 15.0
_SPAWN = multiprocessing.get_context("spawn")


class _Handed:
    """A file that every process that gets it keeps open."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor

    def __getstate__(self) -> Any:
        return reduction.DupFd(self.descriptor)

    def __setstate__(self, duplicate: Any) -> None:
        self.descriptor = duplicate.detach()


@contextmanager
def workers(config: Config, decide: Work, prepare: Callable[[str], None]) -> Iterator[Workers]:
    """Workers that serve, and are watched by `Workers.watch`; at the end they drain. Raises StartRefused.

    `decide` opens a decider, `prepare` is called with the worker's name first in each process; both can be pickled.
    """
    with ExitStack() as made:
        handed = None
        works: dict[str, Work] = {}
        if config.journal.kind == "sqlite":
            handed = _Handed(made.enter_context(_locked(config)).fileno())
            works[LEARNER] = learning
        works |= {f"decider-{number}": decide for number in range(config.server.workers)}
        address = made.enter_context(_reserved(config.server.address))
        server = config.server.model_copy(update={"address": address})
        learns = config.model_copy(update={"server": server})
        decides = learns if handed is None else learns.model_copy(update={"journal": _without_retention(config)})

        def life(name: str, ready: connection.Connection) -> Callable[[], None]:
            given = learns if name == LEARNER else decides
            return partial(_work, name, given, work=works[name], prepare=prepare, handed=handed, ready=ready)

        started = Workers(works, life, address)
        made.callback(started.stop)
        started.start()
        log.info("workers_serving", address=address, workers=config.server.workers)
        yield started


def _without_retention(config: Config) -> JournalConfig:
    """The learner sees to that."""
    return config.journal.model_copy(update={"retention_days": None})


class Workers:
    """The processes by name."""

    def __init__(
        self, names: Iterable[str], life: Callable[[str, connection.Connection], Callable[[], None]], address: str
    ) -> None:
        """`life` is what a worker of a name does; on the pipe it says why it cannot serve, or "" once it does."""
        self.address = address
        self._names = list(names)
        self._life = life
        self.processes: dict[str, SpawnProcess] = {}
        self._started_at: dict[str, float] = {}

    def start(self) -> None:
        """Returns once all serve; the learner comes first. Raises StartRefused."""
        for names in ([n for n in self._names if n == LEARNER], [n for n in self._names if n != LEARNER]):
            answers = {name: self._begin(name) for name in names}
            for name, answer in answers.items():
                try:
                    refused = answer.recv() if answer.poll(START_S) else "it takes too long"
                except EOFError:
                    refused = "it died; its log may say why"
                if refused:
                    raise StartRefused(f"{name}: {refused}")

    def _begin(self, name: str) -> connection.Connection:
        answer, ready = _SPAWN.Pipe(duplex=False)
        process = _SPAWN.Process(target=self._life(name, ready), name=name, daemon=True)
        process.start()
        ready.close()
        log.info("worker_started", worker=name, pid=process.pid)
        self.processes[name], self._started_at[name] = process, time.monotonic()
        return answer

    def watch(self, stop: Stop) -> None:
        """Starts again who dies, until `stop` is set."""
        while not stop.is_set():
            connection.wait([process.sentinel for process in self.processes.values()], timeout=LOOK_S)
            for name, process in self.processes.items():
                if process.is_alive() or stop.is_set():
                    continue
                log.error("worker_died", worker=name, exit_code=process.exitcode)
                stop.wait(max(0.0, self._started_at[name] + RESTART_S - time.monotonic()))
                self._begin(name)

    def stop(self) -> None:
        """Lets the deciders drain, then the learner fold what they took; who takes too long is killed."""
        for names in ([n for n in self.processes if n != LEARNER], [n for n in self.processes if n == LEARNER]):
            processes = [self.processes[name] for name in names]
            for process in processes:
                process.terminate()
            give_up_at = time.monotonic() + STOP_S
            for process in processes:
                process.join(max(0.0, give_up_at - time.monotonic()))
                process.kill()


def _work(
    name: str,
    config: Config,
    *,
    work: Work,
    prepare: Callable[[str], None],
    handed: _Handed | None,
    ready: connection.Connection,
) -> None:
    """A worker's whole life, all through which it keeps open what it was handed."""
    stop = Stop()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal sends it to all; the watcher says when to stop
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    threading.Thread(target=_end_with_the_watcher, daemon=True).start()
    prepare(name)
    _name_telemetry(name)
    with ExitStack() as made:
        try:
            made.enter_context(work(config))
        except StartRefused as error:
            log.error("worker_refused", worker=name, error=str(error))
            ready.send(str(error))
            return
        with suppress(BrokenPipeError):  # nobody waits for one that was started again
            ready.send("")
        stop.wait()


def _end_with_the_watcher() -> None:
    """The journal survives that, and the next server need not wait."""
    watcher = multiprocessing.parent_process()
    if watcher is not None:
        connection.wait([watcher.sentinel])
    os._exit(1)


def _name_telemetry(name: str) -> None:
    """Each worker is an instance of the service, and has a port of its own where one is scraped."""
    given = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    if INSTANCE not in given:
        ours = f"{INSTANCE}={socket.gethostname()}/{name}"
        os.environ["OTEL_RESOURCE_ATTRIBUTES"] = f"{given},{ours}" if given else ours
    number = 0 if name == LEARNER else int(name.rpartition("-")[2]) + 1
    os.environ[PROMETHEUS_PORT] = str(int(os.environ.get(PROMETHEUS_PORT, "9464")) + number)


@contextmanager
def _locked(config: Config) -> Iterator[Any]:
    """The journal's lock. Workers of a server that was killed are given the moment that they need to end."""
    directory, give_up_at = config.journal.directory, time.monotonic() + RESTART_S
    directory.mkdir(parents=True, exist_ok=True)
    while True:
        try:
            file = lock(directory)
            break
        except StartRefused:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(LOOK_S)
    with file:
        yield file


@contextmanager
def _reserved(address: str) -> Iterator[str]:
    """The address with its port, which no other program gets while workers come and go. Raises StartRefused."""
    host, _, port = address.rpartition(":")
    try:
        family, kind, *_, place = socket.getaddrinfo(host.strip("[]") or None, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as held:
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            held.bind(place)
            yield f"{host}:{held.getsockname()[1]}"
    except OSError as error:
        raise StartRefused(f"server.address: cannot listen on {address}: {error}") from error
