"""Workshops, as the learner's tests have them."""

from tests.learner.conftest import open_workshop, quiet

__all__ = ["open_workshop", "quiet"]
