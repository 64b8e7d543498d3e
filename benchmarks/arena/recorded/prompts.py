"""ParetoBandit's prompts (third-party, in its PyPI wheel, Apache-2.0): 3 real LLMs on 3,609 prompts.

Each has a judge's reward and the USD that the call cost. The wheel ships prompts but no embeddings (its encoder
is downloaded weights), so the features are made here, the same for all contestants: the benchmark that a prompt is from
(`kind`), and numbers of its text: the package's own four regular-expression counts and latent semantic analysis of
its words (TF-IDF, then a truncated SVD), which see prompts and no outcomes. Clusters of these numbers (k-means) turn
them into a kind. Token counts are estimates: characters / 4 in, and what the price leaves for the reply.
"""

from __future__ import annotations

import json
from functools import cache
from typing import Any, Literal, get_args

import numpy as np
from pareto_bandit.config import DEFAULT_MODEL_REGISTRY_PATH
from pareto_bandit.data import get_example_holdout_path, get_example_val_path
from pareto_bandit.feature_service import extract_text_features_batch
from sklearn.cluster import KMeans  # type: ignore[import-untyped]  # ships no annotations
from sklearn.decomposition import TruncatedSVD  # type: ignore[import-untyped]  # as above
from sklearn.feature_extraction.text import TfidfVectorizer  # type: ignore[import-untyped]  # as above

from benchmarks.arena.recorded.tables import FloatArray, Item, Outcome, Table
from sojourn.v1 import types_pb2
from sojourn_server.config import ModelConfig
from sojourn_server.exchange.trajectories import RecordedTurn

Features = Literal["kind+numbers", "kind", "numbers", "clusters+numbers"]
"""What the caller says of a prompt; clusters are a function of the numbers, so the last two say the same."""
FEATURES: tuple[Features, ...] = get_args(Features)

LSA_DIMENSIONS, CLUSTERS = 16, 16
SPREAD = 0.76  # standard deviation of each number, as of the package's own whitened components
CLASSES = ("small", "medium", "large")  # of the three models, from the cheapest

TABLE = {
    **dict.fromkeys(("hellaswag", "winogrande", "openbookqa", "arc_challenge"), "small"),
    **dict.fromkeys(("gsm8k", "bbh", "truthful_qa", "mbpp"), "large"),
}
"""The article's rule: plain look-up to a small model, multi-step reasoning, ambiguity and code to a large one."""

ABOUT = (
    "ParetoBandit's prompts: third-party, from the PyPI wheel `paretobandit` (Apache-2.0); three real LLMs on 3,609 "
    "prompts of public benchmarks, with a judge's reward and USD. Ours: the features and the token counts."
)


@cache
def prompt_table(features: Features = "kind+numbers") -> Table:
    """The prompts under one choice of features."""
    rows = _rows()
    numbers = _numbers()
    names = {"clusters+numbers": _clusters(), "numbers": [""] * len(rows)}
    kinds = names.get(features) or [kind(row) for row in rows]
    shown = numbers if "numbers" in features else numbers[:, :0]
    models = registry()
    items = tuple(_item(i, row, kinds[i], (shown[i], models)) for i, row in enumerate(rows))
    return Table(f"paretobandit ({features})", ABOUT, models, items, TABLE if features.startswith("kind") else {})


def kind(row: dict[str, Any]) -> str:
    """The benchmark that a prompt is from; BIG-bench's many small tasks are one kind."""
    source: str = row["source"]
    return source.partition("/")[0]


@cache
def registry() -> tuple[ModelConfig, ...]:
    """The three models at the package's list prices; classes by price."""
    shipped = json.loads(DEFAULT_MODEL_REGISTRY_PATH.read_text())["models"]
    shipped = sorted(shipped, key=lambda model: float(model["output_cost_per_m"]))
    return tuple(
        ModelConfig(
            name=model["model_id"],
            model_class=size,
            input_usd_per_mtok=model["input_cost_per_m"],
            output_usd_per_mtok=model["output_cost_per_m"],
        )
        for size, model in zip(CLASSES, shipped, strict=True)
    )


def _item(index: int, row: dict[str, Any], name: str, seen: tuple[FloatArray, tuple[ModelConfig, ...]]) -> Item:
    numbers, models = seen
    tokens = max(len(row["prompt"]) // 4, 1)
    context = types_pb2.Context(
        tool_type=name,
        task_type=name,
        prompt_tokens=tokens,
        features={f"n{place:02}": float(value) for place, value in enumerate(numbers)},
    )
    outcomes = {model.name: _outcome(row["arms"][model.name], model, context) for model in models}
    return Item(f"prompt-{index}", context, outcomes)


def _outcome(arm: dict[str, float], model: ModelConfig, context: types_pb2.Context) -> Outcome:
    """One turn whose reply is as long as its price says."""
    reply_usd = arm["cost"] - context.prompt_tokens * model.input_usd_per_mtok / 1e6
    reply_tokens = max(round(reply_usd * 1e6 / model.output_usd_per_mtok), 0)
    facts = types_pb2.TurnFacts(
        served_model=model.name,
        usage=types_pb2.Usage(input_tokens=context.prompt_tokens, output_tokens=reply_tokens),
        cost_usd=arm["cost"],
    )
    return Outcome(arm["reward"], arm["cost"], (RecordedTurn(0, context, facts, "", None),))


@cache
def _rows() -> list[dict[str, Any]]:
    paths = (get_example_val_path(), get_example_holdout_path())
    lines = (line for path in paths for line in path.read_text(encoding="utf-8").split("\n"))
    return [json.loads(line) for line in lines if line]


@cache
def _numbers() -> FloatArray:
    """Shape (prompts, 4 + LSA_DIMENSIONS); every column has mean 0 and standard deviation SPREAD.

    Rounded, since last digits depend on how many threads add them up, and results are kept by what went into them.
    """
    texts = [row["prompt"] for row in _rows()]
    words = TfidfVectorizer(sublinear_tf=True, min_df=5, stop_words="english").fit_transform(texts)
    reduced = TruncatedSVD(LSA_DIMENSIONS, random_state=1).fit_transform(words)
    columns = np.hstack([extract_text_features_batch(texts), reduced])
    scaled: FloatArray = SPREAD * (columns - columns.mean(axis=0)) / columns.std(axis=0)
    return scaled.round(9)


@cache
def _clusters() -> list[str]:
    labels = KMeans(CLUSTERS, n_init=4, random_state=1).fit_predict(_numbers())
    return [f"cluster-{label}" for label in labels]
