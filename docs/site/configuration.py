"""The configuration's reference, from its models: keys, types, limits, defaults, with the sentences of words.toml."""

from __future__ import annotations

import json
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo

from docs.site.elements import WORDS, Element, cell, code, head
from sojourn_server.config import Config

LONGEST_DEFAULT = 60
NAMES = {str: "text", int: "integer", float: "number", bool: "true or false", Path: "path", SecretStr: "secret text"}
SIGNS = {"ge": "≥ {}", "gt": "> {}", "le": "≤ {}", "lt": "< {}", "min_length": "at least {} long"}


class Table(NamedTuple):
    """A table of the TOML file: its head, and the model that reads it."""

    head: str
    model: type[BaseModel]


def tables(head: str = "", model: type[BaseModel] = Config) -> Iterator[Table]:
    """A model and all below it, in the order of their fields."""
    yield Table(head, model)
    for name, field in model.model_fields.items():
        for found, many in _models(field.annotation):
            inner = f"{head}.{name}".removeprefix(".")
            yield from tables(f"{inner}.NAME" if many is dict else f"{inner}[]" if many else inner, found)


def elements() -> Iterator[Element]:
    """All settings."""
    for table in tables():
        for name in table.model.model_fields:
            yield Element("setting", f"{table.model.__name__}.{name}", _said(table.model, name))


def page() -> str:
    """The configuration as Markdown."""
    about = (
        "One TOML file, `sojourn serve --config sojourn.toml`, or none: every setting has a default. `sojourn "
        "check-config` names every mistake in one, and `sojourn check-config --show` prints what is in effect, as a "
        "file to start from. An environment variable goes before the file: `SOJOURN_` and the key in capitals, with "
        "two underscores between levels, such as `SOJOURN_SERVER__ADDRESS` or "
        "`SOJOURN_POLICIES__DEFAULT__CHOICE__COST_WEIGHT`. Traces and metrics are set up by OpenTelemetry's own "
        "`OTEL_*` variables, and commands that call a router take its token from `SOJOURN_TOKEN`.\n\n"
        "Choice settings act from their record in the journal on. Other lesson settings fold the policy anew from the "
        "journal."
    )
    return head("Configuration", about) + "".join(map(_section, tables()))


def _section(table: Table) -> str:
    title = f"`{_toml(table.head)}`" if table.head else "Tables"
    lines = [f"\n## {title}\n", (table.model.__doc__ or "").partition("\n")[0], ""]
    if not table.head:
        lines[1] = "The top of the file."
    lines += ["| key | type | default | meaning |", "| --- | --- | --- | --- |"]
    for name, field in table.model.model_fields.items():
        kind = cell(_kind(field.annotation, field.metadata))
        lines.append(f"| {code(name)} | {kind} | {_default(field)} | {cell(_said(table.model, name))} |")
    return "\n".join(lines) + "\n"


def _toml(head: str) -> str:
    """A table's head as TOML writes it: `models[]` is `[[models]]`, and a table within it stands in braces."""
    outer, many, inner = head.partition("[]")
    return f"[{head}]" if not many else f"[[{outer}]]" if not inner else f"{inner[1:]} = {{ … }}"


def _said(model: type[BaseModel], name: str) -> str:
    """The sentence of the model that has the field first: a policy's config inherits its settings."""
    for owner in model.__mro__:
        if found := WORDS["settings"].get(owner.__name__, {}).get(name):
            return str(found)
    return ""


def _models(annotation: Any) -> Iterator[tuple[type[BaseModel], type | None]]:
    """Models within a type, with the container that may hold many."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation, None
    origin = get_origin(annotation)
    many = origin if origin in (dict, tuple) else None
    for argument in get_args(annotation):
        for model, inner in _models(argument):
            yield model, many or inner


def _kind(annotation: Any, limits: list[Any]) -> str:
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Annotated:
        return _kind(arguments[0], [*annotation.__metadata__, *limits])
    if origin in (Union, types.UnionType):
        return " or ".join(_kind(a, limits) for a in arguments if a is not type(None))
    if origin is Literal:
        return " or ".join(code(a) for a in arguments)
    if origin is dict:
        return f"table of {_kind(arguments[1], [])}".replace("table of table", "tables by name")
    if origin is tuple:
        return f"list of {_kind(arguments[0], [])}".replace("of table", "of tables")
    if issubclass(annotation, BaseModel):
        return "table"
    return ", ".join([NAMES[annotation], *_limits(limits)])


def _limits(limits: list[Any]) -> list[str]:
    """Limits in words. Names and patterns need none: a mistake is told in words."""
    found: dict[str, Any] = {}
    for limit in limits:
        for holder in getattr(limit, "metadata", [limit]):
            found |= {key: getattr(holder, key) for key in ("ge", "gt", "le", "lt") if hasattr(holder, key)}
    return [SIGNS[key].format(f"{value:,}".removesuffix(".0")) for key, value in found.items() if value is not None]


def _default(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.default
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see below"
    shown = json.dumps(value if not isinstance(value, Path) else str(value), default=_plain, ensure_ascii=False)
    if len(shown) > LONGEST_DEFAULT:
        return "see below" if "lesson" in shown else "[defaults.toml](../../server/sojourn_server/defaults.toml)"
    return code(shown)


def _plain(value: Any) -> Any:
    return value.model_dump(mode="json") if isinstance(value, BaseModel) else str(value)
