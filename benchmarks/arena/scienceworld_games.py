"""ScienceWorld's games (third-party simulator and gold paths), each recorded once as it went.

The gold path is open loop: it was planned for a world that nobody disturbed. So a game is only used if slips do not
disturb it: the real simulator plays the path alone, then `REPLAYS` times with random slips in between, and every
command must be answered as if nothing had happened, to the full score. A slip then leaves the world as it was, and what
a turn shows can be looked up. Recordings are kept on disk, in a directory that no repository holds. The simulator
is a Java program that the package brings along.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import cache
from random import Random
from typing import Any

import scienceworld  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional, and ships no annotations

from benchmarks.arena.cache import ROOT, write

RECORDINGS = ROOT / ".arena" / f"scienceworld-{scienceworld.__version__}"
IDLE = ("look around", "inventory", "wait1")
REFUSED = "pick up unicorn"
"""Slips: three that help nothing, and one that grasps at something that is not there, which the simulator refuses."""

REPLAYS = 3
SLIP_RATE = 0.4  # of the replays
LONGEST = 45  # commands of a gold path; ScienceWorld's own limit is 100 turns, the paper's 50 calls
_NOT_UNDERSTOOD = ("No known action", "Ambiguous")


@dataclass(frozen=True)
class Seen:
    """What is seen before a command of the gold path: things and doors in the room, things carried."""

    things: int
    doors: int
    carried: int


@dataclass(frozen=True)
class Recording:
    """A game that slips do not disturb: its gold path up to the full score, and what is seen before each command."""

    commands: tuple[str, ...]
    seen: tuple[Seen, ...]


@cache
def _simulator() -> Any:
    """One for each process: it takes a second to start."""
    return scienceworld.ScienceWorldEnv("", None, envStepLimit=10**6)


def variations(task: str, side: str) -> list[int]:
    """ScienceWorld's own split of a task's variations; `side` is "train", "dev" or "test"."""
    simulator = _simulator()
    simulator.load(task, 0, "")
    return list(getattr(simulator, f"get_variations_{side}")())


def recording(task: str, variation: int) -> Recording | None:
    """The recording of a game, from disk if it was made already; None if slips disturb it."""
    path = RECORDINGS / f"{task}-{variation}.json"
    if not path.exists():
        made = _record(task, variation)
        write(path, made and asdict(made))
    kept = json.loads(path.read_text())
    if kept is None:
        return None
    return Recording(tuple(kept["commands"]), tuple(Seen(**seen) for seen in kept["seen"]))


def _record(task: str, variation: int) -> Recording | None:
    simulator = _simulator()
    simulator.load(task, variation, "", generateGoldPath=True)
    path = list(simulator.get_gold_action_sequence())
    if len(path) > LONGEST:
        return None
    seen = list[Seen]()
    answers = list(_play(task, variation, path, seen))
    if not answers or answers[-1][1] < 1.0:
        return None
    commands = path[: len(answers)]
    for replay in range(REPLAYS):
        if list(_play(task, variation, commands, [], random=Random(replay))) != answers:
            return None
    return Recording(tuple(commands), tuple(seen))


def _play(
    task: str, variation: int, path: Sequence[str], seen: list[Seen], *, random: Random | None = None
) -> Iterator[tuple[bool, float]]:
    """Whether each command was understood and the score (0 to 1) after it, up to the full score.

    `seen` is filled in on the way; with `random`, slips come in between.
    """
    simulator = _simulator()
    simulator.load(task, variation, "")
    for command in path:
        while random is not None and random.random() < SLIP_RATE:
            simulator.server.step(random.choice((*IDLE, REFUSED)))
        if random is None:
            seen.append(_see(simulator))
        answer, score = simulator.server.step(command), float(simulator.server.getScore())
        yield not answer.startswith(_NOT_UNDERSTOOD), score
        if simulator.server.getCompleted():
            return


def _see(simulator: Any) -> Seen:
    lines = [line.strip() for line in simulator.look().splitlines() if line.startswith("\t")]
    doors = sum(line.startswith("A door") for line in lines)
    carried = sum(line.startswith("\t") for line in simulator.inventory().splitlines())
    return Seen(len(lines) - doors, doors, carried)
