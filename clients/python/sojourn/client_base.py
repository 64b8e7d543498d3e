"""What both clients are made with, count and say. Nothing here waits for anything.

`ClientBase` speaks in two types that its subclasses fill in: their episodes, and what a report comes as.
"""

from __future__ import annotations

import logging
from abc import ABC, abstractmethod
from collections.abc import Callable
from random import Random
from typing import Generic, TypedDict, TypeVar, Unpack

import grpc

from sojourn.channel import EPISODE_KEY, TRACEPARENT_KEY, episode_header
from sojourn.counters import Counters, RefusedReport, Tally
from sojourn.fallback import FallbackTable
from sojourn.messages import OutcomeReport, ReportRequest, Status, TurnReport, outcome_request, turn_request
from sojourn.progress import EpisodeKey, Progress
from sojourn.reports import Metadata
from sojourn.tracing import current_traceparent
from sojourn.v1 import router_pb2

_log = logging.getLogger("sojourn")
EpisodeT = TypeVar("EpisodeT")
ReceiptT = TypeVar("ReceiptT")


class ClientSettings(TypedDict, total=False):
    """What a client may be made with. Every key may be left out.

    `policy` is "default" unless given, `fallback` an empty table. `decide_deadline_ms` (50) and
    `report_deadline_ms` (5000) are above 0. `queue_size` (1024), at least 1, is the number of reports that
    may wait. `credentials` make the channel TLS and may carry a token; without them it is plaintext.
    `traceparent` returns the W3C header of the caller's current span, or None; unless given, OpenTelemetry is
    asked if it is installed. `token`, or what returns it before each call, goes along as a bearer token; without
    `credentials` it travels in the clear. `rng` jitters retries.
    """

    policy: str
    fallback: FallbackTable
    decide_deadline_ms: float
    report_deadline_ms: float
    queue_size: int
    credentials: grpc.ChannelCredentials | None
    token: str | Callable[[], str]
    traceparent: Callable[[], str | None]
    rng: Random


class ClientBase(ABC, Generic[EpisodeT, ReceiptT]):
    """A client's settings and counts. `target` is "host:port" or another gRPC target.

    Raises ValueError for a number out of range, TypeError for an unknown setting.
    """

    def __init__(self, target: str, **settings: Unpack[ClientSettings]) -> None:
        if unknown := settings.keys() - ClientSettings.__annotations__.keys():
            raise TypeError(f"unknown setting(s): {', '.join(sorted(unknown))}")
        self.target = target
        self.policy = settings.get("policy", "default")
        self._fallback = settings.get("fallback", FallbackTable({}))
        self._decide_deadline_s = settings.get("decide_deadline_ms", 50.0) / 1000
        self._report_deadline_s = settings.get("report_deadline_ms", 5_000.0) / 1000
        self._queue_size = settings.get("queue_size", 1024)
        self._credentials = settings.get("credentials")
        self._token = settings.get("token", "")
        self._traceparent = settings.get("traceparent", current_traceparent)
        self._rng = settings.get("rng") or Random()
        self._tally = Tally()
        if not (self._decide_deadline_s > 0 and self._report_deadline_s > 0 and self._queue_size > 0):
            raise ValueError("deadlines and queue_size must be above 0")

    @property
    def counters(self) -> Counters:
        """What the client has counted so far."""
        return self._tally.read()

    @property
    def refused_reports(self) -> tuple[RefusedReport, ...]:
        """The newest reports that the router refused for good, oldest first; 100 are kept."""
        return self._tally.refused()

    def episode(
        self,
        episode_id: str,
        *,
        policy: str | None = None,
        task_type: str | None = None,
        assignment_key: str | None = None,
        first_turn_index: int = 0,
    ) -> EpisodeT:
        """Return an episode to use as a context manager; its id is 1 to 128 bytes and never reused.

        `policy` is the client's unless given. `first_turn_index` resumes an episode that began elsewhere.
        """
        key = EpisodeKey(
            policy=policy or self.policy,
            episode_id=episode_id,
            fallback=self._fallback,
            task_type=task_type,
            assignment_key=assignment_key,
            first_turn_index=first_turn_index,
        )
        return self._begin(Progress(key))

    def report_turn(
        self,
        *,
        decision_id: str | None = None,
        episode_id: str | None = None,
        turn_index: int | None = None,
        wait: bool = False,
        **facts: Unpack[TurnReport],
    ) -> ReceiptT:
        """Report a turn on its own, named by `decision_id`, or by `episode_id` and `turn_index`.

        For facts that come too late for `Episode.report`. `wait` as in `Episode.succeed`. Raises ValueError
        for a turn that is named by neither or by both.
        """
        request = turn_request(
            facts, policy=self.policy, decision_id=decision_id, episode_id=episode_id, turn_index=turn_index
        )
        return self._deliver(request, wait=wait)

    def report_outcome(
        self, episode_id: str, status: Status | None = None, *, wait: bool = False, **outcome: Unpack[OutcomeReport]
    ) -> ReceiptT:
        """End an episode that was left open, here or in another process. `wait` as in `Episode.succeed`."""
        request = outcome_request(status, outcome, policy=self.policy, episode_id=episode_id)
        return self._deliver(request, wait=wait)

    def _metadata(self, request: router_pb2.DecideRequest | ReportRequest) -> Metadata:
        headers = {EPISODE_KEY: episode_header(request.episode_id), TRACEPARENT_KEY: self._traceparent()}
        return tuple((key, value) for key, value in headers.items() if value)

    def _with_token(self, metadata: Metadata) -> Metadata:
        """Asked when a call is made: a report may wait longer than a token lives."""
        try:
            token = self._token if isinstance(self._token, str) else self._token()
        except Exception:  # noqa: BLE001 - the caller's function: its faults must not stop the agent
            _log.exception("token() failed; the call goes out without a token")
            return metadata
        return (*metadata, ("authorization", f"Bearer {token}")) if token else metadata

    @abstractmethod
    def _begin(self, progress: Progress) -> EpisodeT:
        """Return an episode of this client."""

    @abstractmethod
    def _deliver(self, request: ReportRequest, *, wait: bool = False) -> ReceiptT:
        """Queue a report, and wait for its acknowledgement if asked to."""
