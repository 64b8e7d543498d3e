"""The noise of scores: what a prior is worth follows it, in the width of beliefs and in the steps of lessons."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pytest

from sojourn.v1 import snapshot_pb2
from sojourn_server.learner.fold import Fold
from sojourn_server.policy.learned import relative_noise
from tests.learner.workshop import POLICY, Workshop, world_at
from tests.policy.play import Play, asked, default_registry, taught

QUIET, USUAL, NOISY = 0.01, 0.1445, 0.25
Statistics = snapshot_pb2.Statistics


def scattered(noise: float, lessons: float = 500.0) -> snapshot_pb2.RunningMean:
    return snapshot_pb2.RunningMean(count=lessons, mean=noise)


@dataclass(frozen=True)
class Informed:
    """The taught policy, beside other counts."""

    statistics: Statistics
    version: int = 1

    def predict(self, shared: str, actions: Sequence[str]) -> tuple[list[float], float]:
        return taught().predict(shared, actions)


def informed(noise: float, *, evidence: float) -> Informed:
    statistics = Statistics(progressive_loss=scattered(noise))
    for name in default_registry().models:
        statistics.evidence_by_phase["search"].evidence_by_model[name] = evidence
    return Informed(statistics)


def sharpness(knowledge: Informed) -> float:
    return max(Play(knowledge=knowledge).choose(asked(0, tool_type="search", prompt_tokens=9_000)).probabilities)


def test_noise_is_usual_until_lessons_tell_and_never_nothing():
    assert relative_noise(Statistics()) == 1.0
    assert relative_noise(Statistics(progressive_loss=scattered(2 * USUAL, lessons=20.0))) == pytest.approx(1.5)
    assert relative_noise(Statistics(progressive_loss=scattered(0.0))) == 0.05


def test_the_less_scores_scatter_the_more_the_same_evidence_narrows_a_belief():
    quiet, usual, noisy = (sharpness(informed(noise, evidence=40.0)) for noise in (QUIET, USUAL, NOISY))
    assert quiet > usual > noisy


def test_without_evidence_a_belief_is_as_wide_as_its_prior_whatever_the_noise():
    assert sharpness(informed(QUIET, evidence=0.0)) == pytest.approx(sharpness(informed(NOISY, evidence=0.0)))


def test_the_less_scores_scatter_the_further_a_lesson_goes(open_workshop: Callable[..., Workshop]):
    workshop = open_workshop()
    workshop.play_many(1)
    end = workshop.settle().version
    quiet, noisy = (_steps(workshop, end, noise) for noise in (QUIET, NOISY))
    assert quiet > 1.5 * noisy > 0.0


def _steps(workshop: Workshop, end: int, noise: float) -> float:
    """The sum of all steps in the lessons up to `end`, from the prior on."""
    fold = Fold.prior(POLICY, world_at(workshop.journal, end))
    fold.counts.progressive_loss.CopyFrom(scattered(noise))
    steps = 0.0
    ordinary = fold.bandit.learn_advantage

    def watched(shared: str, action: str, *, advantage: float, step: float) -> float:
        nonlocal steps
        steps += step
        return ordinary(shared, action, advantage=advantage, step=step)

    fold.bandit.learn_advantage = watched  # type: ignore[method-assign]  # only watched
    fold.catch_up(workshop.journal, end)
    return steps
