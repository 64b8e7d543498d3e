"""Sojourn's client: which model serves this turn? With a router running (`sojourn serve`):

    >>> import sojourn
    >>> table = sojourn.FallbackTable({"search": "gemini-2.5-flash-lite", "*": "gpt-5"})
    >>> with sojourn.Client("127.0.0.1:50051", fallback=table) as client:
    ...     with client.episode("docs-1", task_type="research") as episode:
    ...         decision = episode.decide(tool_type="search", prompt_tokens=3000)
    ...         # ... call decision.model here ...
    ...         episode.report(input_tokens=3000, output_tokens=200, error="NONE")
    ...         episode.succeed()
    >>> decision.turn_index, 0 < decision.propensity <= 1
    (0, True)

`AsyncClient` is the same with `await`. A turn that the router does not answer in time is served by the
incumbent or the table, and `decision.fallback` says why. Nothing here needs the server package.
"""

import logging

from sojourn.async_client import AsyncClient, AsyncEpisode
from sojourn.client import Client, Episode
from sojourn.counters import Counters, RefusedReport
from sojourn.decision import Decision, RankedCandidate
from sojourn.errors import (
    Conflict,
    DroppedReports,
    FieldViolation,
    InvalidRequest,
    NoFallback,
    NotFound,
    RequestRefused,
    RouterUnavailable,
    SojournError,
    UnmetPrecondition,
)
from sojourn.fallback import FallbackTable
from sojourn.reports import Acknowledgement
from sojourn.v1.types_pb2 import Candidate, Model, PromptCache

# A library does not print: without a handler of the application's own its log goes nowhere.
logging.getLogger("sojourn").addHandler(logging.NullHandler())

__all__ = [
    "Acknowledgement",
    "AsyncClient",
    "AsyncEpisode",
    "Candidate",
    "Client",
    "Conflict",
    "Counters",
    "Decision",
    "DroppedReports",
    "Episode",
    "FallbackTable",
    "FieldViolation",
    "InvalidRequest",
    "Model",
    "NoFallback",
    "NotFound",
    "PromptCache",
    "RankedCandidate",
    "RefusedReport",
    "RequestRefused",
    "RouterUnavailable",
    "SojournError",
    "UnmetPrecondition",
]
