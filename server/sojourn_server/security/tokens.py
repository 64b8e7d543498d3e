"""Bearer tokens: a file of hashes that is read again when it changes.

A secret is 256 random bits, so one SHA-256 keeps it; the file never holds the secret itself. Rotating is editing the
file: add the new token, let callers move, take the old one out. A file that cannot be read or is wrong never locks
anybody out or lets anybody in: the tokens that were read last stay in force, and the log says so until it is mended.
"""

from __future__ import annotations

import secrets
import tomllib
from collections.abc import Callable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sojourn_server.config import Name
from sojourn_server.errors import StartRefused

log = structlog.get_logger(__name__)
Scope = Literal["decide", "report", "admin"]
PREFIX = "sj_"
"""Begins every secret, so that scanners for leaked credentials can find one."""
_SECRET_BYTES = 32
_LOOK_EVERY_MS = 1_000


class Token(BaseModel):
    """One token of the file.

    `sha256` is the secret's digest in hex; `policies` empty = all; `calls_per_second` absent = no limit;
    `quarantined` = outcomes that it reports are recorded and never learned.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: Name
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    scopes: Annotated[frozenset[Scope], Field(min_length=1)]
    policies: frozenset[Name] = frozenset()
    calls_per_second: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = None
    quarantined: bool = False


class _File(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    tokens: tuple[Token, ...] = ()


class BrokenTokens(Exception):
    """The token file cannot be used; the message says why, and holds nothing of it."""


def new_secret() -> str:
    """A new secret, to be shown once."""
    return PREFIX + secrets.token_urlsafe(_SECRET_BYTES)


def digest(secret: str) -> str:
    """What the file keeps of a secret."""
    return sha256(secret.encode("utf-8", "surrogatepass")).hexdigest()


def read_tokens(path: Path) -> Mapping[str, Token]:
    """The file's tokens by digest. Raises BrokenTokens."""
    try:
        found = _File.model_validate(tomllib.loads(path.read_text("utf-8"))).tokens
    except OSError as error:
        raise BrokenTokens(f"{path}: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BrokenTokens(f"{path}: not valid TOML") from error  # the parser's words may quote the line
    except ValidationError as error:
        mistakes = [f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors(include_input=False)]
        raise BrokenTokens(f"{path}: {'; '.join(mistakes)}") from error
    ids = [token.id for token in found]
    if len(set(ids)) < len(ids):
        raise BrokenTokens(f"{path}: the ids {sorted({i for i in ids if ids.count(i) > 1})} stand twice")
    return {token.sha256: token for token in found}


class TokenFile:
    """The tokens of a file, as of about a second ago."""

    def __init__(self, path: Path, tokens: Mapping[str, Token], *, broken: Callable[[], None]) -> None:
        """`tokens` are those that were read from it already; `broken()` is told of each change that cannot be used."""
        self._path = path
        self._tokens = tokens  # replaced as a whole; owner: whoever looks, and a race reads the file twice
        self._stamp = _stamp(path)
        self._looked_at_ms = 0
        self._broken = broken

    @classmethod
    def open(cls, path: Path, *, broken: Callable[[], None] = lambda: None) -> TokenFile:
        """Raises StartRefused: a router that cannot know its callers must not start."""
        try:
            return cls(path, read_tokens(path), broken=broken)
        except BrokenTokens as error:
            raise StartRefused(f"security.tokens: {error}") from error

    def find(self, secret: str, *, now_ms: int) -> Token | None:
        """The token of a secret. What is compared are digests, whose timing tells nothing about the secret."""
        if abs(now_ms - self._looked_at_ms) >= _LOOK_EVERY_MS:
            self._looked_at_ms = now_ms
            self._look_again()
        return self._tokens.get(digest(secret))

    def _look_again(self) -> None:
        stamp = _stamp(self._path)
        if stamp == self._stamp:
            return
        self._stamp = stamp
        try:
            self._tokens = read_tokens(self._path)
            log.info("tokens_read", tokens=len(self._tokens))
        except BrokenTokens as error:
            self._broken()
            log.error("tokens_unreadable", error=str(error), next_step="mend the file; the tokens read last stay valid")


def _stamp(path: Path) -> tuple[Any, ...]:
    try:
        found = path.stat()
    except OSError:
        return ()
    return (found.st_mtime_ns, found.st_size, found.st_ino)
