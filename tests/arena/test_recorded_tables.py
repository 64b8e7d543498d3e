"""Tables of recorded outcomes: what they say of money and models, and what an import file becomes."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from benchmarks.arena.recorded import imports
from benchmarks.arena.recorded.imports import folders, import_tables
from benchmarks.arena.recorded.tables import best_by_kind, best_single, order
from tests.arena.recorded_tables import KINDS, USD, by_kind, table

MAP = """\
# Made up, ours.
id_prefix = "made-up"
[episodes]
file = "episodes.csv"
episode_id = ["group", "task", "trial", "model"]
score = "score"
task_type = "domain"
cost_usd = "usd"
[turns]
file = "turns.csv"
episode_id = ["group", "task", "trial", "model"]
model = "model"
prompt_tokens = "tokens"
output_tokens = "reply"
[models.priced]
model_class = "large"
input_usd_per_mtok = 2.0
output_usd_per_mtok = 4.0
"""


def write(folder: Path, rows: list[dict[str, object]]) -> Path:
    """Two turns an episode, of 100 and 200 tokens with replies of 10."""
    folder.mkdir()
    (folder / "map.toml").write_text(MAP)
    names = ("group", "task", "trial", "model")
    turns = [
        {**{name: row[name] for name in names}, "tokens": tokens, "reply": 10} for row in rows for tokens in (100, 200)
    ]
    for file, content in (("episodes.csv", rows), ("turns.csv", turns)):
        with (folder / file).open("w", newline="") as opened:
            writer = csv.DictWriter(opened, list(content[0]))
            writer.writeheader()
            writer.writerows(content)
    return folder


def row(task: object, model: str, score: float, *, trial: int = 0, usd: object = 0.5) -> dict[str, object]:
    return {"group": "g", "task": task, "trial": trial, "model": model, "score": score, "domain": "d", "usd": usd}


def test_utilities_are_score_less_weighted_money():
    made = table(4)
    cheap, dear = made.utilities(10.0)[0]
    assert cheap == pytest.approx(by_kind("cheap", "math") - 10 * USD["cheap"])
    assert dear == pytest.approx(by_kind("dear", "math") - 10 * USD["dear"])


def test_money_that_is_unknown_cannot_be_weighed():
    made = table(4, knows_money=False)
    assert made.usd is None
    assert made.utilities(0.0).tolist() == made.scores.tolist()
    with pytest.raises(ValueError, match="USD"):
        made.utilities(1.0)


def test_the_best_models_are_found():
    utilities = np.array([[0.0, 1.0, 0.5], [1.0, 0.0, 0.9], [0.0, 1.0, 0.9]])
    assert best_single(utilities) == 2
    assert best_by_kind(utilities, ["a", "b", "a"]).tolist() == [1, 0, 1]


def test_a_seed_plays_each_item_once_in_an_order_of_its_own():
    first, second = order(50, seed=1), order(50, seed=2)
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(50))
    assert first.tolist() != second.tolist()
    assert order(50, seed=1).tolist() == first.tolist()


def test_a_digest_tells_tables_apart():
    assert table(4).digest == table(4).digest
    assert len({table(4).digest, table(6).digest, table(4, knows_money=False).digest}) == 3


def test_an_import_becomes_a_table_of_the_tasks_that_all_models_played(tmp_path: Path):
    long_name = "x" * 150  # such an episode's own name ends in a hash
    rows = [row(task, model, 1.0) for task in [long_name, *range(imports.MIN_TASKS - 1)] for model in ("priced", "b")]
    rows += [row("lonely", "b", 1.0), row("small group", "c", 1.0), row("small group", "b", 1.0)]
    (made,) = import_tables(write(tmp_path / "mine", rows))
    assert len(made.items) == imports.MIN_TASKS
    assert made.model_names == ("b", "priced")
    assert made.about == "Made up, ours."
    context = made.items[0].context
    assert (context.tool_type, context.task_type, context.prompt_tokens) == ("d", "d", 100)
    assert [len(outcome.turns) for outcome in made.items[0].outcomes.values()] == [2, 2]


def test_repeats_are_averaged(tmp_path: Path):
    rows = [row(task, "b", trial, trial=trial) for task in range(imports.MIN_TASKS) for trial in (0, 1)]
    rows += [row(task, "priced", 1.0, trial=trial) for task in range(imports.MIN_TASKS) for trial in (0, 1)]
    (made,) = import_tables(write(tmp_path / "mine", rows))
    assert made.scores[0].tolist() == [0.5, 1.0]


def test_money_is_recorded_or_priced_by_the_map_or_unknown(tmp_path: Path):
    tasks = range(imports.MIN_TASKS)
    recorded = [row(task, "b", 1.0, usd=0.3) for task in tasks]
    priced = [row(task, "priced", 1.0, usd="") for task in tasks]
    unknown = [row(task, "c", 1.0, usd=0.0) for task in tasks]  # as recorders write where they know no price
    (known,) = import_tables(write(tmp_path / "known", recorded + priced))
    assert known.usd is not None
    assert known.usd[0].tolist() == pytest.approx([0.3, 300 * 2e-6 + 20 * 4e-6])
    assert known.models[0].input_usd_per_mtok == pytest.approx(1e6 * 0.3 / 300), "implied by what was recorded"
    (some,) = import_tables(write(tmp_path / "some", recorded + unknown))
    assert some.usd is None


def test_folders_need_a_map(tmp_path: Path):
    (tmp_path / "nothing").mkdir()
    mine = write(tmp_path / "mine", [row(0, "b", 1.0)])
    assert folders(tmp_path) == [mine]
    with pytest.raises(FileNotFoundError, match=r"map\.toml"):
        import_tables(tmp_path / "nothing")


@pytest.mark.recorded
@pytest.mark.parametrize(
    ("name", "models", "tasks", "best"),
    [("medagentbench", 4, 100, "gpt-4o-mini"), ("tau2_turns", 2, 140, "gpt-4.1-sft")],
)
def test_the_recorded_sets_make_tables(recorded: Path, name: str, models: int, tasks: int, best: str):
    made = import_tables(recorded / name)[0]
    assert (len(made.models), len(made.items)) == (models, tasks)
    assert made.model_names[best_single(made.scores)] == best
    assert made.usd is None, "the fine-tuned model and the character counts have no price"


def test_kinds_are_those_of_first_turns():
    assert table().kinds == KINDS
