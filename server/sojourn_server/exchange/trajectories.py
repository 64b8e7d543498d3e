"""Recorded episodes, read from a file of turns and a file of episodes under a column map.

Turns join their episode by the columns that name it in both files. A trajectory is taken whole or not at all: a wrong
row leaves its episode out, because an episode with a hole would teach what never happened. Every row that is left out
is reported with its file, line and column.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from fnmatch import fnmatchcase
from hashlib import blake2b
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.errors import InvalidField
from sojourn_server.exchange.column_map import ColumnMap, Columns, EpisodeColumns, TurnColumns
from sojourn_server.exchange.rows import Cells, Rejected, read_rows
from sojourn_server.rpc.validation import MAX_NAME_BYTES

MAX_TURN = 2**31 - 1
_HASH_BYTES = 16


class RecordedTurn(NamedTuple):
    """One turn as it was played: what was known before it, what happened in it, served model included, and when."""

    turn_index: int
    context: types_pb2.Context
    facts: types_pb2.TurnFacts
    called_tool: str
    at_ms: int | None


class Trajectory(NamedTuple):
    """A whole episode: its outcome, what its row says of all turns, when it ended, its turns (at least one).

    `chosen_once`: a model that serves a turn had to serve the next.
    """

    line: int
    outcome: router_pb2.ReportOutcomeRequest
    model: str
    context: types_pb2.Context
    at_ms: int | None
    turns: tuple[RecordedTurn, ...] = ()
    chosen_once: bool = False


class Recording(NamedTuple):
    """What two files came to."""

    trajectories: list[Trajectory]
    rejected: list[Rejected]


def read_recording(directory: Path, columns: ColumnMap) -> Recording:
    """Reads and joins the files that the map names below a directory. Raises ConfigError if they do not fit it."""
    join = _Join(columns)
    join.read(directory, columns.episodes, join.take_episode)
    join.read(directory, columns.turns, join.take_turn)
    return Recording(list(join.joined()), join.rejected)


def columns_of(source: Columns) -> set[str]:
    """All columns that a part of the map names."""
    values = source.model_dump(exclude={"file", "episode_id", "statuses", "severities", "tool_separator"})
    named = [*values.pop("features", {}).values(), *values.values()]
    return {*source.episode_id, *(v["column"] if isinstance(v, dict) else v for v in named if v is not None)}


class _Join:
    """Gathers episodes, then their turns."""

    def __init__(self, columns: ColumnMap) -> None:
        self.rejected: list[Rejected] = []
        self._columns = columns
        self._episodes: dict[str, Trajectory] = {}
        self._turns: dict[str, list[RecordedTurn]] = defaultdict(list)
        self._left_out: set[str] = set()

    def read(self, directory: Path, source: Columns, take: Callable[[Cells, str, int], None]) -> None:
        """Takes every row of a file; notes those that cannot be taken, and leaves their episodes out."""
        for row in read_rows(directory / source.file, columns_of(source)):
            if isinstance(row, Rejected):
                self.rejected.append(row)
                continue
            cells, name = Cells(row), ""
            try:
                name = _name(cells, source, self._columns.id_prefix)
                take(cells, name, row.line)
            except InvalidField as error:
                self._left_out.add(name)
                self.rejected += [Rejected(source.file.name, row.line, v.field, v.expected) for v in error.violations]

    def take_episode(self, cells: Cells, name: str, line: int) -> None:
        """Raises InvalidField, whose fields are columns."""
        source = self._columns.episodes
        if name in self._episodes:
            first = self._episodes[name].line
            cells.mistakes.add(", ".join(source.episode_id), f"name {name!r} again; the first is in line {first}")
        episode = _episode(cells, source, name, line)
        cells.mistakes.settle()
        self._episodes[name] = episode

    def take_turn(self, cells: Cells, name: str, line: int) -> None:
        """Raises InvalidField, whose fields are columns."""
        source, episode = self._columns.turns, self._episodes.get(name)
        if name in self._left_out:
            return
        if episode is None:
            cells.mistakes.add(", ".join(source.episode_id), f"name {name!r}, an episode without a row")
            cells.mistakes.settle()
            return
        turn = _turn(cells, source, episode, len(self._turns[name]))
        cells.mistakes.settle()
        self._turns[name].append(turn)

    def joined(self) -> Iterator[Trajectory]:
        """The episodes that can be taken whole, in the file's order."""
        for name, episode in self._episodes.items():
            turns = sorted(self._turns[name], key=lambda turn: turn.turn_index)
            twice = [a.turn_index for a, b in pairwise(turns) if a.turn_index == b.turn_index]
            if turns and not twice and name not in self._left_out:
                played = tuple(_with_tools(turns, self._columns))
                yield episode._replace(turns=played, chosen_once=self._columns.chosen_once)
                continue
            why = (
                f"turn {twice[0]} stands twice" if twice else "one of its rows is wrong" if turns else "it has no turns"
            )
            because = f"episode {name!r} is left out: {why}"
            self.rejected.append(Rejected(self._columns.episodes.file.name, episode.line, "", because))


