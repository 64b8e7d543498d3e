"""Snapshots on disk: temp file, fsync, rename, directory fsync; a SHA-256 in front, the newest few kept.

Vowpal Wabbit loads damaged files silently, so nothing is trusted that has not passed the digest, the platform check and
the probes: predictions of both regressors on texts made from the snapshot's own words must be the recorded ones.
Deciders see copies made through a snapshot (`Published`), swapped by one assignment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import NamedTuple, Protocol

from google.protobuf.message import DecodeError

from sojourn.v1 import snapshot_pb2
from sojourn_server.config import DEFAULTS, LessonSettings
from sojourn_server.errors import BrokenSnapshot
from sojourn_server.journal.disk import sync_directory
from sojourn_server.policy.bandit import PLATFORM, Bandit, token

_MAGIC = b"SOJOURN1"
_DIGEST_BYTES = 32
SUFFIX = ".snapshot"
_MOST_PROBE_WORDS = 16
OTHER_PLATFORM_TOLERANCE = 1e-3
"""How far probes may move with another processor or version of Vowpal Wabbit, in score units and turns."""


class Stored(NamedTuple):
    """A stored snapshot: version, size, time of making (ms since 1970)."""

    version: int
    size_bytes: int
    created_at_ms: int


def probe(bandit: Bandit, statistics: snapshot_pb2.Statistics) -> list[float]:
    """Predictions on fixed texts made from the phases and models that the snapshot knows."""
    phases = sorted({*islice(sorted(statistics.evidence_by_phase), _MOST_PROBE_WORDS), *DEFAULTS["heuristic"]["table"]})
    models = {*islice(sorted(statistics.turns_by_model), _MOST_PROBE_WORDS), *(m["name"] for m in DEFAULTS["models"])}
    actions = [f"|m {token('m', name)}" for name in sorted(models)]
    values: list[float] = []
    for phase in phases:
        scores, turns = bandit.predict(f"shared |c turn:0.5 {token('p', phase)} |t {token('t', phase)}", actions)
        values += [*scores, turns]
    return values


def open_bandit(snapshot: snapshot_pb2.Snapshot, lesson: LessonSettings, *, of_any_platform: bool = False) -> Bandit:
    """The bandit of a snapshot. Raises BrokenSnapshot if it does not predict what it did when it was made.

    One of another platform will do only where nothing else can be had, and may differ by a tolerance.
    """
    at_home = snapshot.platform == PLATFORM
    if not at_home and not of_any_platform:
        raise BrokenSnapshot(f"made by {snapshot.platform}, this is {PLATFORM}")
    tolerance = 0.0 if at_home else OTHER_PLATFORM_TOLERANCE
    regressors = snapshot.score_regressor, snapshot.turns_regressor
    try:
        bandit = Bandit.from_bytes(*regressors, options=lesson.vw_options, turns_cap=lesson.turns_cap)
    except RuntimeError as error:  # Vowpal Wabbit's only one
        raise BrokenSnapshot(f"Vowpal Wabbit cannot read it: {error}") from error
    now, then = probe(bandit, snapshot.statistics), snapshot.probes
    if len(now) != len(then) or not all(abs(a - b) <= tolerance for a, b in zip(now, then, strict=True)):
        raise BrokenSnapshot("its probe predictions differ from the recorded ones")
    return bandit


def encode(snapshot: snapshot_pb2.Snapshot) -> bytes:
    """The file's bytes: magic, SHA-256 of the rest, the message."""
    payload = snapshot.SerializeToString(deterministic=True)
    return _MAGIC + sha256(payload).digest() + payload


def decode(data: bytes) -> snapshot_pb2.Snapshot:
    """The message of a file. Raises BrokenSnapshot if it is truncated, altered or of another format."""
    head, payload = data[: len(_MAGIC)], data[len(_MAGIC) + _DIGEST_BYTES :]
    if head != _MAGIC:
        raise BrokenSnapshot("not a snapshot of this format")
    if sha256(payload).digest() != data[len(_MAGIC) : len(_MAGIC) + _DIGEST_BYTES]:
        raise BrokenSnapshot("its SHA-256 does not match: truncated or altered")
    try:
        return snapshot_pb2.Snapshot.FromString(payload)
    except DecodeError as error:
        raise BrokenSnapshot(f"its message cannot be read: {error}") from error


class Snapshots(Protocol):
    """The stored snapshots of all policies; one learner writes, anyone reads."""

    def save(self, snapshot: snapshot_pb2.Snapshot) -> None:
        """Stores a snapshot so that after a crash it is there whole or not at all. Raises OSError."""

    def load(self, policy: str, version: int) -> snapshot_pb2.Snapshot:
        """Reads one snapshot. Raises BrokenSnapshot, also if it is missing."""

    def versions(self, policy: str) -> list[int]:
        """Stored versions, newest first."""

    def list(self, policy: str) -> Sequence[Stored]:
        """What is stored, newest first."""


class SnapshotStore:
    """Snapshots below one directory."""

    def __init__(self, directory: Path, *, keep: int) -> None:
        """Keeps the newest `keep` (>= 1) of each policy."""
        self._directory = directory
        self._keep = keep

    def save(self, snapshot: snapshot_pb2.Snapshot) -> None:
        """See Snapshots.save."""
        folder = self._folder(snapshot.policy)
        folder.mkdir(parents=True, exist_ok=True)
        final = self._path(snapshot.policy, snapshot.position)
        temporary = final.with_suffix(".tmp")
        with temporary.open("wb") as file:
            file.write(encode(snapshot))
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(final)
        sync_directory(folder)
        for version in self.versions(snapshot.policy)[self._keep :]:
            self._path(snapshot.policy, version).unlink(missing_ok=True)

    def load(self, policy: str, version: int) -> snapshot_pb2.Snapshot:
        """See Snapshots.load."""
        try:
            return decode(self._path(policy, version).read_bytes())
        except OSError as error:
            raise BrokenSnapshot(f"cannot be read: {error.strerror}") from error

    def versions(self, policy: str) -> list[int]:
        """See Snapshots.versions."""
        return sorted((int(p.stem) for p in self._folder(policy).glob(f"*{SUFFIX}") if p.stem.isdigit()), reverse=True)

    def list(self, policy: str) -> Sequence[Stored]:
        """See Snapshots.list."""
        found = []
        for version in self.versions(policy):
            with suppress(FileNotFoundError):  # a newer one has come meanwhile
                stat = self._path(policy, version).stat()
                found.append(Stored(version, stat.st_size, stat.st_mtime_ns // 1_000_000))
        return found

    def _folder(self, policy: str) -> Path:
        return self._directory / token("policy", policy)

    def _path(self, policy: str, version: int) -> Path:
        return self._folder(policy) / f"{version:020d}{SUFFIX}"


class Published:
    """One published version: `policy.knowledge.Knowledge`, safe to share between threads."""

    def __init__(self, version: int, bandit: Bandit, statistics: snapshot_pb2.Statistics) -> None:
        """Takes a bandit that nobody else touches."""
        self.version = version
        self.statistics = statistics
        self._bandit = bandit  # owned under _lock: VW's workspaces are not thread-safe
        self._lock = threading.Lock()

    @classmethod
    def of(cls, snapshot: snapshot_pb2.Snapshot, lesson: LessonSettings) -> Published:
        """Opens a snapshot for deciding. Raises BrokenSnapshot."""
        return cls(snapshot.position, open_bandit(snapshot, lesson), snapshot.statistics)

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        """See Knowledge.predict."""
        with self._lock:
            return self._bandit.predict(shared, actions)
