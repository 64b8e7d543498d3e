"""The `sojourn` command. The client alone has no need of it, so what it needs is imported only when it runs."""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of `sojourn`; says in one line what to install where an extra is missing."""
    try:
        from sojourn_server.cli.program import run

        run(sys.argv[1:])
    except ModuleNotFoundError as error:
        if (error.name or "").startswith("sojourn"):
            raise
        sys.exit(
            f"sojourn: {error.name} is not installed; install sojourn[server], as in: pip install 'sojourn[server]'"
        )
