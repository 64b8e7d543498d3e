"""Evaluates targets on a journal: replays what was known at each decision, asks each target, weighs each episode.

Two estimands. *Deployed value*: had the target served all episodes; an episode counts with the product of its ratios.
*One-step deviation*: had the target made one decision, at the first visit of a phase, and the logged policy all others.
Ratios are exact: like the logged policy, a target draws once per (episode, phase), so after an earlier choice only the
part of its cell counts in which that choice left the draw.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sojourn_server.evaluation import estimators
from sojourn_server.evaluation.estimators import LEAST_ESS, Estimate, Step
from sojourn_server.evaluation.logged import Log, LoggedEpisode
from sojourn_server.evaluation.targets import Target, opinion
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.credit import PlayedTurn
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.policy.decision import exclusions
from sojourn_server.policy.distribution import UNIT, Interval
from sojourn_server.policy.learned import expected
from sojourn_server.policy.turn import from_record

_ROUNDING = 1e-9
Told = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What a target would be worth. Scores in [0, 1], money in USD an episode; None where `refused` says why.

    `model_value` is the model's own extrapolation (DM), without a correction.
    """

    target: str
    episodes: int
    mean_weight: float = 0.0
    effective_sample_size: float = 0.0
    refused: str = ""
    score_ips: Estimate | None = None
    score_snips: Estimate | None = None
    score_dr: Estimate | None = None
    cost_usd: Estimate | None = None
    model_value: Estimate | None = None
    one_step_gain: Estimate | None = None


@dataclass(frozen=True, slots=True)
class _Seen:
    """A decision under a target: its probabilities, and the model's scores by candidate."""

    probabilities: Mapping[str, float]
    scores: Mapping[str, float]


def evaluate(journal: Journal, fold: Fold, log: Log, targets: Sequence[Target], *, told: Told) -> list[Evaluation]:
    """`fold` is the policy's prior; it is moved along the journal. `told(position)` hears how far it has come."""
    seen = _ask(journal, fold, log.episodes, targets, told=told)
    return [_evaluated(target, log.episodes, seen[i]) for i, target in enumerate(targets)]


def model_shares(episodes: Iterable[LoggedEpisode]) -> dict[str, float]:
    """Of all turns, the share of each model."""
    turns = Counter(turn.served for episode in episodes for turn in episode.turns)
    return {name: count / turns.total() for name, count in turns.items()}


def _ask(
    journal: Journal, fold: Fold, episodes: Sequence[LoggedEpisode], targets: Sequence[Target], *, told: Told
) -> list[dict[str, _Seen]]:
    """By target, then by decision id: each decision is asked about at the version that decided it."""
    by_version = defaultdict[int, list[PlayedTurn]](list)
    for episode in episodes:
        for turn in episode.turns:
            by_version[turn.decision.answer.policy_version].append(turn)
    seen: list[dict[str, _Seen]] = [{} for _ in targets]
    for version in sorted(by_version):
        fold.catch_up(journal, version)
        knowledge = Published(version, fold.bandit, fold.counts)
        for turn in by_version[version]:
            scores, opinions = _ask_about(turn, fold, knowledge, targets)
            for found, one in zip(seen, opinions, strict=True):
                found[turn.decision.answer.decision_id] = _Seen(one, scores)
        told(version)
    return seen


def _ask_about(
    played: PlayedTurn, fold: Fold, knowledge: Published, targets: Sequence[Target]
) -> tuple[Mapping[str, float], list[Mapping[str, float]]]:
    """The model's scores by candidate (at an open decision), and the opinion of each target."""
    record = played.decision
    turn = from_record(record, fold.world.registries[record.inputs.registry_version])
    scores: dict[str, float] = {}
    if record.answer.decision_point:
        offers = [offer for offer, why in zip(turn.offers, exclusions(turn), strict=True) if not why]
        predicted, _ = expected(turn, offers, knowledge)
        scores = {offer.model.name: score for offer, score in zip(offers, predicted, strict=True)}
    return scores, [opinion(target, turn, knowledge) for target in targets]


