"""The one file that speaks Vowpal Wabbit: two regressions of an episode's end on context x candidate.

Both are `--cb_adf` learners used as plain regressions (label probability 1): of the terminal score by candidate,
relative to what is usual, and of the turns to go by the context alone, in price-free units (by candidate they were
mostly noise, times a price).
VW minimises costs in [0, 1]; `_cost_of_score` and its inverse are the only place where a reward changes its sign. A
Workspace is not thread-safe: whoever shares a `Bandit` holds one lock around each call. Text is compact on purpose:
only the tool type and, with it, the language (namespace t) are crossed with the candidate (m). All else of the context
(c) tells turns to go and no score: it could not tell candidates apart, and what an earlier choice has caused, such as
errors or a late turn, would take the blame for it. No client string can break it: names get a letter in front, what is not plain is hashed, numbers are
clipped to +-8, and what VW's parser would stumble over is written as 0.
"""

from __future__ import annotations

import platform
import re
import tempfile
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import blake2b
from math import log1p
from pathlib import Path

import pylibvw
import vowpalwabbit
from vowpalwabbit import Workspace

from sojourn.v1 import router_pb2
from sojourn_server.policy.registry import Model

CLIP = 8.0
TINY = 1e-30
"""Smaller numbers are written as 0: VW's parser reads some that no float can hold as infinity (1e-155 is one)."""
_ERROR_SCALE = 5.0  # rates differ by .1 or .2; features should be of the order of 1
_PLAIN = re.compile(r"[A-Za-z0-9_.-]{1,48}\Z")


@lru_cache(maxsize=16_384)
def token(prefix: str, name: str) -> str:
    """A feature name: prefix (letters) plus the name itself if plain, else plus its 64-bit hash in hex."""
    if _PLAIN.match(name):
        return f"{prefix}_{name}"
    return f"{prefix}~{blake2b(name.encode('utf-8', 'surrogatepass'), digest_size=8).hexdigest()}"


def clip(value: float) -> float:
    """The value within +-8; what is tiny or not a number becomes 0."""
    if -CLIP <= value <= CLIP:
        return value if abs(value) > TINY else 0.0
    return 0.0 if value != value else CLIP if value > 0 else -CLIP


def _numbers(prefix: str, numbers: Mapping[str, float]) -> str:
    """All numbers as one text, in the order of their names."""
    names = tuple(sorted(numbers))
    values = map(numbers.__getitem__, names)
    return _template(prefix, names) % tuple([v if TINY < v <= CLIP else clip(v) for v in values])


@lru_cache(maxsize=1024)
def _template(prefix: str, names: tuple[str, ...]) -> str:
    """Names as tokens with a place for each number; callers send the same names turn after turn."""
    return " ".join([f"{token(prefix, name)}:%.6g" for name in names])


def shared_line(
    request: router_pb2.DecideRequest,
    *,
    kind: str,
    tabled: bool,
    phase: str,
    error_count: int,
    last_error: int,
    prompt_tokens: float,
    cost_weight: float,
) -> str:
    """The line that all candidates share: the context as main effects, and the tool type to cross.

    Tool types that the table does not name share a word of their own, by which they get the table's default.
    """
    context = request.context
    features, categories, language = context.features, context.categories, context.language
    parts = [
        f"shared |c turn:{log1p(request.turn_index) / 4.0:.6g} errors:{clip(log1p(error_count) / 2.0):.6g} "
        f"prompt:{log1p(prompt_tokens) / 10.0:.6g} weight:{clip(log1p(cost_weight)):.6g} e{last_error} "
        f"{token('k', context.task_type)} {token('p', phase)}"
    ]
    if features:
        parts.append(_numbers("f", features))
    if categories:
        parts += [token("g", f"{name}={categories[name]}") for name in sorted(categories)]
    parts.append("|t")
    if kind or phase:
        parts.append(token("t", kind or phase))
    if not tabled:
        parts.append("other")
    if language:
        parts.append(token("l", f"{kind}:{language}"))
    return " ".join(parts)


def action_line(model: Model, features: Mapping[str, float], error_excess: float = 0.0) -> str:
    """A candidate's line: its name, its class, the request's numbers about it, and how much it errs beyond the usual.

    That excess (in -1 .. 1) is a main effect: one weight that all candidates and phases teach together.
    """
    line = _plain_action_line(model.name, model.model_class)
    if features:
        line = f"{line} {_numbers('x', features)}"
    return f"{line} |e excess:{clip(_ERROR_SCALE * error_excess):.4g}" if error_excess else line


@lru_cache(maxsize=4096)
def _plain_action_line(name: str, model_class: str) -> str:
    return f"|m {token('m', name)} {token('c', model_class)}"


USUAL = 0.5
"""The score by which the regression of scores knows what is usual: a candidate at .6 does .1 better than usual."""
LEVEL_ACTION_LINE = "|m"
"""A candidate without features: what it predicts is the level of the context alone."""

PLATFORM = f"vowpalwabbit {vowpalwabbit.__version__} on {platform.machine()}"
SCORE_LOW, SCORE_HIGH = -1.0, 1.0
_SMALL_POOL = "--quiet --example_queue_limit 1"
"""VW makes 256 examples in advance (8 MiB a workspace, 16 a snapshot); the few that a turn needs are kept anyway."""
_raw = pylibvw.vw


