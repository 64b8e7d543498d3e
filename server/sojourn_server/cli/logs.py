"""Logs: diagnostics on standard error, one line each, JSON for machines and columns on a terminal.

structlog writes ours directly; the standard library's records (grpc, opentelemetry, warnings) pass the same
steps, so every line has `timestamp` (UTC), `level`, `logger` and `event`. Exceptions become structures
without local variables, which could be secrets. A hot path binds its logger once, after `configure_logs`
(`log = structlog.get_logger(__name__).bind()`): then `log.is_enabled_for(logging.INFO)` costs 0.2 µs, not 6.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import Processor

LogFormat = Literal["auto", "json", "console"]


class NamedLogger(structlog.WriteLogger):
    """Writes whole lines to standard error; `add_logger_name` reads its name."""

    def __init__(self, name: str = "sojourn") -> None:
        """`name` is what `structlog.get_logger` was given."""
        super().__init__(sys.stderr)
        self.name = name


def keep_standard_output_clean() -> None:
    """Our own logs go to standard error, in structlog's way: for commands whose result goes to standard output."""
    structlog.configure(logger_factory=NamedLogger)


def configure_logs(level: str, format: LogFormat, worker: str = "") -> None:
    """Sets up the logs of this process; a second call replaces the first.

    `level` is a name such as "info". "auto" means columns if standard error is a terminal, else JSON. Each line names
    the `worker`, if there is one. Raises KeyError for an unknown level.
    """
    threshold = logging.getLevelNamesMapping()[level.upper()]
    steps: list[Processor] = [
        structlog.stdlib.add_logger_name,
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    if worker:
        steps.append(lambda _, __, entry: {"worker": worker, **entry})
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    rendering = _json() if as_json else _columns()
    structlog.configure(
        processors=[*steps, *rendering],
        wrapper_class=structlog.make_filtering_bound_logger(threshold),
        logger_factory=NamedLogger,
        cache_logger_on_first_use=False,  # a cached logger would not follow a second call
    )
    _route_standard_library(threshold, steps, rendering)


def _json() -> list[Processor]:
    exceptions = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [structlog.processors.ExceptionRenderer(exceptions), structlog.processors.JSONRenderer()]


def _columns() -> list[Processor]:
    return [structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)]


def _route_standard_library(threshold: int, steps: list[Processor], rendering: list[Processor]) -> None:
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=steps, processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *rendering]
        )
    )
    logging.basicConfig(level=threshold, handlers=[handler], force=True)
    logging.captureWarnings(True)
