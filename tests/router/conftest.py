"""The workshop of the learner's tests serves the router's as well."""

from tests.learner.conftest import open_workshop, quiet, workshop

__all__ = ["open_workshop", "quiet", "workshop"]
