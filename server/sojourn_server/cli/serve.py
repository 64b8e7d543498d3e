"""`sojourn serve`: runs the router until it is told to stop, then drains.

The first SIGTERM or SIGINT drains: health turns NOT_SERVING, calls in flight finish, what is committed is folded,
the journal is flushed, spans are exported. The second signal ends the process at once; the journal survives that.
"""

from __future__ import annotations

import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sojourn_server.cli.output import fail

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
) -> None:
    """Start the router and serve until SIGTERM or SIGINT.

    \b
    Examples:
      sojourn serve
      sojourn serve --config sojourn.toml --address 0.0.0.0:50051
      SOJOURN_JOURNAL__DIRECTORY=/var/lib/sojourn sojourn serve

    Without a configuration six models with list prices are known, and the journal lies in ./sojourn-data/.
    With journal.kind = "postgres" any number of hosts serve one journal: docs/hosts.md.
    Exit code 0 after a drain, 2 if the configuration is wrong or the journal cannot be had.
    """
    from sojourn_server.cli.logs import configure_logs

    settings = configuration(config, address)
    configure_logs(settings.log.level, settings.log.format)
    stop = _stop_on_signal()
    _serve(settings, stop)


def configuration(path: Path | None, address: str | None = None) -> Config:
    """The configuration with the address replaced if one is given. Exits with every mistake."""
    from sojourn_server.config import ConfigError, load_config

    try:
        loaded = load_config(path)
    except ConfigError as error:
        lines, option = "\n  ".join(error.mistakes), f" --config {path}" if path else ""
        raise fail(f"the configuration is wrong:\n  {lines}", next_step=f"sojourn check-config{option}") from None
    if address is None:
        return loaded
    return loaded.model_copy(update={"server": loaded.server.model_copy(update={"address": address})})


def _serve(settings: Config, stop: threading.Event) -> None:
    from sojourn_server.app import App
    from sojourn_server.errors import StartRefused

    try:
        app = App.open(settings)
    except StartRefused as error:
        raise fail(str(error)) from None
    with app:
        stop.wait()


def _stop_on_signal() -> threading.Event:
    """An event that the first signal sets; after it signals have their usual effect again."""
    stop = threading.Event()

    def stop_once(*_: object) -> None:
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        stop.set()

    for number in SIGNALS:
        signal.signal(number, stop_once)
    return stop
