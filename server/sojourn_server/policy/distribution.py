"""From utilities to a distribution, from a distribution to a choice, from a choice to its exact propensity.

Inverse-gap weighting (Abe and Long 1999; Foster and Rakhlin 2020): a candidate whose utility lies `gap` below the
best gets 1 / (K + gamma * gap), the best gets the rest. Candidates are laid on [0, 1) in the order of their names,
each owning a cell as wide as its probability, and one draw picks a cell. Since the draw is shared by all decisions
of an (episode, phase), an earlier choice leaves it inside `surviving`; the propensity of a choice given that past is
|cell & surviving| / |surviving|, and these propensities multiply to the exact probability of the episode.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import NamedTuple


class Interval(NamedTuple):
    """[low, high) within [0, 1)."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """high - low."""
        return self.high - self.low

    def intersect(self, other: Interval) -> Interval:
        """The common part; empty ones have width <= 0."""
        return Interval(max(self.low, other.low), min(self.high, other.high))


UNIT = Interval(0.0, 1.0)


class Sample(NamedTuple):
    """A choice: its place, its cell, its probability given the past, and what is known of the draw after it."""

    place: int
    cell: Interval
    propensity: float
    surviving: Interval


def inverse_gap_weighting(utilities: Sequence[float], *, gamma: float, floor: float) -> list[float]:
    """Probabilities, one per utility (K >= 1), each >= floor (at most 1 / K), summing to 1.

    `gamma` >= 0 multiplies gaps that are already divided by the utility range; 0 is uniform.
    Ties for the best go to the first. Raises ValueError if a utility is not finite.
    """
    if not all(map(isfinite, utilities)):
        raise ValueError(f"utilities must be finite, are {list(utilities)}")
    count = len(utilities)
    floor = min(floor, 1.0 / count)
    best = max(range(count), key=utilities.__getitem__)
    top = utilities[best]
    probabilities = [max(floor, 1.0 / (count + gamma * (top - u))) for u in utilities]
    probabilities[best] = 0.0
    probabilities[best] = 1.0 - sum(probabilities)
    return probabilities


def point(count: int, index: int) -> list[float]:
    """The distribution that puts everything on one of `count` candidates."""
    probabilities = [0.0] * count
    probabilities[index] = 1.0
    return probabilities


def sample(probabilities: Sequence[float], draw: float, surviving: Interval) -> Sample:
    """The cell that holds the draw; probabilities in the order of names.

    Raises ValueError if the draw is not in `surviving`, as when its key was changed amid an episode.
    """
    if not surviving.low <= draw < surviving.high:
        raise ValueError(f"the draw {draw} is not in {surviving}, where the episode's earlier choices put it")
    low = 0.0
    last = max(i for i, p in enumerate(probabilities) if p > 0.0)
    for index, probability in enumerate(probabilities):
        high = 1.0 if index == last else low + probability
        if draw < high and probability > 0.0:
            cell = Interval(low, high)
            remaining = cell.intersect(surviving)
            return Sample(index, cell, remaining.width / surviving.width, remaining)
        low = high
    raise ValueError(f"no cell holds the draw {draw}: probabilities {list(probabilities)}")


def gap_multiplier(evidence: float, *, scale: float) -> float:
    """gamma = scale * sqrt(evidence), >= 0: exploration narrows as evidence grows."""
    return float(scale * max(evidence, 0.0) ** 0.5)


def effective_evidence(
    phase: str,
    by_phase: Mapping[str, float],
    total: float,
    *,
    shrinkage: float,
    prior_evidence: float,
    prior_half_life: float,
) -> float:
    """Decisions that a phase may count on: its own, shrunk to the mean phase, plus the prior's, which fades.

    `own` counts fully once it is large beside `shrinkage`; the prior stands for `prior_evidence` decisions and
    halves with every `prior_half_life` real ones.
    """
    own = by_phase.get(phase, 0.0)
    mean = total / len(by_phase) if by_phase else 0.0
    weight = own / (own + shrinkage) if own > 0 else 0.0
    real = weight * own + (1.0 - weight) * mean
    return float(real + prior_evidence * 0.5 ** (real / prior_half_life))
