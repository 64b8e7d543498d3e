"""The program: one module per command, and only the module of the command that is asked for is imported.

So `sojourn health`, which a container runs every few seconds, waits for nothing that it does not need. Inside their
functions the modules import late for the same reason.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from importlib import import_module
from importlib.metadata import version as installed_version
from typing import Annotated

import typer

COMMANDS = {
    "serve": "cli.serve:serve",
    "check-config": "cli.check_config:check_config",
    "health": "cli.health:health",
    "demo": "cli.demo:demo",
    "import": "exchange.import_command:import_trajectories",
    "export": "exchange.export:export",
    "replay": "cli.replay:replay",
    "show": "cli.show:app",
    "explain": "cli.explain:explain",
    "report": "cli.report:report",
    "top": "cli.top:top",
    "evaluate": "cli.evaluate:evaluate",
    "savings": "cli.savings:savings",
    "token": "security.token_command:token",
    "undo": "upkeep.undo_command:undo",
    "erase": "upkeep.erase_command:erase",
    "snapshots": "cli.snapshots:app",
    "backup": "upkeep.backup_command:backup",
}
"""Where each command lies: module below `sojourn_server`, then its function or group."""


def run(arguments: Sequence[str]) -> None:
    """Runs the command line without the program's name; ends by SystemExit."""
    asked = next((a for a in arguments if not a.startswith("-")), "")
    program([asked] if asked in COMMANDS else COMMANDS)(list(arguments), prog_name="sojourn")


def program(names: Iterable[str] = COMMANDS) -> typer.Typer:
    """The program with these commands."""
    app = typer.Typer(
        name="sojourn",
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    )
    app.callback()(sojourn)
    for name in names:
        module, _, attribute = COMMANDS[name].partition(":")
        command = getattr(import_module(f"sojourn_server.{module}"), attribute)
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=name)
        else:
            app.command(name)(command)
    return app


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(installed_version("sojourn"))
        raise typer.Exit


def sojourn(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Choose the model of each turn of an agent's episode, and stay unless leaving pays.

    \b
    First steps:
      sojourn demo                        see it work on live episodes, three minutes
      sojourn serve                       start the router with its defaults
      sojourn show policy                 what it has learned so far
      sojourn explain EPISODE             why it stayed, why it switched, what it cost
      sojourn report -o report.html       a page that says whether it pays

    Exit codes: 0 done, 1 the answer is no (unhealthy, different, rows rejected), 2 could not run.
    """
