"""TextWorld's games (third-party, generated at run time) as graphs of states, explored as they are played.

TextWorld's own logic runs a game: which commands are admissible, what they do, and which commands win from here.
That costs milliseconds a step, so each state is kept once it is known, and the next visit is a look-up. A state is
told by its facts and by the progress of its quests: equal states go on in equal ways, whatever led to them. Games
are made once and kept on disk, in a directory that no repository holds. They are not played on the Z-machine: nobody
needs the words of its answers here, only that a command which is not admissible is refused.
"""

from __future__ import annotations

import copyreg
import os
import pickle
import sys
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import textworld  # type: ignore[import-untyped,import-not-found,unused-ignore]  # optional, and ships no annotations
from textworld.challenges import CHALLENGES  # type: ignore[import-untyped,import-not-found,unused-ignore]  # as above
from textworld.generator.game import GameOptions, GameProgression  # type: ignore[import-untyped,import-not-found,unused-ignore]  # as above
from textworld.generator.inform7 import Inform7Game  # type: ignore[import-untyped,import-not-found,unused-ignore]  # as above
from textworld.logic import Placeholder, Proposition, Signature, Variable  # type: ignore[import-untyped,import-not-found,unused-ignore]  # as above

GAMES = Path(__file__).parents[2] / ".arena" / f"textworld-{textworld.__version__}"

Settings = Mapping[str, Any]

# These keep their hash, which is another one in each process: pickled games name their parts and make them anew.
copyreg.pickle(Placeholder, lambda it: (Placeholder, (it.name, it.type)))
copyreg.pickle(Proposition, lambda it: (Proposition, (it.name, it.arguments)))
copyreg.pickle(Signature, lambda it: (Signature, (it.name, it.types)))
copyreg.pickle(Variable, lambda it: (Variable, (it.name, it.type)))


@dataclass(frozen=True)
class State:
    """One state of a game: its admissible commands in alphabetical order, and the shortest known commands to win.

    `path` is one way of commands from the start to here, and the state's identity within its game.
    """

    commands: tuple[str, ...]
    plan: tuple[str, ...]
    is_solved: bool
    path: tuple[str, ...]


class Transitions:
    """The states of one game, as far as anybody has been."""

    def __init__(self, game: Any) -> None:
        """`game` is a `textworld.Game`."""
        self._game = game
        self._names = Inform7Game(game)
        self._states: dict[bytes, State] = {}  # by what tells a state; owner: _state()
        self._next: dict[tuple[tuple[str, ...], str], State] = {}  # by path and command; owner: after()
        self._live = GameProgression(game)  # stands at `_at`; owner: _advance()
        self._at = self.start = self._state(())

    def after(self, state: State, command: str) -> State:
        """The state that an admissible command leads to. Raises KeyError for any other command."""
        edge = (state.path, command)
        if edge not in self._next:
            self._next[edge] = self._advance(state, command)
        return self._next[edge]

    def _advance(self, state: State, command: str) -> State:
        if self._at is not state:
            self._live = GameProgression(self._game)
            for earlier in state.path:
                self._update(earlier)
            self._at = state
        self._update(command)
        self._at = self._state((*state.path, command))
        return self._at

    def _update(self, command: str) -> None:
        self._live.update(self._admissible()[command])

    def _admissible(self) -> dict[str, Any]:
        actions = self._live.valid_actions
        return dict(zip(map(sys.intern, self._names.gen_commands_from_actions(actions)), actions, strict=True))

    def _state(self, path: tuple[str, ...]) -> State:
        identity = _identity(self._live)
        if identity not in self._states:
            plan = self._names.gen_commands_from_actions(self._live.winning_policy or ())
            self._states[identity] = State(
                commands=tuple(sorted(self._admissible())),
                plan=tuple(map(sys.intern, plan)),
                is_solved=bool(self._live.completed),
                path=path,
            )
        return self._states[identity]


def _identity(progression: Any) -> bytes:
    """A digest of all on which the rest of a game depends: the facts, and how far each event of each quest has come."""
    quests = progression.quest_progressions
    events = [event for quest in quests for event in (*quest.win_events, *quest.fail_events)]
    progress = [f"{event.triggered} {event.untriggerable} {event._tree}" for event in events]
    facts = sorted(map(str, progression.state.facts))
    return blake2b("\n".join([*facts, *progress]).encode(), digest_size=16).digest()


@cache
def transitions(kind: str, make: Callable[[int], Any], seed: int) -> Transitions:
    """The game of a kind and seed; `make(seed)` is called if it is not on disk yet."""
    path = GAMES / f"{kind}-{seed}.pickle"
    if not path.exists():
        _keep(path, make(seed))
    return Transitions(pickle.loads(path.read_bytes()))


def _keep(path: Path, game: Any) -> None:
    """Writes a game in one step, since other processes may look for it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_suffix(f".{os.getpid()}")
    unfinished.write_bytes(pickle.dumps(game))
    unfinished.replace(path)


def challenge(name: str, settings: Settings, seed: int) -> Any:
    """One of TextWorld's own challenges, "tw-simple" for instance; settings are explained there."""
    _, make, *_ = CHALLENGES[name]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it plays the new game through once, on a Z-machine that does not know it
        return make(settings, _options(seed))


def quest(settings: Settings, seed: int) -> Any:
    """A house with a chain of things to do; settings are attributes of `GameOptions`."""
    options = _options(seed)
    for attribute, value in settings.items():
        setattr(options, attribute, value)
    return textworld.generator.make_game(options)


def _options(seed: int) -> Any:
    options = GameOptions()
    options.seeds = seed
    return options
