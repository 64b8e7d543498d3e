"""Savings, measured: episodes of the learned cohort against those of a control cohort, by intention to treat.

Every episode counts for the cohort that it was assigned to, whoever served it in the end. Assignment was random within
an epoch (between two changes of shares or settings), so arms are compared within strata of epoch and task type, and
strata are weighed by their episodes. The variance is clustered by assignment key. Whoever watches a figure grow must
not be fooled by looking often: intervals are asymptotic confidence sequences (Waudby-Smith, Arbour, Sinha, Kennedy,
Ramdas 2024, "Time-uniform central limit theory and asymptotic confidence sequences"), valid at all times at once.
"""

from __future__ import annotations

from bisect import bisect
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from math import inf, log, sqrt
from typing import NamedTuple

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.journal.journal import Journal
from sojourn_server.learner import credit
from sojourn_server.policy.draws import HEURISTIC, LEARNED, NEVER_SWITCH
from sojourn_server.policy.registry import Registry
from sojourn_server.world import read_world

_PAGE = 500
_ALPHA = 0.05
_USUAL_EPISODES = 500.0  # where the sequence is tightest
_LEAST_IN_ARM = 20  # a handful shows next to nothing of its own variance
CONTROLS = {"heuristic": HEURISTIC, "never-switch": NEVER_SWITCH}


class Assigned(NamedTuple):
    """An episode as it was assigned; score in [0, 1] and USD are None where unknown."""

    cohort: int
    assignment_key: str
    stratum: tuple[int, str]
    score: float | None
    cost_usd: float | None


class Difference(NamedTuple):
    """Learned minus control, with an interval that is valid at all times; -inf .. inf where nothing can be said."""

    value: float
    low: float
    high: float
    episodes: int


class Comparison(NamedTuple):
    """The learned cohort against a control.

    `score_bounds`: the difference of scores if every missing outcome of the learned cohort were 0 and every one of the
    control 1, and the other way round. `usd` is of the episodes whose money is known. `control_usd`: what an episode
    of the control costs, in the same strata.
    """

    control: str
    learned_episodes: int
    control_episodes: int
    learned_missing: int
    control_missing: int
    learned_without_usd: int
    control_without_usd: int
    score: Difference | None
    score_bounds: tuple[float, float] | None
    usd: Difference | None
    control_usd: float | None


def read_assigned(journal: Journal, policy: str) -> Iterator[Assigned]:
    """All episodes that were assigned in LIVE mode, in the order of their beginnings."""
    epochs, registries = _epochs(journal, policy), read_world(journal).registries
    after = 0
    while openings := journal.openings(policy, after=after, limit=_PAGE):
        for opening in openings:
            after = opening.position
            records, epoch = journal.episode(policy, opening.episode_id), bisect(epochs, opening.position)
            if found := assigned(records, epoch, registries):
                yield found


def assigned(
    records: Sequence[journal_pb2.JournalRecord], epoch: int, registries: Mapping[int, Registry]
) -> Assigned | None:
    """An episode's records as it was assigned; None if it was not, outside of LIVE mode."""
    first = next((r for r in records if r.HasField("decision")), None)
    if first is None or first.decision.answer.mode != types_pb2.MODE_LIVE:
        return None
    end = next((r for r in records if r.HasField("outcome") and not r.outcome.late), None)
    request = first.decision.request
    return Assigned(
        cohort=first.decision.inputs.cohort,
        assignment_key=request.assignment_key or first.episode_id,
        stratum=(epoch, request.context.task_type),
        score=None if end is None else credit.terminal_score(end.outcome.request),
        cost_usd=credit.cost_usd(records, registries),
    )


def _epochs(journal: Journal, policy: str) -> list[int]:
    """Positions at which shares or settings changed."""
    positions, read = list[int](), 0
    while records := journal.read(read, bodies=frozenset({"mode", "settings"}), limit=_PAGE):
        positions += [record.position for record in records if record.policy == policy]
        read = records[-1].position
    return positions


