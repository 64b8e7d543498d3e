"""Plays a page of documentation: its files are written, its commands run, what it shows must come out.

A block that follows "... `name`:" is a file of that name. A console block has commands behind `$ ` and below each what
it prints, where `...` stands for anything, whole lines or a part of one; a command with nothing below may print what it
likes. Commands run in one shell, so a router that is started with `&` serves those that follow.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import sojourn

BLOCK = re.compile(r"(?:`(?P<file>[\w./-]+)`:\n\n)?^```(?P<language>\w*)\n(?P<body>.*?)^```$", re.DOTALL | re.MULTILINE)
PROGRAMS = Path(sys.executable).parent
ADDRESS = "127.0.0.1:50051"
END = "-- end, exit code"
PATIENCE_S = 60.0
# Commands that ask the router at the documented address ask the one of this terminal.
SHORTCUT = """sojourn() {{
  case "$* " in
    *--address*|*--journal*) command sojourn "$@" ;;
    show*|explain*|report*|top*|health*|snapshots*|undo*|erase*|export*) command sojourn "$@" --address {address} ;;
    *) command sojourn "$@" ;;
  esac
}}"""


class File(NamedTuple):
    """A file that the page tells to save."""

    name: str
    text: str


class Command(NamedTuple):
    """A command and the lines that the page shows below it."""

    line: str
    shown: Sequence[str]


def steps(page: str) -> Iterator[File | Command]:
    """What a reader does, in order. Raises ValueError for code that is neither a file nor a command."""
    for block in BLOCK.finditer(page):
        if block["language"] == "console":
            for text in re.split(r"^\$ ", block["body"], flags=re.MULTILINE)[1:]:
                line, *shown = text.splitlines()
                yield Command(line, shown)
        elif block["file"]:
            yield File(block["file"], block["body"])
        elif block["language"] != "text":
            raise ValueError(f"this {block['language']} is no file and no command: {block['body'][:80]!r}")


def is_shown(shown: Sequence[str], output: str) -> bool:
    """Whether the output is what is shown, but for `...` and the width of gaps; nothing shown allows anything."""
    said = [" ".join(line.split()) for line in output.splitlines() if line.strip()]
    at, gap = 0, not shown
    for line in shown:
        if line == "...":
            gap = True
            continue
        pattern = ".*".join(re.escape(" ".join(part.split())) for part in line.split("..."))
        pattern = pattern.replace(r".*", r" ?.* ?")
        found = (i for i in range(at, len(said) if gap else at + 1) if i < len(said) and re.fullmatch(pattern, said[i]))
        if (place := next(found, None)) is None:
            return False
        at, gap = place + 1, False
    return gap or at == len(said)


class Terminal:
    """A shell in a folder, with `address` in place of the documented one."""

    def __init__(self, folder: Path, address: str) -> None:
        self.folder, self.address = folder, address
        self._shell = subprocess.Popen(
            ["bash"],
            cwd=folder,
            env=os.environ
            | {
                "PATH": f"{PROGRAMS}{os.pathsep}{os.environ['PATH']}",
                "SOJOURN_SERVER__ADDRESS": self.address,
                "SOJOURN_SERVER__DRAW_SECRET": "drawn once",
            },
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        self._run(SHORTCUT.format(address=self.address))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Ends the shell and what it left in the background."""
        os.killpg(self._shell.pid, signal.SIGKILL)
        self._shell.communicate()

    def play(self, step: File | Command) -> None:
        """Does a step. Raises AssertionError if a command fails or does not print what is shown."""
        if isinstance(step, File):
            path = self.folder / step.name
            path.parent.mkdir(parents=True, exist_ok=True)
            # A loaded machine needs more than the client's 50 ms.
            patient = step.text.replace(f'Client("{ADDRESS}"', f'Client("{self.address}", decide_deadline_ms=10_000.0')
            path.write_text(patient.replace(ADDRESS, self.address), "utf-8")
            return
        if step.line.startswith("pip install"):
            return
        code, output = self._run(step.line)
        output = output.replace(self.address, ADDRESS)
        assert code == 0, f"$ {step.line}\n{output}"
        assert is_shown(step.shown, output), f"$ {step.line}\n{output}\nshown is:\n" + "\n".join(step.shown)

    def _run(self, line: str) -> tuple[int, str]:
        """Exit code and output. A router in the background logs to server.log, and serves when this returns."""
        is_router = "sojourn serve" in line and line.endswith(" &")
        if is_router:  # by its path, past the function, whose process `kill %1` would end in place of the router
            line = f"{line[:-1].replace('sojourn serve', f'{PROGRAMS}/sojourn serve')} >>server.log 2>&1 &"
        self._tell(line)
        code, output = self._read()
        if is_router:
            client = sojourn.Client(self.address)
            client.connect(PATIENCE_S)
            client.close()
        return code, output

    def _tell(self, line: str) -> None:
        assert self._shell.stdin
        self._shell.stdin.write(f"{line}\ncode=$?; echo; echo '{END}' $code\n")
        self._shell.stdin.flush()

    def _read(self) -> tuple[int, str]:
        assert self._shell.stdout
        lines = list[str]()
        for line in self._shell.stdout:
            if line.startswith(END):
                return int(line.removeprefix(END)), "".join(lines)
            lines.append(line)
        raise AssertionError("the shell has ended: " + "".join(lines))