def _cost_of_score(score: float) -> float:
    """Scores of [-1, 1] to costs of [1, 0]; credit can be negative, so [0, 1] would erase errors in failures."""
    clipped = min(max(score, SCORE_LOW), SCORE_HIGH)
    return (SCORE_HIGH - clipped) / (SCORE_HIGH - SCORE_LOW)


def _score_of_cost(cost: float) -> float:
    return SCORE_HIGH - cost * (SCORE_HIGH - SCORE_LOW)


def _crossed(shared: str) -> str:
    """Of a shared line, what meets the candidates: namespace t, its last."""
    return f"shared {shared[shared.rindex('|t') :]}"


class Bandit:
    """Predicts and learns; owns its two workspaces, which nobody else may touch."""

    def __init__(self, score: Workspace, turns: Workspace, *, turns_cap: int) -> None:
        """`turns_cap` (turns, >= 2) is the length that counts as a cost of 1 in the regression of turns to go."""
        self._score = score
        self._turns = turns
        self._turns_cap = turns_cap

    @classmethod
    def fresh(cls, *, options: str, weight_bits: int, turns_cap: int) -> Bandit:
        """An untaught bandit. `options` picks the learner, such as "--coin"; "" is VW's default gradient descent."""
        arguments = f"--cb_adf --cb_type mtr -q tm -b {weight_bits} {_SMALL_POOL} {options}"
        score, turns = (Workspace(arguments, enable_logging=False) for _ in range(2))
        return cls(score, turns, turns_cap=turns_cap)

    @classmethod
    def from_bytes(cls, score: bytes, turns: bytes, *, options: str, turns_cap: int) -> Bandit:
        """The bandit that `to_bytes` serialised, under the same settings: VW does not store all of its options.

        VW loads damaged bytes silently: check a digest first.
        """
        return cls(_load(score, options), _load(turns, options), turns_cap=turns_cap)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The two regressors as VW serialises them: score, turns to go."""
        return _dump(self._score), _dump(self._turns)

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        """Terminal scores in [-1, 1] (unclipped) of the action lines, in order, and the turns to go (>= 1)."""
        scores = [_score_of_cost(cost) for cost in _costs(self._score, _crossed(shared), actions)]
        (turns,) = _costs(self._turns, shared, [LEVEL_ACTION_LINE])
        return scores, max(turns * self._turns_cap, 1.0)

    def learn(
        self, shared: str, actions: Sequence[str], chosen: int, *, score: float, turns_to_go: float
    ) -> list[float]:
        """One lesson: `actions[chosen]` led to `score` in [-1, 1] with `turns_to_go` >= 0; the costs predicted then."""
        costs = _learn(self._score, _crossed(shared), actions, chosen, cost=_cost_of_score(score))
        return costs + _learn(self._turns, shared, [LEVEL_ACTION_LINE], 0, cost=min(turns_to_go / self._turns_cap, 1.0))

    def learn_level(
        self, shared: str, actions: Sequence[str], chosen: int, *, score: float, turns_to_go: float
    ) -> list[float]:
        """Moves what the context alone predicts so that `actions[chosen]` is predicted at the given values.

        Used where only one candidate was ever tried: the advantages between candidates stay as they were.
        """
        (level, value), _ = self.predict(shared, [LEVEL_ACTION_LINE, actions[chosen]])
        return self.learn(shared, [LEVEL_ACTION_LINE], 0, score=score - (value - level), turns_to_go=turns_to_go)


def _costs(workspace: Workspace, shared: str, actions: Sequence[str]) -> list[float]:
    """Predicted costs of the candidates, in their order."""
    examples = workspace._parse("\n".join([shared, *actions]))
    try:
        _raw.predict_multi(workspace, examples)
        costs: list[float] = examples[0].get_action_scores()
        return costs
    finally:
        _raw._finish_example_multi_ex(workspace, examples)  # an example that is not finished leaks 220 KiB


def _learn(workspace: Workspace, shared: str, actions: Sequence[str], chosen: int, *, cost: float) -> list[float]:
    """The costs predicted after the lesson, from the same examples: parsing is half of the work."""
    lines = [shared, *actions]
    lines[chosen + 1] = f"0:{cost:.9g}:1 {lines[chosen + 1]}"
    examples = workspace._parse("\n".join(lines))
    try:
        _raw.learn_multi(workspace, examples)
        _raw.predict_multi(workspace, examples)
        costs: list[float] = examples[0].get_action_scores()
        return costs
    finally:
        _raw._finish_example_multi_ex(workspace, examples)


def _dump(workspace: Workspace) -> bytes:
    """VW saves to a path only."""
    with tempfile.TemporaryDirectory(prefix="sojourn-") as directory:
        path = Path(directory, "regressor")
        workspace.save(str(path))
        return path.read_bytes()


def _load(data: bytes, options: str) -> Workspace:
    with tempfile.TemporaryDirectory(prefix="sojourn-") as directory:
        path = Path(directory, "regressor")
        path.write_bytes(data)
        return Workspace(f"-i {path} {_SMALL_POOL} {options}", enable_logging=False)
