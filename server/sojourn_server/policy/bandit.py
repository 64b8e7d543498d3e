"""The one file that speaks Vowpal Wabbit: two regressions of an episode's end on context x candidate.

Both are `--cb_adf` learners used as plain regressions: of a candidate's advantage, the terminal score above what is
usual there, and of the turns to go by the context alone (by candidate they were mostly noise, times a price). VW
minimises costs; `Bandit` is the only place where a reward changes its sign. A Workspace is not thread-safe: whoever
shares a `Bandit` holds one lock around each call. Text is compact on purpose: only the kind of work (namespace t: tool
type, the caller's phase, language) is crossed with the candidate (m). All else of the context (c) tells turns to go and
no advantage: what an earlier choice has caused, such as errors, would take the blame for it. No client string can break
it: names get a letter in front, what is not plain is hashed, numbers are clipped to +-8.
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
_CLASS_SHARE = 0.5  # squared against 1: a fifth of what is learned of a candidate goes to all of its class
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
    """The line that all candidates share: the context as main effects, and the kind of work to cross.

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
    parts += [token("g", f"{name}={categories[name]}") for name in sorted(categories)]
    parts.append("|t")
    if kind or phase:
        parts.append(token("t", kind or phase))
    if kind and context.phase:
        parts.append(token("p", context.phase))
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
    return f"|m {token('m', name)} {token('c', model_class)}:{_CLASS_SHARE}"


_NOBODY = "|m"  # a candidate without features: what is predicted of it is the context's alone

PLATFORM = f"vowpalwabbit {vowpalwabbit.__version__} on {platform.machine()}"
_LARGEST = 2.0  # advantage, in score units: the best score is 1, and a failed episode full of errors has -1
_SMALL_POOL = "--quiet --example_queue_limit 1"
"""VW makes 256 examples in advance (8 MiB a workspace, 16 a snapshot); the few that a turn needs are kept anyway."""
_REGRESSION = f"--cb_adf --cb_type mtr -q tm {_SMALL_POOL}"
_RATE = 1e-8
# Of advantages: only crosses (and errors) count, and no lesson steps further than it is told.
_STEPPED = f"--sgd --power_t 0 -l {_RATE} --noconstant --ignore_linear t --ignore_linear m"
_raw = pylibvw.vw


def _crossed(shared: str) -> str:
    """Of a shared line, what meets the candidates: namespace t, its last."""
    return f"shared {shared[shared.rindex('|t') :]}"


def _squared_norm(crossed: str, action: str) -> float:
    """|x|^2 of what the regression of advantages reads: the crosses of t and m, and e."""
    t, m, *e = [
        sum(float(feature.partition(":")[2] or 1.0) ** 2 for feature in namespace.split()[1:])
        for namespace in f"{crossed} {action}".split("|")[1:]
    ]
    return t * m + sum(e)


class Bandit:
    """Predicts and learns; owns its two workspaces, which nobody else may touch."""

    def __init__(self, advantage: Workspace, turns: Workspace, *, turns_cap: int) -> None:
        """`turns_cap` (turns, >= 2) is the length that counts as a cost of 1 in the regression of turns to go."""
        self._advantage = advantage
        self._turns = turns
        self._turns_cap = turns_cap

    @classmethod
    def fresh(cls, *, options: str, weight_bits: int, turns_cap: int) -> Bandit:
        """An untaught bandit. `options` picks the learner of turns to go, such as "--coin"; "" is VW's default."""
        made = [Workspace(f"{_REGRESSION} -b {weight_bits} {o}", enable_logging=False) for o in (_STEPPED, options)]
        return cls(*made, turns_cap=turns_cap)

    @classmethod
    def from_bytes(cls, advantage: bytes, turns: bytes, *, options: str, turns_cap: int) -> Bandit:
        """The bandit that `to_bytes` serialised, under the same settings: VW does not store all of its options.

        VW loads damaged bytes silently: check a digest first.
        """
        return cls(_load(advantage, _STEPPED), _load(turns, options), turns_cap=turns_cap)

    def to_bytes(self) -> tuple[bytes, bytes]:
        """The two regressors as VW serialises them: advantages, turns to go."""
        return _dump(self._advantage), _dump(self._turns)

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        """Advantages (score units; unclipped) of the action lines, in order, and the turns to go (>= 1)."""
        advantages = [-cost for cost in _costs(self._advantage, _crossed(shared), actions)]
        (turns,) = _costs(self._turns, shared, [_NOBODY])
        return advantages, max(turns * self._turns_cap, 1.0)

    def learn_advantage(self, shared: str, action: str, *, advantage: float, step: float) -> float:
        """Moves what is predicted of an action line by `step`, in (0, 1), of the way to `advantage`; the result.

        Steps of 1 / (n + 1), 1 / (n + 2) ... keep the mean of all values, where a first guess counts for n of them.
        VW steps by 2 * rate * importance * |x|^2, and reads the importance as one over the probability.
        """
        crossed = _crossed(shared)
        probability = min(2.0 * _RATE * _squared_norm(crossed, action) / step, 1.0)
        label = clip(min(max(advantage, -_LARGEST), _LARGEST))
        return -_learn(self._advantage, crossed, action, cost=-label, probability=probability)

    def learn_turns(self, shared: str, turns_to_go: float) -> float:
        """One lesson: this context was `turns_to_go` >= 0 from the end; the cost predicted then."""
        return _learn(self._turns, shared, _NOBODY, cost=min(turns_to_go / self._turns_cap, 1.0))


def _costs(workspace: Workspace, shared: str, actions: Sequence[str]) -> list[float]:
    """Predicted costs of the candidates, in their order."""
    examples = workspace._parse("\n".join([shared, *actions]))
    try:
        _raw.predict_multi(workspace, examples)
        costs: list[float] = examples[0].get_action_scores()
        return costs
    finally:
        _raw._finish_example_multi_ex(workspace, examples)  # an example that is not finished leaks 220 KiB


def _learn(workspace: Workspace, shared: str, action: str, *, cost: float, probability: float = 1.0) -> float:
    """The cost predicted after the lesson, from the same examples: parsing is half of the work.

    No other candidate is listed: `mtr` would divide the importance by the usual number of them.
    """
    examples = workspace._parse(f"{shared}\n0:{cost:.9g}:{probability:.9g} {action}")
    try:
        _raw.learn_multi(workspace, examples)
        _raw.predict_multi(workspace, examples)
        (after,) = examples[0].get_action_scores()
        return float(after)
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
