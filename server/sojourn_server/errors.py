"""Domain errors: what can be wrong, without a word about transport.

Each class stands for one `ErrorReason` of the contract; `rpc/edge.py` holds the one table that maps them to
gRPC statuses. Messages are written for the caller: they name the field and say what was expected.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import ClassVar, NamedTuple


class FieldViolation(NamedTuple):
    """One malformed field: its path in the request and what was expected."""

    field: str
    expected: str


class SojournError(Exception):
    """Base of all errors that callers may see; `reason` is the class's name as the contract spells it."""

    reason: ClassVar[str]

    def __init_subclass__(cls) -> None:
        """UnknownPolicy -> UNKNOWN_POLICY."""
        cls.reason = re.sub(r"(?<!^)(?=[A-Z])", "_", cls.__name__).upper()


class InvalidField(SojournError):
    """One or more fields are malformed; nothing was stored."""

    def __init__(self, violations: Sequence[FieldViolation]) -> None:
        """Names every violation in the message; `violations` has at least one entry."""
        self.violations = tuple(violations)
        super().__init__("; ".join(f"{v.field}: {v.expected}" for v in self.violations))


class UnknownPolicy(SojournError):
    """The policy is not configured."""


class NoEligibleCandidate(SojournError):
    """Every candidate is excluded; the message says by what."""


class TurnOutOfOrder(SojournError):
    """A turn below the newest that was never seen before."""


class EpisodeEnded(SojournError):
    """The episode already has its outcome."""


class PayloadConflict(SojournError):
    """The key was used with another payload."""


class EpisodeOpen(SojournError):
    """The episode has no outcome yet."""


class LessonsErased(SojournError):
    """What would be folded anew has no features any more."""


class UnknownDecision(SojournError):
    """No decision has this key."""


class UnknownEpisode(SojournError):
    """No episode has this name."""


class UnknownModel(SojournError):
    """No model has this name."""


class UnknownSnapshot(SojournError):
    """No snapshot has this version."""


class JournalUnavailable(SojournError):
    """The journal could not store or read a record; try again."""


class Unauthenticated(SojournError):
    """The call carries no token that is known."""


class PermissionDenied(SojournError):
    """The token's scopes or policies do not cover the call."""


class RateLimited(SojournError):
    """The token has used up its calls; `retry_after_ms` says when there will be one again."""

    def __init__(self, message: str, *, retry_after_ms: int) -> None:
        """`retry_after_ms` >= 1."""
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Overloaded(SojournError):
    """As many calls are in flight as may be; nothing was done."""


class BrokenSnapshot(Exception):
    """A snapshot is corrupt, truncated, or of another platform or lesson; never shown to callers."""


class StartRefused(Exception):
    """The service cannot start; the message says why and what to do."""
