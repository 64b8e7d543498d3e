"""A played journal, as the command line's tests have it."""

from tests.cli.conftest import played

__all__ = ["played"]
