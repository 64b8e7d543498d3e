"""The backends that are played, each with what has to be installed for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path
from typing import NamedTuple

from tests.backends import with_jaeger, with_mlflow, with_phoenix
from tests.backends.backend import Backend
from tests.environments import version_of

FOLDER_VARIABLE = "SOJOURN_BACKENDS"
"""Names the folder in which each backend has an environment of its own, by its name."""
PICTURES_VARIABLE = "SOJOURN_PICTURES"
"""Names the folder for pictures, if they are wanted."""


class Kind(NamedTuple):
    """`requirements` are those of its environment; `version` and `started` take the Python of that.

    `version` installs what is no package; `started` also takes a directory for data.
    """

    requirements: tuple[str, ...]
    version: Callable[[Path], str]
    started: Callable[[Path, Path], AbstractContextManager[Backend]]


BACKENDS = {
    "phoenix": Kind(with_phoenix.REQUIREMENTS, partial(version_of, package="arize-phoenix"), with_phoenix.started),
    "mlflow": Kind(with_mlflow.REQUIREMENTS, partial(version_of, package="mlflow"), with_mlflow.started),
    "jaeger": Kind(with_jaeger.REQUIREMENTS, with_jaeger.version, with_jaeger.started),
}
