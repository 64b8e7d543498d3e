"""The gate before every call: whose it is, whether its token covers it, and whether it has calls left.

Without a token file everybody may do everything, and nobody is named. With one, each method needs a scope; a token
for some policies only may not touch others, nor what all share (the registry, the journal). Calls of administrators
are written into the journal.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Any, Literal, NamedTuple

import structlog

from sojourn.v1 import journal_pb2
from sojourn_server.config import Config
from sojourn_server.errors import PermissionDenied, RateLimited, Unauthenticated
from sojourn_server.router import DEFAULT_POLICY
from sojourn_server.security.tokens import Scope, Token, TokenFile

log = structlog.get_logger(__name__)
_SCHEME = "bearer "
_SCOPES: Mapping[str, frozenset[Scope]] = {
    "Decide": frozenset({"decide"}),
    "ReportTurn": frozenset({"decide", "report"}),
    "ReportOutcome": frozenset({"report"}),
}
"""Any of these is enough; every other method is AdminService's. What a turn spent is known to whoever decides; what
an episode was worth may be another's to say."""
_ADMIN: frozenset[Scope] = frozenset({"admin"})
_SHARED = frozenset({"ListModels", "PutModel", "RemoveModel", "DrainModel", "ExportJournal"})
"""Methods whose subject belongs to all policies."""
Metadata = Iterable[tuple[str, str | bytes]]


class Caller(NamedTuple):
    """Whose call it is; `name` "" = nobody's in particular."""

    name: str = ""
    quarantined: bool = False


ANYBODY = Caller()


class Gate:
    """Admits calls, or says why not."""

    def __init__(self, tokens: TokenFile | None, audit: Callable[[journal_pb2.JournalRecord], object]) -> None:
        """`tokens` None = an open gate; `audit` journals what administrators call."""
        self._tokens = tokens
        self._audit = audit
        self._buckets: dict[str, _Bucket] = {}  # by token's id; owned under _lock
        self._lock = threading.Lock()

    @classmethod
    def open(
        cls,
        config: Config,
        audit: Callable[[journal_pb2.JournalRecord], object],
        fault: Callable[[Literal["tokens_unreadable"]], None],
    ) -> Gate:
        """The gate that a configuration asks for. Whoever listens to other machines without tokens should know."""
        if config.security.tokens is not None:
            return cls(TokenFile.open(config.security.tokens, broken=lambda: fault("tokens_unreadable")), audit)
        host = config.server.address.rpartition(":")[0].strip("[]")
        if host not in ("127.0.0.1", "::1", "localhost") and not host.startswith("unix"):
            log.warning(
                "open_to_everybody", address=config.server.address, next_step="set security.tokens and security.tls"
            )
        return cls(None, audit)

    def admit(self, method: str, request: Any, metadata: Metadata, *, now_ms: int) -> Caller:
        """Whose call it is. Raises Unauthenticated, PermissionDenied, RateLimited."""
        if self._tokens is None:
            return ANYBODY
        token = self._tokens.find(_secret(metadata), now_ms=now_ms)
        if token is None:
            raise Unauthenticated("a valid token is needed: send the metadata entry authorization: Bearer <secret>")
        self._spend(token, now_ms)
        needed = _SCOPES.get(method, _ADMIN)
        if not needed & token.scopes:
            raise PermissionDenied(f"{method} needs scope {' or '.join(sorted(needed))}; token {token.id!r} has none")
        _check_policy(method, request, token)
        if needed is _ADMIN:
            self._audit(_admin_call(method, request, token, now_ms))
        return Caller(token.id, token.quarantined)

    def _spend(self, token: Token, now_ms: int) -> None:
        if token.calls_per_second is None:
            return
        with self._lock:
            bucket = self._buckets.setdefault(token.id, _Bucket(now_ms))
            wait_ms = bucket.take(token.calls_per_second, now_ms)
        if wait_ms:
            raise RateLimited(
                f"token {token.id!r} has {token.calls_per_second:g} calls a second", retry_after_ms=wait_ms
            )


class _Bucket:
    """A token bucket: filled at `rate` a second, one second's worth deep, at least one call."""

    def __init__(self, now_ms: int) -> None:
        self._left: float | None = None
        self._at_ms = now_ms

    def take(self, rate: float, now_ms: int) -> int:
        """Takes a call and returns 0, or returns the milliseconds until there is one."""
        depth = max(rate, 1.0)
        gained = rate * max(now_ms - self._at_ms, 0) / 1_000.0
        left = depth if self._left is None else min(self._left + gained, depth)
        self._at_ms = now_ms
        if left < 1.0:
            self._left = left
            return ceil((1.0 - left) * 1_000.0 / rate)
        self._left = left - 1.0
        return 0


def _secret(metadata: Metadata) -> str:
    for key, value in metadata:
        if key == "authorization" and isinstance(value, str) and value[: len(_SCHEME)].lower() == _SCHEME:
            return value[len(_SCHEME) :].strip()
    return ""


def _check_policy(method: str, request: Any, token: Token) -> None:
    if not token.policies:
        return
    if method in _SHARED:
        raise PermissionDenied(f"{method} concerns all policies; token {token.id!r} is for {sorted(token.policies)}")
    if getattr(request, "decision_id", ""):
        raise PermissionDenied(f"token {token.id!r} is for some policies: name the turn by policy, episode and index")
    policy = request.policy or DEFAULT_POLICY
    if policy not in token.policies:
        raise PermissionDenied(f"policy {policy!r} is none of token {token.id!r}: {sorted(token.policies)}")


def _admin_call(method: str, request: Any, token: Token, now_ms: int) -> journal_pb2.JournalRecord:
    return journal_pb2.JournalRecord(
        received_at_ms=now_ms,
        reporter=token.id,
        policy=getattr(request, "policy", ""),
        admin_call=journal_pb2.AdminCallRecord(method=method),
    )