def _evaluated(target: Target, episodes: Sequence[LoggedEpisode], seen: Mapping[str, _Seen]) -> Evaluation:
    steps = [_steps(episode, seen) for episode in episodes]
    weights = [_product(of_episode) for of_episode in steps]
    size = estimators.effective_sample_size(weights)
    scores = [episode.score for episode in episodes]
    values = [estimators.doubly_robust(s, score) for s, score in zip(steps, scores, strict=True)]
    extrapolated = estimators.mean([s[0].expected if s else score for s, score in zip(steps, scores, strict=True)])
    found = Evaluation(
        target.name,
        len(episodes),
        mean_weight=sum(weights) / len(weights),
        effective_sample_size=size,
        model_value=extrapolated,
        one_step_gain=estimators.mean(_one_step(episodes, seen)),
    )
    if why := _unsupported(weights, size):
        return replace(found, refused=f"REFUSED: {why}")
    return replace(
        found,
        score_ips=estimators.ips(weights, scores),
        score_snips=estimators.snips(weights, scores),
        score_dr=estimators.mean(values),
        cost_usd=_money(weights, episodes),
    )


def _unsupported(weights: Sequence[float], size: float) -> str:
    """Why weights like these judge nothing; "" if they do. Their mean is 1 unless the target goes ways of its own."""
    if size == 0.0:
        return "no support"
    center = estimators.mean(weights)
    error = (center.high - center.low) / 2.0
    if abs(center.value - 1.0) > max(2.0 * error, _ROUNDING):
        return (
            f"support is lost: weights have mean {center.value:.2f}, not 1: it goes where the logged policy could not"
        )
    return f"ESS {size:.0f} < {LEAST_ESS:.0f}" if size < LEAST_ESS else ""


def _money(weights: Sequence[float], episodes: Sequence[LoggedEpisode]) -> Estimate | None:
    """USD an episode; None unless every episode's is known."""
    costs = [episode.cost_usd for episode in episodes if episode.cost_usd is not None]
    return estimators.snips(weights, costs) if len(costs) == len(episodes) else None


def _steps(episode: LoggedEpisode, seen: Mapping[str, _Seen]) -> list[Step]:
    """The episode's open decisions under a target. Which ones are open is no matter of settings."""
    surviving, steps = dict[str, Interval](), list[Step]()
    for turn in episode.turns:
        answer = turn.decision.answer
        found = seen[answer.decision_id]
        if not answer.decision_point:
            continue
        here = surviving.get(answer.phase, UNIT)
        cells = {name: cell.intersect(here) for name, cell in _cells(found.probabilities).items()}
        chances = {name: max(cell.width, 0.0) / here.width for name, cell in cells.items()}
        ratio = chances.get(answer.model, 0.0) / answer.propensity
        expected = sum(chance * found.scores.get(name, 0.0) for name, chance in chances.items())
        steps.append(Step(ratio, expected, found.scores.get(answer.model, 0.0)))
        if ratio == 0.0:
            break  # beyond here the target has no history
        surviving[answer.phase] = cells[answer.model]
    return steps


def _cells(probabilities: Mapping[str, float]) -> dict[str, Interval]:
    """Each candidate's cell on [0, 1), in the order of names, as `distribution.sample` lays them."""
    last = max(name for name, p in probabilities.items() if p > 0.0)
    cells, low = dict[str, Interval](), 0.0
    for name in sorted(probabilities):
        high = 1.0 if name >= last else low + probabilities[name]
        cells[name] = Interval(low, high)
        low = high
    return cells


def _product(steps: Sequence[Step]) -> float:
    weight = 1.0
    for step in steps:
        weight *= step.ratio
    return weight


def _one_step(episodes: Sequence[LoggedEpisode], seen: Mapping[str, _Seen]) -> list[float]:
    """By episode, the mean gain in score of one deviation at a phase's first visit; doubly robust, raw score."""
    gains = []
    for episode in episodes:
        visited, found = set[str](), list[float]()
        for turn in episode.turns:
            answer = turn.decision.answer
            if answer.decision_point and answer.phase not in visited:
                visited.add(answer.phase)
                one = seen[answer.decision_id]
                ratio = one.probabilities.get(answer.model, 0.0) / answer.propensity
                expected = sum(p * one.scores.get(name, 0.0) for name, p in one.probabilities.items())
                step = Step(ratio, expected, one.scores.get(answer.model, 0.0))
                found.append(estimators.doubly_robust([step], episode.score) - episode.score)
        if found:
            gains.append(sum(found) / len(found))
    return gains
