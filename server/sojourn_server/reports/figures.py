"""The report's figures: pure functions from episodes to numbers, each with an interval, or None where nothing is known.

Episodes are the unit: turns of one episode depend on each other, so shares and rates are ratios of sums over episodes,
and their variance is the linearised one (Cochran 1977, "Sampling Techniques", 6.3). Intervals are 95 % of the normal
distribution, which is why nothing is told from fewer than `LEAST` episodes. They hold for one look; the comparison with
control cohorts (`sojourn_server.evaluation.savings`) holds at all times.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import pairwise
from math import hypot, inf, sqrt
from statistics import NormalDist
from typing import NamedTuple

from sojourn.v1 import types_pb2
from sojourn_server.exchange.episodes import Episode

LEAST = 20
_WINDOW_SHARE, _MOST_WINDOW = 0.1, 200
_POINTS = 120
_MOST_RECENT = 200
_CONFIDENCE = 0.95
_Z = NormalDist().inv_cdf(0.5 + _CONFIDENCE / 2.0)
SEVERITIES = {"low": types_pb2.SEVERITY_LOW, "medium": types_pb2.SEVERITY_MEDIUM, "high": types_pb2.SEVERITY_HIGH}


class Interval(NamedTuple):
    """A value with its 95 % interval over `episodes` episodes; -inf .. inf below `LEAST`."""

    value: float
    low: float
    high: float
    episodes: int

    @property
    def tells(self) -> bool:
        """Whether the interval is finite."""
        return self.low > -inf

    def excludes(self, value: float) -> bool:
        """Whether a value lies outside."""
        return not self.low <= value <= self.high


def ratio(parts: Iterable[tuple[float, float]], *, confidence: float = _CONFIDENCE) -> Interval | None:
    """Sum of firsts over sum of seconds, a pair an episode; pairs whose second is 0 say nothing. None without any."""
    pairs = [pair for pair in parts if pair[1] > 0.0]
    if not pairs:
        return None
    count, total = len(pairs), sum(below for _, below in pairs)
    value = sum(above for above, _ in pairs) / total
    if count < LEAST:
        return Interval(value, -inf, inf, count)
    squares = sum((above - value * below) ** 2 for above, below in pairs)
    reach = NormalDist().inv_cdf(0.5 + confidence / 2.0) * sqrt(squares * count / (count - 1)) / total
    return Interval(value, value - reach, value + reach, count)


def mean(values: Iterable[float], *, confidence: float = _CONFIDENCE) -> Interval | None:
    """The mean, a value an episode; None without any."""
    return ratio(((value, 1.0) for value in values), confidence=confidence)


def difference(later: Interval | None, earlier: Interval | None) -> Interval | None:
    """Later minus earlier of disjoint episodes; None if either is missing."""
    if later is None or earlier is None:
        return None
    value = later.value - earlier.value
    reach = hypot(later.high - later.value, earlier.high - earlier.value)
    return Interval(value, value - reach, value + reach, later.episodes + earlier.episodes)


def own(episodes: Iterable[Episode]) -> list[Episode]:
    """Ended episodes that the policy itself served: neither imported nor of a control cohort."""
    return [e for e in episodes if e.ended and not e.imported and not e.is_control]


class Point(NamedTuple):
    """The mean score of the window that ends with the nth episode."""

    episode: int
    score: Interval


class Curve(NamedTuple):
    """Moving mean of the score; `change` is the last third minus the first one, None if there is nothing."""

    window: int
    points: Sequence[Point]
    first: Interval | None
    last: Interval | None
    change: Interval | None


def learning_curve(episodes: Sequence[Episode]) -> Curve:
    """By own episodes with a score, in the order of their ends."""
    scores = [e.score for e in own(episodes) if e.score is not None]
    window = min(max(LEAST, round(_WINDOW_SHARE * len(scores))), _MOST_WINDOW)
    last = range(window, len(scores) + 1, max(1, len(scores) // _POINTS))
    ends = sorted({*last, len(scores)}) if len(scores) >= window else []
    found = ((end, mean(scores[end - window : end])) for end in ends)
    third = len(scores) // 3
    first_third, last_third = mean(scores[:third]), mean(scores[len(scores) - third :])
    points = [Point(end, score) for end, score in found if score is not None]
    return Curve(window, points, first_third, last_third, difference(last_third, first_third))


class Switching(NamedTuple):
    """Switches an episode of the policy and of its controls, and own episodes by their number of switches."""

    own: Interval | None
    controls: Interval | None
    episodes_by_switches: Mapping[int, int]


def switching(episodes: Sequence[Episode]) -> Switching:
    """By ended episodes."""
    controls = [e for e in episodes if e.ended and e.is_control]
    counts = [e.switches for e in own(episodes)]
    return Switching(mean(counts), mean(e.switches for e in controls), dict(sorted(Counter(counts).items())))


class Staying(NamedTuple):
    """Share of turns that stayed with the model, by how the turn before went."""

    after_error: Interval | None
    otherwise: Interval | None
    change: Interval | None
    by_severity: Mapping[str, Interval | None]


def staying(episodes: Sequence[Episode]) -> Staying:
    """By own episodes. `change`: after an error minus otherwise, each episode taken as one observation."""
    served = own(episodes)
    errors = set(SEVERITIES.values())
    after = [_stays(e, errors) for e in served]
    calm = [_stays(e, {types_pb2.SEVERITY_UNSPECIFIED, types_pb2.SEVERITY_NONE}) for e in served]
    return Staying(
        ratio(after),
        ratio(calm),
        _paired(after, calm),
        {name: ratio(_stays(e, {severity}) for e in served) for name, severity in SEVERITIES.items()},
    )


def _stays(episode: Episode, errors: Collection[int]) -> tuple[float, float]:
    """Stays, and turns, after turns with one of these severities."""
    stays = [later.stayed for earlier, later in pairwise(episode.turns) if earlier.error in errors]
    return float(sum(stay is True for stay in stays)), float(len(stays))


def _paired(firsts: Sequence[tuple[float, float]], seconds: Sequence[tuple[float, float]]) -> Interval | None:
    """Ratio of firsts minus ratio of seconds over the same episodes, whose covariance counts."""
    one, two = ratio(firsts), ratio(seconds)
    if one is None or two is None:
        return None
    value, count = one.value - two.value, len(firsts)
    if not (one.tells and two.tells):
        return Interval(value, -inf, inf, count)
    below_one, below_two = sum(b for _, b in firsts), sum(b for _, b in seconds)
    parts = (
        (a - one.value * b) / below_one - (c - two.value * d) / below_two
        for (a, b), (c, d) in zip(firsts, seconds, strict=True)
    )
    reach = _Z * sqrt(sum(part * part for part in parts) * count / (count - 1))
    return Interval(value, value - reach, value + reach, count)


class Shares(NamedTuple):
    """Share of each model in the turns of a tool type, and its lift: that share over the model's share of all turns."""

    models: Sequence[str]
    overall: Mapping[str, float]
    turns: Mapping[str, int]
    share: Mapping[str, Mapping[str, Interval]]
    lift: Mapping[str, Mapping[str, float]]


