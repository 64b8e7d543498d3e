"""The command line's reference, from the program's own help."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any, NamedTuple

import typer.main

from docs.site.elements import Element, cell, code, head
from sojourn_server.cli.program import program

VALUE = re.compile(r"(?:list\[)?([^\]>]*?)(?: range)?\]?>")
VALUES = {"int": "N", "float": "NUMBER", "str": "TEXT", "path": "PATH"}
"""How a value is shown, by what typer calls its type."""


class Command(NamedTuple):
    """A command by its full name."""

    name: str
    command: Any


def commands() -> list[Command]:
    """The program and all its commands, groups before their members."""
    return list(_below("sojourn", typer.main.get_command(program())))


def elements() -> Iterator[Element]:
    """All commands, options and arguments."""
    for name, command in commands():
        yield Element("command", name, command.help or "")
        for option in _parameters(command):
            yield Element("option or argument", f"{name} {option.opts[0]}", getattr(option, "help", None) or "")


def page() -> str:
    """The command line as Markdown."""
    about = (
        "`pip install 'sojourn[server]'` brings the program `sojourn`. Each command tells the same with `--help`. "
        "Those that call a router take its token from the variable `SOJOURN_TOKEN`."
    )
    return head("Command line", about) + "\n" + "\n".join(map(_section, commands()))


def _below(name: str, command: Any) -> Iterator[Command]:
    yield Command(name, command)
    for inner, each in getattr(command, "commands", {}).items():
        yield from _below(f"{name} {inner}", each)


def _parameters(command: Any) -> list[Any]:
    return [p for p in command.params if p.name != "help"]


def _section(command: Command) -> str:
    lines = [f"{'#' * max(2, len(command.name.split()))} {command.name}"]
    for paragraph in (command.command.help or "").split("\n\n"):
        lines += ["", *_paragraph(paragraph)]
    if rows := list(_rows(command)):
        lines += ["", "| option or argument | meaning |", "| --- | --- |", *rows]
    return "\n".join(lines) + "\n"


def _paragraph(text: str) -> list[str]:
    """A paragraph, or where its lines are kept (click's \\b) a line with what follows as code."""
    if not text.startswith("\b"):
        return [" ".join(text.split())]
    title, *rest = text.removeprefix("\b").strip("\n").splitlines()
    indent = min(len(line) - len(line.lstrip()) for line in rest)
    return [title, "", "```text", *(line[indent:] for line in rest), "```"]


def _rows(command: Command) -> Iterator[str]:
    context = command.command.context_class(command.command)
    for parameter in _parameters(command.command):
        said = parameter.get_help_record(context)[1]
        yield f"| {code(_names(parameter, context))} | {cell(said.replace('  [', ' ['))} |"


def _names(parameter: Any, context: Any) -> str:
    """As it is typed: `-o, --output FILE`, `EPISODE_ID`."""
    if parameter.param_type_name == "argument":
        return str(parameter.name).upper()
    names, _, value = parameter.get_help_record(context)[0].partition(" <")
    found = VALUE.fullmatch(value)
    return f"{names} {VALUES.get(found[1], found[1])}" if found else str(names)
