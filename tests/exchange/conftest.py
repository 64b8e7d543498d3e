"""A played journal as the command line's tests have it, and workshops as the learner's have them."""

from tests.cli.conftest import played
from tests.learner.conftest import open_workshop

__all__ = ["open_workshop", "played"]
