"""`sojourn serve`: runs the router until it is told to stop, then drains.

The first SIGTERM or SIGINT drains: health turns NOT_SERVING, calls in flight finish, what is committed is folded,
the journal is flushed, spans are exported. The second signal ends the process at once; the journal survives that.
"""

from __future__ import annotations

import signal
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn_server.cli.output import fail
from sojourn_server.hosts.stop import Stop

if TYPE_CHECKING:
    from sojourn_server.config import Config

SIGNALS = (signal.SIGTERM, signal.SIGINT)


def serve(
    config: Annotated[
        Path | None, typer.Option(help="Configuration in TOML; without it the defaults run.", metavar="FILE")
    ] = None,
    address: Annotated[
        str | None, typer.Option(help="Listen here instead of server.address; port 0 takes a free one.")
    ] = None,
    workers: Annotated[
        int | None, typer.Option(min=1, help="Processes that decide, on one port, instead of server.workers.")
    ] = None,
) -> None:
    """Start the router and serve until SIGTERM or SIGINT.

    \b
    Examples:
      sojourn serve
      sojourn serve --config sojourn.toml --address 0.0.0.0:50051
      sojourn serve --workers 4
      SOJOURN_JOURNAL__DIRECTORY=/var/lib/sojourn sojourn serve

    Without a configuration six models with list prices are known, and the journal lies in ./sojourn-data/.
    With several workers one more process learns, and who dies is started again.
    With journal.kind = "postgres" any number of hosts serve one journal: docs/hosts.md.
    Exit code 0 after a drain, 2 if the configuration is wrong or the journal cannot be had.
    """
    settings = configuration(config, address=address, workers=workers)
    stop = _stop_on_signal()
    _serve(settings, stop)


def configuration(path: Path | None, **server: Any) -> Config:
    """The configuration with the settings below `server` replaced that are given. Exits with every mistake."""
    from sojourn_server.config import ConfigError, load_config

    try:
        loaded = load_config(path)
    except ConfigError as error:
        lines, option = "\n  ".join(error.mistakes), f" --config {path}" if path else ""
        raise fail(f"the configuration is wrong:\n  {lines}", next_step=f"sojourn check-config{option}") from None
    given = {key: value for key, value in server.items() if value is not None}
    return loaded.model_copy(update={"server": loaded.server.model_copy(update=given)})


def _serve(settings: Config, stop: Stop) -> None:
    from sojourn_server.app import App
    from sojourn_server.cli.logs import configure_logs
    from sojourn_server.errors import StartRefused
    from sojourn_server.hosts.workers import workers

    prepare = partial(configure_logs, settings.log.level, settings.log.format)
    prepare("")
    try:
        if settings.server.workers > 1:
            with workers(settings, App.open, prepare) as started:
                started.watch(stop)
            return
        app = App.open(settings)
    except StartRefused as error:
        raise fail(str(error)) from None
    with app:
        stop.wait()


def _stop_on_signal() -> Stop:
    """What the first signal sets; after it signals have their usual effect again."""
    stop = Stop()

    def stop_once(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, stop_once)
    return stop
