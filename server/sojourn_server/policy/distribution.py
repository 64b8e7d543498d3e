"""From utilities to a distribution, from a distribution to a choice, from a choice to its exact propensity.

Probability matching (Thompson 1933): a candidate is chosen about as often as it is believed to be the best. Each
utility is believed normal, as wide as its evidence is thin; a candidate weighs its chance to beat the best guess, the
best guess its chance to withstand its closest rival: exact for two candidates, and one formula for more. Candidates
are laid on [0, 1) in the order of their names, each owning a cell as wide as its probability, and one draw picks a
cell. Since the draw is shared by all decisions of an (episode, phase), an earlier choice leaves it inside `surviving`;
the propensity of a choice given that past is |cell & surviving| / |surviving|, and these propensities multiply to the
exact probability of the episode.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import erfc, isfinite, sqrt
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


def probability_matching(utilities: Sequence[float], widths: Sequence[float], *, floor: float) -> list[float]:
    """Probabilities, one per utility (K >= 1), each >= floor (at most 1 / K), summing to 1.

    `widths` > 0 are the standard deviations of the beliefs about the utilities. Ties for the best go to the first.
    Raises ValueError if a utility is not finite.
    """
    if not all(map(isfinite, utilities)):
        raise ValueError(f"utilities must be finite, are {list(utilities)}")
    count = len(utilities)
    if count == 1:
        return [1.0]
    best = max(range(count), key=utilities.__getitem__)
    top, width = utilities[best], widths[best]
    chances = [
        0.5 * erfc((top - u) / sqrt(2.0 * (w * w + width * width))) for u, w in zip(utilities, widths, strict=True)
    ]
    chances[best] = 0.0
    chances[best] = 1.0 - max(chances)
    floor = min(floor, 1.0 / count)
    share = (1.0 - count * floor) / sum(chances)
    return [floor + share * chance for chance in chances]


def width(evidence: float, *, prior_width: float, prior_evidence: float) -> float:
    """Standard deviation of a belief after `evidence` >= 0 decisions, where the prior is worth `prior_evidence` > 0.

    The posterior of a normal mean: prior_width * sqrt(prior_evidence / (prior_evidence + evidence)).
    """
    return prior_width * sqrt(prior_evidence / (prior_evidence + evidence))


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