def compare(episodes: Sequence[Assigned], control: str) -> Comparison:
    """The learned cohort against "heuristic" or "never-switch"."""
    arms = (LEARNED, CONTROLS[control])
    sides = [[e for e in episodes if e.cohort == arm] for arm in arms]
    both = [e for side in sides for e in side]
    money = _difference(both, arms, lambda e: e.cost_usd)
    worst, best = (_difference(both, arms, _filled(learned, other)) for learned, other in ((0.0, 1.0), (1.0, 0.0)))
    learned, other = sides
    return Comparison(
        control=control,
        learned_episodes=len(learned),
        control_episodes=len(other),
        learned_missing=sum(e.score is None for e in learned),
        control_missing=sum(e.score is None for e in other),
        learned_without_usd=sum(e.cost_usd is None for e in learned),
        control_without_usd=sum(e.cost_usd is None for e in other),
        score=_difference(both, arms, lambda e: e.score),
        score_bounds=(worst.value, best.value) if worst and best else None,
        usd=money,
        control_usd=_control_mean(both, arms, lambda e: e.cost_usd) if money else None,
    )


def sentence(found: Comparison) -> str:
    """What a comparison says, in words."""
    against = f"Against {found.control}: "
    if found.usd is None or found.score is None:
        return f"{against}nothing can be said: no task type has episodes of both cohorts with known outcome and money."
    saves, costs = found.usd.high < 0.0, found.usd.low > 0.0
    better, worse = found.score.low > 0.0, found.score.high < 0.0
    if not (saves or costs or better or worse):
        return f"{against}the data cannot tell yet."
    money = f"saves {_percent(found)} of the money" if saves else "costs more" if costs else "costs about the same"
    score = "scores higher" if better else "scores lower" if worse else "no difference in score shows"
    return f"{against}the learned policy {money}; {score}."


def _percent(found: Comparison) -> str:
    if found.usd is None or not found.control_usd:
        return "some"
    return f"{-100.0 * found.usd.value / found.control_usd:.0f} %"


Measure = Callable[[Assigned], float | None]


def _filled(learned: float, other: float) -> Measure:
    return lambda e: e.score if e.score is not None else learned if e.cohort == LEARNED else other


def _strata(
    episodes: Sequence[Assigned], arms: tuple[int, int], measure: Measure
) -> Mapping[tuple[int, str], tuple[list[Assigned], list[Assigned]]]:
    """Episodes with a value, by stratum and arm; only strata in which both arms have some."""
    found = defaultdict[tuple[int, str], tuple[list[Assigned], list[Assigned]]](lambda: ([], []))
    for episode in episodes:
        if measure(episode) is not None:
            found[episode.stratum][arms.index(episode.cohort)].append(episode)
    return {stratum: sides for stratum, sides in found.items() if all(sides)}


def _difference(episodes: Sequence[Assigned], arms: tuple[int, int], measure: Measure) -> Difference | None:
    strata = _strata(episodes, arms, measure)
    total = sum(len(side) for sides in strata.values() for side in sides)
    if not total:
        return None
    value, of_cluster = 0.0, defaultdict[str, float](float)
    for sides in strata.values():
        share = sum(map(len, sides)) / total
        for sign, side in zip((1.0, -1.0), sides, strict=True):
            mean = sum(measure(e) or 0.0 for e in side) / len(side)
            value += sign * share * mean
            for e in side:
                of_cluster[e.assignment_key] += sign * share / len(side) * ((measure(e) or 0.0) - mean)
    clusters = len(of_cluster)
    in_arms = (len({e.assignment_key for sides in strata.values() for e in sides[arm]}) for arm in (0, 1))
    if clusters <= 2 * len(strata) or min(in_arms) < _LEAST_IN_ARM:
        return Difference(value, -inf, inf, total)
    variance = sum(part * part for part in of_cluster.values()) * clusters / (clusters - 2 * len(strata))
    reach = confidence_sequence(sqrt(variance), clusters)
    return Difference(value, value - reach, value + reach, total)


def _control_mean(episodes: Sequence[Assigned], arms: tuple[int, int], measure: Measure) -> float:
    strata = _strata(episodes, arms, measure).values()
    total = sum(len(side) for sides in strata for side in sides)
    return sum(
        sum(map(len, sides)) / total * sum(measure(e) or 0.0 for e in sides[1]) / len(sides[1]) for sides in strata
    )


def confidence_sequence(standard_error: float, count: int) -> float:
    """Half width at 95 % for an estimate with this standard error after `count` >= 1 independent observations."""
    rho2 = (-2.0 * log(_ALPHA) + log(1.0 - 2.0 * log(_ALPHA))) / _USUAL_EPISODES
    growth = count * rho2
    return standard_error * sqrt(2.0 * (growth + 1.0) / growth * log(sqrt(growth + 1.0) / _ALPHA))
