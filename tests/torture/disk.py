"""A disk that fails on command, below one directory of a real process, and what it may hold after a power loss.

`disk.c` stands between a process and its files. It writes down every operation with the time at which it began; from
that log `Wreck` builds what a disk may hold if the power goes just before any of them. What was synced is there. Of
what was written since, each sector may or may not have arrived. New names, renames and removals that no sync of their
directory has covered may be missing from any one on, in the order in which they were made, as on a journalling file
system. Files that SQLite rebuilds by itself (`-shm`) are left out.
"""

from __future__ import annotations

import mmap
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from random import Random
from struct import Struct
from tempfile import mkdtemp
from typing import NamedTuple

CREATE, OPEN, WRITE, TRUNCATE, SYNC, RENAME, UNLINK, MKDIR, CLOSE = range(1, 10)  # as in disk.c
SECTOR_BYTES = 512
_ENTRY = Struct("=qiiqii")
_FIELDS = {
    "write_errno": (0, "i"),
    "sync_errno": (4, "i"),
    "kill_in": (8, "i"),
    "kill_on": (12, "i"),
    "clock_ns": (16, "q"),
    "sync_delay_ms": (24, "i"),
}
_CONTROL_BYTES = 32


def compiler() -> str | None:
    """The C compiler of this machine, if it has one."""
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


