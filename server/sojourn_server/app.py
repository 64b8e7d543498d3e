"""The composition root: everything is made here, in the order in which it is needed, and closed in reverse.

No constructor below does I/O or reads the environment; what must be opened is opened here, and an error on the way
closes what was opened before it.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from importlib.metadata import version
from typing import Self

import structlog

from sojourn_server.config import Config
from sojourn_server.episodes import Episodes
from sojourn_server.errors import JournalUnavailable
from sojourn_server.hosts.home import Counting, now_ms, open_home
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.learner import Workplace
from sojourn_server.learner.snapshot import Published
from sojourn_server.router import Router
from sojourn_server.rpc.edge import Edge
from sojourn_server.rpc.server import RouterService, RpcServer
from sojourn_server.security.carrier import Carrier
from sojourn_server.security.gate import Gate
from sojourn_server.security.tls import server_credentials
from sojourn_server.telemetry import Telemetry
from sojourn_server.traces import DecisionRef
from sojourn_server.upkeep.administration import Administration
from sojourn_server.upkeep.evaluator import Evaluator
from sojourn_server.upkeep.retention import Retention
from sojourn_server.upkeep.service import AdminService

log = structlog.get_logger(__name__)
_M_MMAP_THRESHOLD, _LARGE_BYTES = -3, 512 * 1024  # the first is glibc's name of the setting (malloc.h)


class App:
    """A running service. Open with `App.open`; close with `close`, or use it as a context manager."""

    def __init__(self, rpc: RpcServer, journal: Journal, router: Router, resources: ExitStack) -> None:
        """Takes what `open` made."""
        self.address = rpc.address
        self.journal = journal
        self.router = router
        self.add_handler = rpc.add_handler
        self._resources = resources

    @classmethod
    def open(cls, config: Config, telemetry: Telemetry | None = None) -> App:
        """Starts the service and returns once it serves. Raises StartRefused."""
        _give_large_blocks_back()
        with ExitStack() as made:
            telemetry = telemetry or Telemetry.from_environment(version("sojourn"))
            made.callback(telemetry.close, 5.0)
            home = open_home(config, now_ms(), made)
            journal, store, episodes = home.journal, home.snapshots, home.episodes
            router = Router(journal, episodes, world=home.world, secret=home.secret)
            audience = _Audience(router, episodes, telemetry, journal)
            learner = home.learning(Workplace(journal, store, config.learner, now_ms), audience, router)
            router.wakes(learner)
            learner.start()
            made.callback(learner.close)
            days, fault = config.journal.retention_days, telemetry.metrics.fault
            made.enter_context(closing(Retention(journal, days=days, now_ms=now_ms, fault=fault))).start()
            gate = Gate.open(config, journal.append, fault)
            carrier = Carrier(config.server.threads, limit=config.server.max_calls_in_flight, at_once=journal.is_quick)
            logs = config.log.decisions
            administration = Administration(journal, router, store, learner)
            rpc = RpcServer(
                config.server,
                edge=Edge(telemetry, gate, audience.decisions_of, now_ms, carrier=carrier, log_decisions=logs),
                services=(RouterService(router), AdminService(administration, Evaluator(journal, config.journal))),
                credentials=server_credentials(config.security.tls) if config.security.tls else None,
            )
            made.callback(rpc.drain)
            rpc.start()
            log.info("serving", address=rpc.address, journal=config.journal.kind)
            return cls(rpc, journal, router, made.pop_all())

    def close(self) -> None:
        """Drains calls, folds what is committed, flushes journal and spans."""
        self._resources.close()
        log.info("stopped")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Audience(Counting):
    """Passes what the learner does on to the deciders, and to telemetry."""

    def __init__(self, router: Router, episodes: Episodes, telemetry: Telemetry, journal: Journal) -> None:
        super().__init__(telemetry.metrics, journal)
        self._router = router
        self._episodes = episodes

    def published(self, policy: str, published: Published, *, created_at_ms: int) -> None:
        self._router.use(policy, published)
        super().published(policy, published, created_at_ms=created_at_ms)

    def expired(self, policy: str, episode_id: str) -> None:
        self._episodes.forget(policy, episode_id)

    def decisions_of(self, policy: str, episode_id: str) -> Sequence[DecisionRef]:
        """The episode's decisions, for the links of its outcome's span; none if the journal cannot be read now."""
        try:
            records = self._journal.episode(policy, episode_id)
        except JournalUnavailable:
            return ()
        return [
            DecisionRef(r.decision.answer.decision_id, r.decision.trace_id, r.decision.span_id)
            for r in records
            if r.HasField("decision")
        ]


def _give_large_blocks_back() -> None:
    """Regressors come and go with every snapshot: they are to leave no holes in the heap, or it grows for hours."""
    if sys.platform == "linux":
        with suppress(AttributeError):  # another C library than glibc
            ctypes.CDLL(None).mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
