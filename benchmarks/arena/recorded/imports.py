"""Any recording in the documented import format as tables: what several models have played is comparable.

Each sub-folder of a directory holds the two files and the map of `sojourn import` (`map.toml`, else docs/import has one
of the folder's name). A task is told by the columns that name an episode, but for the model's and those of repeats
(TRIALS): so a recording's group of equal harness belongs among them. Tasks that the same set of models has played make
one table; repeats are averaged, and the first one's turns are what a router gets to see. A task's kind is the recorded
tool type of its first turn, else its task type.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from benchmarks.arena.cache import ROOT
from benchmarks.arena.recorded.tables import Item, Outcome, Table
from sojourn.v1 import types_pb2
from sojourn_server.config import ModelConfig
from sojourn_server.exchange.column_map import ColumnMap, load_map
from sojourn_server.exchange.rows import Row, read_rows
from sojourn_server.exchange.trajectories import Trajectory, read_recording
from sojourn_server.learner.credit import terminal_score

MAPS = ROOT / "docs" / "import"
TRIALS = frozenset({"trial", "repeat", "run", "seed"})
MIN_TASKS = 20
_CLASS = "medium"  # of models whose terms the map does not give: nothing is known of them

Played = dict[str, list[Trajectory]]


def map_of(folder: Path) -> Path | None:
    """The column map for a folder: its own, else the documented one of its name, else none."""
    candidates = (folder / "map.toml", MAPS / f"{folder.name}.toml")
    return next((path for path in candidates if path.exists()), None)


def folders(directory: Path) -> list[Path]:
    """Sub-folders with a map, sorted."""
    return sorted(path for path in directory.iterdir() if path.is_dir() and map_of(path) is not None)


def import_tables(folder: Path) -> list[Table]:
    """The tables of a recording, the largest first. Raises ConfigError if the map does not fit the files."""
    path = map_of(folder)
    if path is None:
        raise FileNotFoundError(f"{folder}: neither map.toml nor {MAPS / folder.name}.toml")
    columns, about = load_map(path), _about(path)
    tasks = by_task(read_recording(folder, columns).trajectories, task_names(folder, columns))
    rosters = defaultdict[tuple[str, ...], dict[str, Played]](dict)
    for name, played in tasks.items():
        rosters[tuple(sorted(played))][name] = played
    tables = [
        _table(f"{folder.name}: {', '.join(models)}", about, rosters[models], columns)
        for models in rosters
        if len(models) > 1 and len(rosters[models]) >= MIN_TASKS
    ]
    return sorted(tables, key=lambda table: -len(table.items))


def _about(path: Path) -> str:
    """What a map's leading comment says of the data."""
    lines = iter(path.read_text(encoding="utf-8").splitlines())
    comment: list[str] = []
    while (line := next(lines, "")).startswith("#"):
        comment.append(line.lstrip("# "))
    return " ".join(line for line in comment if not line.startswith("sojourn import"))


def task_names(folder: Path, columns: ColumnMap) -> dict[int, str]:
    """The task of each row of the episodes' file, by line; read anew, since long episode names end in a hash."""
    source = columns.episodes
    dropped = TRIALS | {source.model, columns.turns.model}
    kept = [column for column in source.episode_id if column not in dropped]
    rows = read_rows(folder / source.file, source.episode_id)
    return {row.line: "/".join(row.cells.get(c, "") for c in kept) for row in rows if isinstance(row, Row)}


def by_task(trajectories: Sequence[Trajectory], names: Mapping[int, str]) -> dict[str, Played]:
    """Episodes that one model served to a scored end, by task and model."""
    tasks = defaultdict[str, Played](lambda: defaultdict(list))
    for trajectory in trajectories:
        served = {turn.facts.served_model for turn in trajectory.turns}
        if len(served) == 1 and terminal_score(trajectory.outcome) is not None:
            tasks[names[trajectory.line]][served.pop()].append(trajectory)
    return tasks


def _table(name: str, about: str, tasks: dict[str, Played], columns: ColumnMap) -> Table:
    items = tuple(_item(task, tasks[task], columns) for task in sorted(tasks))
    everybody = sorted(next(iter(tasks.values())))
    models = tuple(
        columns.models.get(model) or _implied(model, [t for played in tasks.values() for t in played[model]])
        for model in everybody
    )
    return Table(name, about, models, items)


def _item(task: str, played: Played, columns: ColumnMap) -> Item:
    """What is known before the first turn is taken from the first model by name, but for the least prompt."""
    first = played[min(played)][0].turns[0].context
    context = types_pb2.Context()
    context.CopyFrom(first)
    context.tool_type = first.tool_type or first.task_type
    prompts = [prompt for repeats in played.values() for prompt in _prompts(repeats[0])]
    context.prompt_tokens = min(prompts, default=0)
    outcomes = {model: _outcome(repeats, columns.models.get(model)) for model, repeats in sorted(played.items())}
    return Item(task, context, outcomes)


def _prompts(trajectory: Trajectory) -> Iterator[int]:
    """Length in tokens of the first prompt that is known, if any is."""
    known = (t.context.prompt_tokens for t in trajectory.turns if t.context.HasField("prompt_tokens"))
    yield from list(known)[:1]


def _outcome(repeats: Sequence[Trajectory], terms: ModelConfig | None) -> Outcome:
    """Means over repeats, and the turns of the first one."""
    scores = [score for score in (terminal_score(t.outcome) for t in repeats) if score is not None]
    money = [usd for usd in (episode_usd(t, terms) for t in repeats) if usd is not None]
    return Outcome(fmean(scores), fmean(money) if len(money) == len(repeats) else None, repeats[0].turns)


def episode_usd(trajectory: Trajectory, terms: ModelConfig | None) -> float | None:
    """USD of an episode: as recorded, else of its turns, else tokens at the map's prices without a cache; else None.

    A recorded 0 is no money: recorders write it where they do not know a model's price.
    """
    if trajectory.outcome.cost_usd > 0.0:
        return trajectory.outcome.cost_usd
    turns = [turn.facts for turn in trajectory.turns]
    if all(facts.HasField("cost_usd") for facts in turns) and any(facts.cost_usd > 0.0 for facts in turns):
        return sum(facts.cost_usd for facts in turns)
    if terms is None or not all(facts.usage.HasField("output_tokens") for facts in turns):
        return None
    return sum(
        facts.usage.input_tokens * terms.input_usd_per_mtok / 1e6
        + facts.usage.output_tokens * terms.output_usd_per_mtok / 1e6
        for facts in turns
    )


def _implied(model: str, trajectories: Sequence[Trajectory]) -> ModelConfig:
    """Terms of a model that the map does not price: all recorded USD over all prompt tokens; 0 where unknown."""
    tokens = sum(turn.context.prompt_tokens for t in trajectories for turn in t.turns)
    usd = sum(episode_usd(t, None) or 0.0 for t in trajectories)
    price = 1e6 * usd / tokens if tokens else 0.0
    return ModelConfig(name=model, model_class=_CLASS, input_usd_per_mtok=price, output_usd_per_mtok=0.0)
