"""`sojourn token`: makes a token, appends its entry to the router's token file, and shows the secret once."""

from __future__ import annotations

import json
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from sojourn_server.cli.output import fail, print_json


class ScopeName(StrEnum):
    """What a token is for."""

    decide = "decide"
    report = "report"
    admin = "admin"


def token(
    name: Annotated[str, typer.Argument(help="Who will use it; written beside whatever they report.")],
    *,
    scope: Annotated[list[ScopeName], typer.Option(help="What it is for; may be given several times.")],
    file: Annotated[Path, typer.Option(help="The router's token file (security.tokens).")],
    policy: Annotated[list[str] | None, typer.Option(help="Only for this policy; may be given several times.")] = None,
    calls_per_second: Annotated[float | None, typer.Option(min=0.001, help="Limit; none unless given.")] = None,
    quarantined: Annotated[
        bool, typer.Option(help="Record the outcomes that it reports, and never learn them.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a token and add it to the router's token file. A running router knows it within a second or two.

    \b
    Examples:
      sojourn token gateway --scope decide --file tokens.toml
      sojourn token judge --scope report --policy research --file tokens.toml
      SOJOURN_TOKEN=sj_... sojourn show policy

    The file keeps a hash only: the secret is shown this once. To revoke a token, delete its entry.
    Exit code 0, or 2 if the file cannot be used or has the name already.
    """
    from sojourn_server.security.tokens import BrokenTokens, digest, new_secret, read_tokens

    secret = new_secret()
    entry: dict[str, object] = {"id": name, "sha256": digest(secret), "scopes": sorted(s.value for s in scope)}
    entry |= {"policies": policy} if policy else {}
    entry |= {"calls_per_second": calls_per_second} if calls_per_second else {}
    entry |= {"quarantined": True} if quarantined else {}
    before = file.read_text("utf-8") if file.exists() else ""
    lines = "".join(f"{key} = {json.dumps(value, ensure_ascii=False)}\n" for key, value in entry.items())
    part = file.with_suffix(".part")
    try:
        part.touch(mode=0o600)
        part.write_text(f"{before}\n[[tokens]]\n{lines}".lstrip(), "utf-8")
        read_tokens(part)
        part.replace(file)
    except (OSError, BrokenTokens) as error:
        part.unlink(missing_ok=True)
        raise fail(
            str(error).replace(str(part), str(file)), next_step="mend the file, or choose another name"
        ) from None
    if as_json:
        print_json({"id": name, "secret": secret, "file": str(file)})
        return
    typer.echo(secret)
    typer.echo(f"{name} was added to {file}. The secret above is shown only once.", err=True)