@cache
def _shim() -> Path:
    """The shared library, compiled anew in each run."""
    found = compiler()
    if found is None:
        raise RuntimeError("a C compiler (cc, gcc or clang) is needed to build the disk that fails")
    library = Path(mkdtemp(prefix="sojourn-disk-")) / "disk.so"
    source = Path(__file__).with_name("disk.c")
    subprocess.run([found, "-O2", "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    return library


class Disk:
    """The switches of a failing disk; the process that it stands before may start, die and start again."""

    def __init__(self, under: Path, workshop: Path, *, logged: bool = False) -> None:
        """`under` is where files fail, `workshop` where the control block and the log live (not below `under`)."""
        workshop.mkdir(parents=True, exist_ok=True)
        self._under = under
        self._control_path = workshop / "control"
        self.log = workshop / "operations" if logged else None
        self._control_path.write_bytes(bytes(_CONTROL_BYTES))
        with self._control_path.open("r+b") as file:
            self._control = mmap.mmap(file.fileno(), _CONTROL_BYTES)

    def environment(self) -> Mapping[str, str]:
        """What the process is started with."""
        variables = {
            "LD_PRELOAD": str(_shim()),
            "SOJOURN_DISK_UNDER": str(self._under),
            "SOJOURN_DISK_CONTROL": str(self._control_path),
        }
        return variables | ({"SOJOURN_DISK_LOG": str(self.log)} if self.log else {})

    def set(self, **values: int) -> None:
        """Sets fields of `struct control`, by their names there; they act at once."""
        for name, value in values.items():
            offset, kind = _FIELDS[name]
            Struct(f"={kind}").pack_into(self._control, offset, value)

    def kill_at(self, kind: int, count: int) -> None:
        """The process dies just before the `count`-th operation of a kind, counted from now."""
        self.set(kill_in=0)
        self.set(kill_on=1 << kind)
        self.set(kill_in=count)

    def heal(self) -> None:
        """Everything works again."""
        self.set(**dict.fromkeys(_FIELDS, 0))


class Operation(NamedTuple):
    """One entry of the log: when it began (monotonic ns), what it was, on which descriptor; `name` is its path."""

    at_ns: int
    kind: int
    file: int
    offset: int
    name: str
    data: bytes


def operations(log: Path) -> Iterator[Operation]:
    """All entries in the order in which they were made; a last one cut short is left out."""
    raw = log.read_bytes()
    place = 0
    while place + _ENTRY.size <= len(raw):
        at_ns, kind, file, offset, name_bytes, data_bytes = _ENTRY.unpack_from(raw, place)
        name_at = place + _ENTRY.size
        data_at = name_at + name_bytes
        place = data_at + data_bytes
        if place <= len(raw):
            yield Operation(at_ns, kind, file, offset, raw[name_at:data_at].decode(), raw[data_at:place])


@dataclass
class _File:
    """One file: what is on the disk for sure, and what was written since its last sync."""

    durable: bytearray = field(default_factory=bytearray)
    pending: list[Operation] = field(default_factory=list)

    def sync(self) -> None:
        for operation in self.pending:
            _apply(self.durable, operation)
        self.pending.clear()

    def survivors(self, random: Random) -> bytes:
        """One of the states in which a power loss may leave it."""
        content = bytearray(self.durable)
        chance = random.choice((0.0, 0.5, 1.0))
        for operation in self.pending:
            if operation.kind == TRUNCATE:
                if random.random() < chance:
                    _apply(content, operation)
                continue
            for start in range(0, len(operation.data), SECTOR_BYTES):
                if random.random() < chance:
                    sector = operation.data[start : start + SECTOR_BYTES]
                    _apply(content, operation._replace(offset=operation.offset + start, data=sector))
        return bytes(content)


def _apply(content: bytearray, operation: Operation) -> None:
    if operation.kind == TRUNCATE:
        del content[operation.offset :]
        content.extend(bytes(operation.offset - len(content)))
        return
    content.extend(bytes(max(operation.offset + len(operation.data) - len(content), 0)))
    content[operation.offset : operation.offset + len(operation.data)] = operation.data


class Wreck:
    """Plays a log up to a moment and writes down what the disk may then hold."""

    def __init__(self, log: Path, under: Path) -> None:
        """Reads the whole log; `under` is the directory that the disk stood below."""
        self.operations = list(operations(log))
        self._under = under
        self._state = _State()
        self._taken = 0

    def __len__(self) -> int:
        """Operations, and so moments at which the power may go."""
        return len(self.operations)

    def at_ns(self, moment: int) -> int:
        """When the operation began before which the power goes; what was acknowledged earlier must be there."""
        return self.operations[moment].at_ns

    def salvage(self, moment: int, into: Path, *, seed: int) -> None:
        """Writes one possible state of the disk just before operation number `moment` below `into`.

        Moments must not go back from one call to the next.
        """
        assert moment >= self._taken
        for operation in self.operations[self._taken : moment]:
            self._state.take(operation)
        self._taken = moment
        random = Random(seed)
        for name, file in sorted(self._state.namespace_after_loss(random).items()):
            path = into / Path(name).relative_to(self._under)
            if file is None:
                path.mkdir(parents=True, exist_ok=True)
            elif not name.endswith("-shm"):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(file.survivors(random))


Namespace = dict[str, "_File | None"]
"""Files by path; a directory is None."""


class _State:
    """The disk as the process sees it, and which changes of names are not on it for sure."""

    def __init__(self) -> None:
        self._names: Namespace = {}
        self._durable_names: Namespace = {}
        self._open: dict[int, tuple[str, _File | None]] = {}
        self._unsure: list[tuple[str, Operation, _File | None]] = []  # (directory, what happened, the file meant)

    def take(self, operation: Operation) -> None:
        kind, name = operation.kind, operation.name
        if kind in (CREATE, OPEN):
            self._take_open(operation)
        elif kind in (WRITE, TRUNCATE):
            if (file := self._open[operation.file][1]) is not None:
                file.pending.append(operation)
        elif kind == SYNC:
            self._sync(*self._open[operation.file])
        elif kind == CLOSE:
            self._open.pop(operation.file, None)
        else:
            self._unsure.append((str(Path(name).parent), operation, self._names.get(name)))
            _change_name(self._names, operation, self._names.get(name))

    def _take_open(self, operation: Operation) -> None:
        name = operation.name
        if operation.kind == CREATE:
            self._names[name] = _File()
            self._unsure.append((str(Path(name).parent), operation, self._names[name]))
        file = self._names.setdefault(name, None)  # never created here: a directory that was there before
        if file is not None and operation.kind == OPEN and operation.offset:
            file.pending.append(operation._replace(kind=TRUNCATE, offset=0))
        self._open[operation.file] = (name, file)

    def _sync(self, name: str, file: _File | None) -> None:
        if file is not None:
            file.sync()
            return
        covered = [(d, operation, meant) for d, operation, meant in self._unsure if d == name]
        self._unsure = [entry for entry in self._unsure if entry[0] != name]
        for _, operation, meant in covered:
            _change_name(self._durable_names, operation, meant)

    def namespace_after_loss(self, random: Random) -> Namespace:
        """The names for sure, and of the unsure changes the first few, as many as chance says."""
        names = dict(self._durable_names)
        for _, operation, meant in self._unsure[: random.randint(0, len(self._unsure))]:
            _change_name(names, operation, meant)
        return names


def _change_name(names: Namespace, operation: Operation, meant: _File | None) -> None:
    """Applies one change of names; `meant` is the file that it was about."""
    if operation.kind == UNLINK:
        names.pop(operation.name, None)
    elif operation.kind == RENAME:
        names.pop(operation.name, None)
        names[operation.data.decode()] = meant
    else:
        names[operation.name] = meant
