"""The Python client's reference, from its signatures and docstrings."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any

import sojourn
from docs.site.elements import Element, cell, code, head
from sojourn.client_base import ClientSettings
from sojourn.messages import OutcomeReport, TurnInputs, TurnReport

SURFACE = [sojourn.Client, sojourn.Episode, sojourn.Decision, sojourn.FallbackTable, sojourn.Acknowledgement]
"""Classes that are shown with their members; the others by their docstring."""
READ_AS = {
    "DecisionT": "Decision",
    "EpisodeT": "Episode",
    "ReceiptT": "Acknowledgement | None",
    "Unpack[TurnInputs]": "TurnInputs",
    "Unpack[TurnReport]": "TurnReport",
    "Unpack[OutcomeReport]": "OutcomeReport",
    "types_pb2.": "",
    "'": "",
}
"""What stands for it in the blocking client."""
KEYWORDS = [ClientSettings, TurnInputs, TurnReport, OutcomeReport]


def elements() -> Iterator[Element]:
    """All that `import sojourn` offers, with the members of its surface."""
    for name in _names():
        yield Element("Python name", name, inspect.getdoc(getattr(sojourn, name)) or "")
    for each in SURFACE:
        for name, member in _members(each):
            yield Element("Python method", f"{each.__name__}.{name}", inspect.getdoc(member) or "")


def page() -> str:
    """The client as Markdown."""
    about = (
        "`pip install sojourn` brings it; it needs grpcio and protobuf and nothing else. [The "
        "tutorial](../tutorial.md) shows it at work, [Clients](../clients.md) says what it keeps to. `AsyncClient` "
        "and `AsyncEpisode` are the same with `await`."
    )
    shown = {each.__name__ for each in SURFACE} | {"AsyncClient", "AsyncEpisode"}
    rest = [f"| {code(name)} | {_first(getattr(sojourn, name))} |" for name in _names() if name not in shown]
    return (
        head("Python client", about)
        + "".join(map(_class, SURFACE))
        + "".join(map(_keywords, KEYWORDS))
        + "\n".join(["\n## The other names\n", "| name | meaning |", "| --- | --- |", *rest, ""])
    )


def _names() -> list[str]:
    """Names of the client's own; messages of the contract are documented there."""
    return [name for name in sojourn.__all__ if not getattr(sojourn, name).__module__.startswith("sojourn.v1")]


def _members(each: type[Any]) -> Iterator[tuple[str, Any]]:
    for name, member in inspect.getmembers(each, lambda m: inspect.isfunction(m) or isinstance(m, property)):
        if not name.startswith("_"):
            yield name, member


def _class(each: type[Any]) -> str:
    fields = _rows(each) if is_dataclass(each) else []
    lines = [f"\n## {each.__name__}", "", *_paragraphs(each)]
    lines += ["| field | type |", "| --- | --- |", *fields, ""] if fields else []
    for name, member in _members(each):
        shown = f"```python\n{_signature(name, member)}\n```"
        lines += [f"### {each.__name__}.{name}", "", shown, "", *_paragraphs(member)]
    return "\n".join(lines)


def _keywords(each: type[Any]) -> str:
    lines = [f"\n## {each.__name__}", "", *_paragraphs(each), "| keyword | type |", "| --- | --- |", *_rows(each), ""]
    return "\n".join(lines)


def _rows(each: type[Any]) -> list[str]:
    return [f"| {code(name)} | {code(_type(annotation))} |" for name, annotation in each.__annotations__.items()]


def _signature(name: str, member: Any) -> str:
    if isinstance(member, property):
        getter: Any = member.fget
        return f"{name}: {_type(inspect.signature(getter).return_annotation)}"
    return _read(f"{name}{inspect.signature(member)}").replace("(self, ", "(").replace("(self)", "()")


def _type(annotation: Any) -> str:
    return _read(str(getattr(annotation, "__forward_arg__", annotation)))


def _read(text: str) -> str:
    for inside, outside in READ_AS.items():
        text = text.replace(inside, outside)
    return text


def _paragraphs(each: Any) -> list[str]:
    return [f"{' '.join(part.split())}\n" for part in (inspect.getdoc(each) or "").split("\n\n")]


def _first(each: Any) -> str:
    return cell((inspect.getdoc(each) or "").split("\n\n")[0])
