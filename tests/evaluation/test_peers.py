"""Our estimators give what VW's own estimators give on the same log, where both say something."""

from __future__ import annotations

from random import Random

import pytest
from estimators.bandits import gaussian  # type: ignore[import-untyped]  # ships no annotations
from estimators.bandits import ips as peer_ips
from estimators.bandits import snips as peer_snips

from sojourn_server.evaluation.estimators import Step, doubly_robust, ips, mean, snips


@pytest.fixture
def log() -> list[tuple[float, float, float]]:
    """(logged probability, reward, target's probability) of 2,000 decisions."""
    random = Random(7)
    return [(random.uniform(0.05, 1.0), random.random(), random.uniform(0.0, 1.0)) for _ in range(2_000)]


def weights_of(log: list[tuple[float, float, float]]) -> list[float]:
    return [target / logged for logged, _, target in log]


def rewards_of(log: list[tuple[float, float, float]]) -> list[float]:
    return [reward for _, reward, _ in log]


@pytest.mark.parametrize(("ours", "theirs"), [(ips, peer_ips.Estimator), (snips, peer_snips.Estimator)])
def test_values_agree(log: list[tuple[float, float, float]], ours, theirs):
    peer = theirs()
    for logged, reward, target in log:
        peer.add_example(logged, reward, target)
    assert ours(weights_of(log), rewards_of(log)).value == pytest.approx(peer.get(), rel=1e-12)


def test_the_interval_of_many_is_the_gaussian_one(log: list[tuple[float, float, float]]):
    """Student's t with 1,999 degrees of freedom is wider by less than a thousandth."""
    peer = gaussian.Interval()
    for logged, reward, target in log:
        peer.add_example(logged, reward, target)
    found = ips(weights_of(log), rewards_of(log))
    assert [found.low, found.high] == pytest.approx(peer.get(alpha=0.05), rel=1e-3)


def test_with_a_model_that_knows_nothing_doubly_robust_is_inverse_propensity(log: list[tuple[float, float, float]]):
    values = [doubly_robust([Step(t / p, 0.0, 0.0)], r) for p, r, t in log]
    assert mean(values) == pytest.approx(ips(weights_of(log), rewards_of(log)), rel=1e-12)
