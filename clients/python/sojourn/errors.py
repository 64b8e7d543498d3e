"""What the client raises, and what it holds in hand when a call fails.

A failed call becomes a `Refusal`, a plain value, at the edge where grpc is known. Whether it is raised,
retried or answered by a fallback is decided elsewhere, by its code alone. Only the caller's own mistakes are
raised from a decision, because a router that is away must never stop an agent.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class FieldViolation:
    """One malformed field of a request, such as `context.features["x"]`, and what is wrong with it."""

    field: str
    description: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """A call that the router did not carry out: gRPC status name, message and machine-readable details."""

    code: str
    message: str
    reason: str = ""
    violations: tuple[FieldViolation, ...] = ()
    retry_after_s: float = 0.0


class SojournError(Exception):
    """The base of everything that this package raises on purpose."""


class RequestRefused(SojournError):
    """The router refused a request for good.

    `code` is the gRPC status name, `reason` a name of `ErrorReason` without its prefix ("EPISODE_ENDED") or
    empty, `violations` the malformed fields.
    """

    def __init__(self, refusal: Refusal) -> None:
        fields = "".join(f"; {violation.field}: {violation.description}" for violation in refusal.violations)
        label = f"{refusal.code} ({refusal.reason})" if refusal.reason else refusal.code
        super().__init__(f"{label}: {refusal.message}{fields}")
        self.code = refusal.code
        self.reason = refusal.reason
        self.violations = refusal.violations


class InvalidRequest(RequestRefused):
    """A field is malformed; `violations` names it."""


class UnmetPrecondition(RequestRefused):
    """The episode has ended, the turn is out of order, or no candidate may serve; `reason` says which."""


class Conflict(RequestRefused):
    """The same key was used before with another payload."""


class NotFound(RequestRefused):
    """The policy, decision or episode does not exist; `reason` says which."""


class RouterUnavailable(SojournError):
    """The router did not answer in time. A report that was waited for stays queued."""


class NoFallback(SojournError):
    """The router did not answer, and no model that may serve the turn is known to the client."""


class DroppedReports(SojournError):
    """`count` reports were given up without an acknowledgement."""

    def __init__(self, count: int, because: str) -> None:
        super().__init__(f"{count} report(s) dropped without an acknowledgement: {because}")
        self.count = count


# The caller's mistakes: they raise from a decision too, where every other status is answered by a fallback.
MISTAKES: dict[str, type[RequestRefused]] = {
    "INVALID_ARGUMENT": InvalidRequest,
    "FAILED_PRECONDITION": UnmetPrecondition,
    "ALREADY_EXISTS": Conflict,
    "NOT_FOUND": NotFound,
}


def error_for(refusal: Refusal) -> RequestRefused:
    """Return the exception that tells the caller about a refusal."""
    return MISTAKES.get(refusal.code, RequestRefused)(refusal)
