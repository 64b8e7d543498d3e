"""`sojourn import`: recorded trajectories into a journal, from which the learner learns as from its own episodes.

The lock of a journal in a directory is taken, so no router may be running on it. Natural keys make a second import of
the same files add nothing, also after a first one that was cut short.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.cli.output import console, facts, fail, print_json, progress, table, warn
from sojourn_server.cli.serve import configuration
from sojourn_server.cli.source import Json, Policy

if TYPE_CHECKING:
    from sojourn_server.exchange.column_map import ColumnMap
    from sojourn_server.exchange.imported import Place
    from sojourn_server.exchange.rows import Rejected
    from sojourn_server.exchange.trajectories import Trajectory
    from sojourn_server.journal.journal import Journal

_SHOWN_REJECTIONS = 20


@dataclass
class Summary:
    """What an import came to; all but `episodes_already_there` counts what is new."""

    dry_run: bool
    rejected: list[Rejected]
    episodes: int = 0
    episodes_already_there: int = 0
    turns: int = 0
    turns_by_model: dict[str, int] = field(default_factory=dict)
    models_added: list[str] = field(default_factory=list)
    models_without_prices: list[str] = field(default_factory=list)
    will_be_learned: bool | None = None

    def count(self, trajectory: Trajectory) -> None:
        """Counts a new episode."""
        self.episodes += 1
        self.turns += len(trajectory.turns)
        for turn in trajectory.turns:
            model = turn.facts.served_model
            self.turns_by_model[model] = self.turns_by_model.get(model, 0) + 1


def import_trajectories(
    directory: Annotated[Path, typer.Argument(help="Where the two files lie that the map names.")],
    map: Annotated[Path, typer.Option("--map", help="Column map in TOML.", metavar="FILE")],
    journal: Annotated[
        str | None,
        typer.Option(
            help="The journal's directory or PostgreSQL URL; the configuration's unless given.", metavar="PLACE"
        ),
    ] = None,
    policy: Policy = "default",
    *,
    config: Annotated[
        Path | None, typer.Option(help="Configuration that seeds an empty journal.", metavar="FILE")
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Read and check everything, write nothing.")] = False,
    json: Json = False,
) -> None:
    """Import recorded episodes, played elsewhere, so that a policy starts from what they teach.

    \b
    Examples:
      sojourn import runs/ --map map.toml --dry-run
      sojourn import runs/ --map map.toml --journal sojourn-data

    \b
    A map joins one file of turns with one of episodes (CSV or JSON lines); docs/import has whole ones:
      [episodes]
      file = "episodes.csv"
      episode_id = ["task", "trial"]      # columns that name an episode in both files
      score = "reward"                    # 0 to 1; or: status = "result"
      [turns]
      file = "turns.csv"
      episode_id = ["task", "trial"]
      model = "model"
      tool_called = "tool"

    Nobody here chose, so propensities are unknown: imported episodes are learned only where the policy's
    lesson.learn_served_in_shadow is true, and never enter an importance weight. Stop the router first; with PostgreSQL
    routers may go on. The same import again adds nothing.
    Exit code 0 if every row was taken, 1 if some were rejected, 2 if it could not run.
    """
    from sojourn_server.config import ConfigError
    from sojourn_server.exchange.column_map import load_map
    from sojourn_server.exchange.trajectories import read_recording

    try:
        columns = load_map(map)
        recording = read_recording(directory, columns)
    except ConfigError as error:
        raise fail("\n  ".join(["the column map does not fit:", *error.mistakes])) from None
    summary = Summary(dry_run, recording.rejected)
    if dry_run:
        for trajectory in recording.trajectories:
            summary.count(trajectory)
    else:
        with _journal(journal, config) as opened:
            place = _place(opened, policy, recording.trajectories, columns=columns, summary=summary)
            _write(recording.trajectories, opened, place, summary=summary)
    _print(summary, json)
    raise typer.Exit(1 if summary.rejected else 0)


@contextmanager
def _journal(place: str | None, config: Path | None) -> Iterator[Journal]:
    """The journal for writing, seeded by the configuration if it is empty. Exits if it cannot be had."""
    from sojourn_server.cli.logs import keep_standard_output_clean
    from sojourn_server.errors import SojournError, StartRefused
    from sojourn_server.hosts.home import open_for_writing, place_of
    from sojourn_server.world import load_world

    keep_standard_output_clean()
    settings = configuration(config)
    try:
        with open_for_writing(place or place_of(settings.journal)) as journal:
            if journal.position() == 0:
                load_world(journal, settings, _now_ms())
            yield journal
    except StartRefused as error:
        raise fail(str(error), next_step="stop the router that holds it, then import") from None
    except SojournError as error:
        raise fail(str(error), next_step="repair that and import again: what is there already is not added") from None


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _place(
    journal: Journal, policy: str, trajectories: Sequence[Trajectory], *, columns: ColumnMap, summary: Summary
) -> Place:
    """The policy, with every served model in the registry. Exits if the journal does not know the policy."""
    from sojourn_server.exchange.imported import Place
    from sojourn_server.world import after, read_world

    world, now_ms = read_world(journal), _now_ms()
    if policy not in world.policies:
        raise fail(f"no policy {policy!r} in this journal; there are {sorted(world.policies)}")
    state = world.policies[policy]
    summary.will_be_learned = state.settings.lesson.learn_served_in_shadow
    served = {turn.facts.served_model for trajectory in trajectories for turn in trajectory.turns}
    for terms in _missing(sorted(served - world.registry.models.keys()), columns, summary):
        record = journal_pb2.JournalRecord(received_at_ms=now_ms, model_put=journal_pb2.ModelPutRecord(model=terms))
        record.position = journal.append(record, durable=True, placed=True).position
        world = after(world, record)
    return Place(policy, state, world.registry, now_ms)


def _missing(names: Sequence[str], columns: ColumnMap, summary: Summary) -> Iterator[types_pb2.Model]:
    """Terms of models that the registry lacks. Without prices a model is drained: at no cost it would win."""
    from sojourn_server.world import model_terms

    for name in names:
        summary.models_added.append(name)
        if name in columns.models:
            yield model_terms(columns.models[name])
        else:
            summary.models_without_prices.append(name)
            yield types_pb2.Model(name=name, drained=True)


def _write(trajectories: Sequence[Trajectory], journal: Journal, place: Place, *, summary: Summary) -> None:
    """Appends what is not there yet, the oldest episode first. Closing the journal makes it durable."""
    from sojourn_server.exchange.imported import journal_records
    from sojourn_server.journal.journal import terminal_key

    with progress("episodes", len(trajectories)) as moved_to:
        for done, trajectory in enumerate(sorted(trajectories, key=lambda t: t.at_ms or 0), start=1):
            if journal.get(terminal_key(place.policy, trajectory.outcome.episode_id)) is not None:
                summary.episodes_already_there += 1
            else:
                for record in journal_records(trajectory, place):
                    journal.append(record)
                summary.count(trajectory)
            moved_to(done)


def _print(summary: Summary, json: bool) -> None:
    if json:
        print_json(asdict(summary) | {"rejected": [row._asdict() for row in summary.rejected]})
    else:
        _print_tables(summary)
    if summary.models_without_prices:
        names = ", ".join(summary.models_without_prices)
        warn(f"without prices, so drained until AdminService.PutModel sets them (or [models.NAME] in a map): {names}")
    if summary.will_be_learned is False:
        warn("recorded, not learned: set lesson.learn_served_in_shadow = true for the policy and restart the router")


def _print_tables(summary: Summary) -> None:
    pairs = {
        "episodes": f"{summary.episodes} {'would be imported' if summary.dry_run else 'imported'}",
        "already there": str(summary.episodes_already_there),
        "turns": str(summary.turns),
        "models added": ", ".join(summary.models_added),
        "rejected": str(len(summary.rejected)),
    }
    rows = sorted(summary.turns_by_model.items(), key=lambda pair: -pair[1])
    console().print(facts(pairs.items()), table("Turns", ("model", "turns"), [(m, str(n)) for m, n in rows]), sep="\n")
    for row in summary.rejected[:_SHOWN_REJECTIONS]:
        warn(f"{row.file}:{row.line}: {row.column + ': ' if row.column else ''}{row.because}")
    if len(summary.rejected) > _SHOWN_REJECTIONS:
        warn(f"... {len(summary.rejected) - _SHOWN_REJECTIONS} more; --json lists all")
