"""`sojourn check-config`: every mistake of a configuration at once, or the settings that would be in effect."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn_server.cli.output import CANNOT_RUN, print_json

if TYPE_CHECKING:
    from sojourn_server.config import Config


def check_config(
    config: Annotated[
        Path | None, typer.Option(help="Configuration in TOML; without it the defaults are checked.", metavar="FILE")
    ] = None,
    show: Annotated[bool, typer.Option("--show", help="Print the settings in effect, as TOML.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object.")] = False,
) -> None:
    """Check a configuration, with the environment's overrides, and name every mistake with its key.

    \b
    Examples:
      sojourn check-config --config sojourn.toml
      sojourn check-config --show > sojourn.toml     the defaults, as a file to start from

    Starts nothing and touches no journal. Exit code 0 if `sojourn serve` would take it, else 2.
    """
    from sojourn_server.config import ConfigError, load_config

    try:
        loaded = load_config(config)
    except ConfigError as error:
        _print_mistakes(error.mistakes, as_json)
        raise typer.Exit(CANNOT_RUN) from None
    if as_json:
        settings = {"settings": loaded.model_dump(mode="json")} if show else {}
        print_json({"valid": True, "mistakes": [], **settings})
    elif show:
        typer.echo(effective_toml(loaded), nl=False)
    else:
        typer.echo(f"{config or 'the defaults'}: valid")


def _print_mistakes(mistakes: list[str], as_json: bool) -> None:
    if as_json:
        print_json({"valid": False, "mistakes": mistakes})
        return
    for mistake in mistakes:
        typer.echo(mistake, err=True)
    typer.echo(f"{len(mistakes)} mistake(s)", err=True)


def effective_toml(config: Config) -> str:
    """The settings as TOML that `load_config` reads back, a line each; what is unset or secret is left out."""
    secret = {"server.draw_secret": config.server.draw_secret, "journal.dsn": config.journal.dsn}
    hidden = {"server": {"draw_secret"}, "journal": {"dsn"}}
    settings = config.model_dump(mode="json", exclude_none=True, exclude=hidden)
    note = "".join(f"# {key} is set and not shown\n" for key, value in secret.items() if value)
    return note + "".join(f"{line}\n" for line in _lines("", settings))


def _lines(path: str, value: Any) -> Iterator[str]:
    if path != "models" and isinstance(value, Mapping) and value:
        for key, below in value.items():
            yield from _lines(f"{path}.{_quoted(key)}".lstrip("."), below)
    elif path == "models":
        yield from ("models = [", *(f"  {_inline(model)}," for model in value), "]")
    else:
        yield f"{path} = {_inline(value)}"


def _quoted(key: str) -> str:
    return key if key.replace("_", "").isalnum() and key.isascii() else json.dumps(key, ensure_ascii=False)


def _inline(value: Any) -> str:
    """JSON's scalars and lists are TOML's as well; tables are not."""
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_quoted(k)} = {_inline(v)}" for k, v in value.items()) + " }"
    return json.dumps(value, ensure_ascii=False)
