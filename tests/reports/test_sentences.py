"""Sentences claim what the intervals allow, and say when the data cannot tell."""

from __future__ import annotations

from math import inf
from typing import Any

import pytest

from sojourn_server.reports import figures, sentences
from sojourn_server.reports.figures import Curve, Drift, Forfeited, Interval, Staying, Switching
from tests.reports.episodes import episode, history


def interval(low: float, high: float) -> Interval:
    return Interval((low + high) / 2, low, high, 100)


FEW = Interval(0.5, -inf, inf, 7)
SOME = interval(0.4, 0.6)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (interval(0.1, 0.2), "The score rises"),
        (interval(-0.2, -0.1), "The score falls"),
        (interval(-0.1, 0.2), "cannot tell yet whether the score moves: 0.50 in the first third"),
        (FEW, "that takes 60 scored episodes"),
        (None, "that takes 60 scored episodes"),
    ],
)
def test_learning(change: Interval | None, said: str):
    assert said in sentences.learning(Curve(20, [], SOME, SOME, change))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (interval(0.1, 0.2), "Errors do not drive it away: it stays after 50"),
        (interval(-0.2, -0.1), "It leaves more often after an error"),
        (interval(-0.1, 0.2), "Nothing shows that errors drive it away"),
        (FEW, "cannot tell yet"),
        (None, "No turn of the policy followed an error"),
    ],
)
def test_staying(change: Interval | None, said: str):
    after = None if change is None else SOME
    assert said in sentences.stays(Staying(after, SOME, change, {}))


def test_switching():
    assert "1.5 times an episode (1.0 to 2.0)." in sentences.switches(Switching(interval(1, 2), None, {}))
    assert "the control cohorts 0.5 times" in sentences.switches(Switching(interval(1, 2), SOME, {}))
    assert "cannot tell yet how often" in sentences.switches(Switching(FEW, None, {}))
    assert "No episode" in sentences.switches(Switching(None, None, {}))


def test_specialists_are_models_whose_share_is_surely_above_their_share_of_all_work():
    said = sentences.specialists(figures.shares(history(200)))
    assert "search goes to a 2." in said
    assert "to b 1." in said
    assert "cannot tell yet" in sentences.specialists(figures.shares([episode("ab", tools=["x", "y"])] * 5))
    assert "No episode" in sentences.specialists(figures.shares([]))


def test_forfeited_money():
    def said(**changes: Any) -> str:
        found = Forfeited(usd=1.5, switches=4_000, unpriced=0, share=interval(0.02, 0.04), by_pair=[])
        return sentences.forfeits(found._replace(**changes))

    assert "4,000 switches threw away 1.5 USD of prompt cache, 3.0 % of what the episodes cost (2.0 to 4.0 %)" in said()
    assert "7 of them have no known price" in said(unpriced=7)
    assert "cannot tell yet" in said(unpriced=4_000)
    assert "never switched" in said(switches=0)
    assert "of what" not in said(share=None)


def test_drift():
    calm = Drift(200, interval(-0.1, 0.1), interval(-0.1, 0.1), {"a": (0.5, 0.51, interval(-0.1, 0.12))})
    assert "nothing moved beyond chance" in sentences.drifts(calm)
    assert "the score changed by -0.15" in sentences.drifts(calm._replace(score=interval(-0.2, -0.1)))
    assert "an episode costs +0.1500 USD" in sentences.drifts(calm._replace(usd=interval(0.1, 0.2)))
    assert "a serves 80" in sentences.drifts(calm._replace(models={"a": (0.5, 0.8, interval(0.2, 0.4))}))
    assert "cannot tell yet" in sentences.drifts(calm._replace(score=FEW))
    assert "cannot tell yet" in sentences.drifts(Drift(0, None, None, {}))
