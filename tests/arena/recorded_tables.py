"""A made-up table: two models, two kinds of task, and which model is good depends on the kind."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.arena.recorded.tables import Item, Outcome, Table
from sojourn.v1 import types_pb2
from sojourn_server.config import ModelConfig
from sojourn_server.exchange.trajectories import RecordedTurn

KINDS = ("math", "prose")
MODELS = (
    ModelConfig(name="cheap", model_class="small", input_usd_per_mtok=1.0, output_usd_per_mtok=1.0),
    ModelConfig(name="dear", model_class="large", input_usd_per_mtok=10.0, output_usd_per_mtok=10.0),
)
USD = {"cheap": 0.001, "dear": 0.01}
TURNS = 3


def by_kind(model: str, kind: str) -> float:
    """`cheap` is good at prose and `dear` at math."""
    return 0.9 if (model == "dear") == (kind == "math") else 0.1


def table(
    count: int = 40, *, score: Callable[[str, str], float] = by_kind, knows_money: bool = True, turns: int = TURNS
) -> Table:
    """Kinds take turns; `score(model, kind)` is in [0, 1]."""
    items = tuple(_item(place, KINDS[place % 2], score, (knows_money, turns)) for place in range(count))
    return Table("made up", "made up for tests", MODELS, items, {"math": "large", "prose": "small"})


def _item(place: int, kind: str, score: Callable[[str, str], float], how: tuple[bool, int]) -> Item:
    knows_money, turns = how
    context = types_pb2.Context(tool_type=kind, task_type=kind, prompt_tokens=1_000, features={"place": place % 3})
    outcomes = {
        model.name: Outcome(
            score(model.name, kind),
            USD[model.name] if knows_money else None,
            tuple(_turn(index, model.name, kind) for index in range(turns)),
        )
        for model in MODELS
    }
    return Item(f"task-{place}", context, outcomes)


def _turn(index: int, model: str, kind: str) -> RecordedTurn:
    context = types_pb2.Context(
        tool_type="search" if index else kind, task_type=kind, prompt_tokens=1_000 + 100 * index
    )
    usage = types_pb2.Usage(input_tokens=1_000 + 100 * index, output_tokens=50)
    return RecordedTurn(index, context, types_pb2.TurnFacts(served_model=model, usage=usage), "", None)
