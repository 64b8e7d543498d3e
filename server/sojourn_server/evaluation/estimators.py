"""Off-policy estimators over episodes, one sample each; pure arithmetic.

IPS and SNIPS: Horvitz and Thompson (1952), Hajek (1971). DR: sequential doubly robust, Jiang and Li (2016). Episodes
are logged by a policy that learns from earlier ones, so their weighted errors form a martingale: their sample variance
is consistent, and a sum of many is about normal (Hall and Heyde 1980). Intervals are Student's t; a ratio's is
linearised, with as many degrees of freedom as its effective sample size has.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import sqrt
from typing import NamedTuple

from scipy import stats  # type: ignore[import-untyped]  # ships no py.typed

LEAST_ESS = 50.0
CONFIDENCE = 0.95


class Estimate(NamedTuple):
    """A value with its 95 % interval; -inf .. inf where nothing can be said."""

    value: float
    low: float
    high: float


class Step(NamedTuple):
    """One open decision of an episode under a target.

    `ratio`: the target's probability of the logged choice over the logged one, both given what went before; `expected`:
    the model's score averaged over the target's choices; `predicted`: its score for the logged choice.
    """

    ratio: float
    expected: float
    predicted: float


def effective_sample_size(weights: Sequence[float]) -> float:
    """(sum w)^2 / sum w^2; 0 if all are 0. Kish (1965)."""
    squares = sum(w * w for w in weights)
    return sum(weights) ** 2 / squares if squares > 0.0 else 0.0


def mean(values: Sequence[float]) -> Estimate:
    """The mean of at least one value."""
    count = len(values)
    center = sum(values) / count
    if count < 2:
        return Estimate(center, -float("inf"), float("inf"))
    spread = sqrt(sum((v - center) ** 2 for v in values) / (count - 1))
    return _around(center, spread / sqrt(count), count - 1)


def ips(weights: Sequence[float], rewards: Sequence[float]) -> Estimate:
    """Inverse propensity score: the mean of weighted rewards."""
    return mean([w * r for w, r in zip(weights, rewards, strict=True)])


def snips(weights: Sequence[float], rewards: Sequence[float]) -> Estimate:
    """Self-normalised: weighted mean of rewards. At least one weight > 0."""
    total = sum(weights)
    center = sum(w * r for w, r in zip(weights, rewards, strict=True)) / total
    error = sqrt(sum((w * (r - center)) ** 2 for w, r in zip(weights, rewards, strict=True))) / total
    return _around(center, error, effective_sample_size(weights) - 1.0)


def doubly_robust(steps: Sequence[Step], reward: float) -> float:
    """One episode's value: the model's, corrected by what its choices really led to. Unbiased whatever the model."""
    value = reward
    for step in reversed(steps):
        value = step.expected + step.ratio * (value - step.predicted)
    return value


def _around(center: float, error: float, degrees: float) -> Estimate:
    if degrees <= 0.0:
        return Estimate(center, -float("inf"), float("inf"))
    reach = float(stats.t.ppf(0.5 + CONFIDENCE / 2.0, degrees)) * error
    return Estimate(center, center - reach, center + reach)