def _name(cells: Cells, source: Columns, prefix: str) -> str:
    """The episode's name: prefix and cells, joined so that no two share one; too long a name ends in a hash."""
    parts = [cells.part(column) for column in source.episode_id]
    cells.mistakes.settle()
    name = "/".join([prefix, *(part.replace("%", "%25").replace("/", "%2F") for part in parts)])
    encoded = name.encode()
    if len(encoded) <= MAX_NAME_BYTES:
        return name
    kept = encoded[: MAX_NAME_BYTES - 1 - 2 * _HASH_BYTES].decode(errors="ignore")
    return f"{kept}~{blake2b(encoded, digest_size=_HASH_BYTES).hexdigest()}"


def _episode(cells: Cells, source: EpisodeColumns, name: str, line: int) -> Trajectory:
    outcome = router_pb2.ReportOutcomeRequest(
        episode_id=name,
        score=cells.number(source.score, most=1.0),
        status=types_pb2.OutcomeStatus.Value(f"OUTCOME_STATUS_{cells.word(source.status, source.statuses)}"),
        cost_usd=cells.number(source.cost_usd),
    )
    if not outcome.HasField("score") and not outcome.status:
        column = source.score.column if source.score else str(source.status)
        cells.mistakes.add(column, "is needed: nothing says how the episode ended")
    context = types_pb2.Context(task_type=cells.text(source.task_type), language=cells.text(source.language))
    return Trajectory(line, outcome, cells.text(source.model), context, cells.at_ms(source.at))


def _turn(cells: Cells, source: TurnColumns, episode: Trajectory, earlier_turns: int) -> RecordedTurn:
    turn_index = cells.whole(source.turn_index, most=MAX_TURN)
    features = {key: cells.number(column, signed=True) for key, column in source.features.items()}
    context = types_pb2.Context(
        tool_name=cells.text(source.tool_name, separator=source.tool_separator),
        tool_type=cells.text(source.tool_type),
        phase=cells.text(source.phase),
        task_type=cells.text(source.task_type) or episode.context.task_type,
        language=cells.text(source.language) or episode.context.language,
        prompt_tokens=cells.whole(source.prompt_tokens),
        features={key: value for key, value in features.items() if value is not None},
    )
    facts = _facts(cells, source, context)
    facts.served_model = facts.served_model or episode.model
    if not facts.served_model:
        cells.mistakes.add(str(source.model), "is needed: the episode's row names no model either")
    return RecordedTurn(
        turn_index=earlier_turns if turn_index is None else turn_index,
        context=context,
        facts=facts,
        called_tool=cells.text(source.tool_called, separator=source.tool_separator),
        at_ms=cells.at_ms(source.at),
    )


def _facts(cells: Cells, source: TurnColumns, context: types_pb2.Context) -> types_pb2.TurnFacts:
    read, written = cells.whole(source.cached_read_tokens), cells.whole(source.cache_write_tokens)
    uncached = max(context.prompt_tokens - (read or 0) - (written or 0), 0)
    usage = types_pb2.Usage(
        input_tokens=uncached if context.HasField("prompt_tokens") else None,
        cached_read_tokens=read,
        cache_write_tokens=written,
        output_tokens=cells.whole(source.output_tokens),
    )
    return types_pb2.TurnFacts(
        served_model=cells.text(source.model),
        usage=usage if usage.ByteSize() else None,
        cost_usd=cells.number(source.cost_usd),
        latency_ms=cells.number(source.latency_ms),
        error=types_pb2.Severity.Value(f"SEVERITY_{cells.word(source.error, source.severities)}"),
        error_code=cells.text(source.error_code),
    )


def _with_tools(turns: Sequence[RecordedTurn], columns: ColumnMap) -> Iterator[RecordedTurn]:
    """Turns whose context names the tool that the turn before called, where that is what the file says."""
    called = ""
    for turn in turns:
        context = turn.context
        if columns.turns.tool_called is not None:
            context.tool_name = called
        if context.tool_name and not context.tool_type:
            lowered = context.tool_name.lower()
            kinds = (kind for pattern, kind in columns.tool_types.items() if fnmatchcase(lowered, pattern))
            context.tool_type = next(kinds, "")
        called = turn.called_tool
        yield turn