def shares(episodes: Sequence[Episode]) -> Shares:
    """By own episodes; models by share of all turns, tool types by turns, most first."""
    counts = [Counter((turn.tool_type, turn.model) for turn in e.turns) for e in own(episodes)]
    pairs, tools, models = Counter[tuple[str, str]](), Counter[str](), Counter[str]()
    by_episode = defaultdict[str, list[tuple[Counter[tuple[str, str]], int]]](list)
    for counted in counts:
        pairs.update(counted)
        of_tool = Counter[str]()
        for (tool, model), turns in counted.items():
            of_tool[tool] += turns
            models[model] += turns
        tools.update(of_tool)
        for tool, turns in of_tool.items():
            by_episode[tool].append((counted, turns))
    names = [model for model, _ in models.most_common()]
    overall = {model: models[model] / models.total() for model in names}
    share = {
        tool: {
            model: found
            for model in names
            if (found := ratio((counted[tool, model], turns) for counted, turns in by_episode[tool])) is not None
        }
        for tool, _ in tools.most_common()
    }
    lift = {tool: {m: found.value / overall[m] for m, found in row.items()} for tool, row in share.items()}
    return Shares(names, overall, dict(tools.most_common()), share, lift)


class Forfeited(NamedTuple):
    """Prompt cache that switches threw away, in USD; `share` is of all that the same episodes cost."""

    usd: float
    switches: int
    unpriced: int
    share: Interval | None
    by_pair: Sequence[tuple[str, str, int, float]]
    """From, to, switches, USD; dearest first."""


def forfeited(episodes: Sequence[Episode]) -> Forfeited:
    """By own episodes. Switches without a predicted price count as 0 USD, and are counted apart."""
    switches = [turn for e in own(episodes) for turn in e.turns if turn.stayed is False]
    counts, money = Counter[tuple[str, str]](), defaultdict[tuple[str, str], float](float)
    for turn in switches:
        counts[turn.left, turn.model] += 1
        money[turn.left, turn.model] += turn.forfeited_usd or 0.0
    lost = [(sum(t.forfeited_usd or 0.0 for t in e.turns), e.cost_usd) for e in own(episodes) if e.cost_usd is not None]
    return Forfeited(
        usd=sum(money.values()),
        switches=len(switches),
        unpriced=sum(turn.forfeited_usd is None for turn in switches),
        share=ratio(lost),
        by_pair=sorted(((*pair, counts[pair], money[pair]) for pair in counts), key=lambda row: (-row[3], row[:2])),
    )


class Drift(NamedTuple):
    """The newest own episodes against as many before them; differences are now minus before.

    Intervals of `models` hold for all models together (Bonferroni), so one that excludes 0 is no matter of luck.
    """

    episodes: int
    score: Interval | None
    usd: Interval | None
    models: Mapping[str, tuple[float, float, Interval]]
    """Share of turns before, now, and the difference."""


def drift(episodes: Sequence[Episode]) -> Drift:
    """By own episodes in the order of their ends."""
    served = own(episodes)
    size = min(len(served) // 2, _MOST_RECENT)
    now, before = served[len(served) - size :], served[len(served) - 2 * size : len(served) - size]
    names = sorted({turn.model for e in (*now, *before) for turn in e.turns})
    confidence = 1.0 - (1.0 - _CONFIDENCE) / max(len(names), 1)
    models = {}
    for name in names:
        earlier, later = (
            ratio(((sum(t.model == name for t in e.turns), len(e.turns)) for e in side), confidence=confidence)
            for side in (before, now)
        )
        change = difference(later, earlier)
        if earlier is not None and later is not None and change is not None:
            models[name] = (earlier.value, later.value, change)
    score, usd = (
        difference(*(mean(v for e in side if (v := getattr(e, field)) is not None) for side in (now, before)))
        for field in ("score", "cost_usd")
    )
    return Drift(size, score, usd, models)
