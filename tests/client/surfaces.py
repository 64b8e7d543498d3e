"""Both clients behind one asynchronous face, so that each rule is written once and holds for either.

The calls are the clients' own; only the waiting is evened out. Run a scenario with `asyncio.run`: the blocking
client then simply blocks the loop, which has nothing else to do.
"""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

import sojourn

either = pytest.mark.parametrize("kind", [sojourn.Client, sojourn.AsyncClient])


async def done(value: Any) -> Any:
    """The result of a call of either client."""
    return await value if inspect.isawaitable(value) else value


@asynccontextmanager
async def entered(manager: Any) -> AsyncIterator[Any]:
    """A client or an episode as a context manager."""
    if hasattr(manager, "__aenter__"):
        async with manager as value:
            yield value
    else:
        with manager as value:
            yield value
