"""The contract's reference, from the descriptors and comments that protoc reads out of proto/."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import grpc
from google.protobuf.descriptor_pb2 import (
    DescriptorProto,
    EnumDescriptorProto,
    FieldDescriptorProto,
    FileDescriptorProto,
    FileDescriptorSet,
    ServiceDescriptorProto,
)
from grpc_tools import protoc

from docs.site.elements import ROOT, Element, cell, code, head
from sojourn_server.errors import SojournError
from sojourn_server.rpc.edge import CODES

Comments = Mapping[tuple[int, ...], str]
# Numbers of the fields of FileDescriptorProto and below, of which paths in SourceCodeInfo consist.
PACKAGE, MESSAGE, ENUM, SERVICE = 2, 4, 5, 6
METHOD = FIELD = VALUE = 2
ONEOF = 8
RETRIED = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED)


class Part(NamedTuple):
    """An RPC, field or value, with its type as it is shown."""

    name: str
    type: str
    said: str


class Type(NamedTuple):
    """A service, message or enum with its comment, parts, and oneofs (name, comment)."""

    kind: str
    name: str
    said: str
    parts: Sequence[Part]
    oneofs: Sequence[tuple[str, str]] = ()


class File(NamedTuple):
    """A file of the contract."""

    name: str
    said: str
    types: Sequence[Type]


@cache
def files() -> list[File]:
    """The contract's files: the hot path first. Raises RuntimeError if protoc refuses them."""
    paths = sorted((ROOT / "proto" / "sojourn" / "v1").glob("*.proto"), key=lambda path: path.stem != "router")
    with tempfile.TemporaryDirectory() as folder:
        image = Path(folder) / "image"
        options = [f"--proto_path={ROOT / 'proto'}", "--include_source_info", f"--descriptor_set_out={image}"]
        if protoc.main(["protoc", *options, *map(str, paths)]):
            raise RuntimeError("protoc refuses the contract")
        read = FileDescriptorSet.FromString(image.read_bytes())
    named = {Path(file.name).name: file for file in read.file}
    return [_file(path.name, named[path.name]) for path in paths]


def elements() -> Iterator[Element]:
    """All that the contract names."""
    parts = {"service": "RPC", "message": "field", "enum": "enum value"}
    for file in files():
        yield Element("proto file", file.name, file.said)
        for each in file.types:
            yield Element(each.kind, each.name, each.said)
            yield from (Element(parts[each.kind], f"{each.name}.{part.name}", part.said) for part in each.parts)
            yield from (Element("oneof", f"{each.name}.{name}", said) for name, said in each.oneofs)


def page() -> str:
    """The contract as Markdown."""
    about = (
        "All of `sojourn.v1`, as [proto/sojourn/v1](../../proto/sojourn/v1) says it. Absent fields have the meaning "
        "that their comment gives; `optional` marks scalars whose zero means something else than absence. Enum values "
        "are shown without their type's prefix. [Errors](errors.md) has the statuses."
    )
    sections = [f"## {file.name}\n\n{file.said}\n\n{chr(10).join(map(_section, file.types))}" for file in files()]
    return head("The contract", about) + "\n" + "\n".join(sections)


def errors_page() -> str:
    """Error reasons and statuses as Markdown."""
    (reasons,) = (each for file in files() for each in file.types if each.name == "ErrorReason")
    rows = ["| reason | status | again? | when |", "| --- | --- | --- | --- |"]
    codes = {error.reason: status for error, status in _codes().items()}
    for part in reasons.parts:
        if part.name != "UNSPECIFIED":
            status = codes[part.name]
            retry = "yes, after RetryInfo's delay" if status in RETRIED else "no"
            rows.append(f"| {code(part.name)} | {code(status.name)} | {retry} | {cell(part.said)} |")
    about = (
        "Every refusal carries a `google.rpc.ErrorInfo` with domain `sojourn.v1` and one of these reasons; a "
        "malformed field is named in a `google.rpc.BadRequest`. `INTERNAL` is a fault of ours, and is logged as "
        "[call_failed](../operations.md#call_failed). Which RPC answers what stands in [the contract](contract.md)."
    )
    return head("Errors", about) + "\n" + "\n".join(rows) + "\n"


def _codes() -> Mapping[type[SojournError], grpc.StatusCode]:
    return CODES


def _file(name: str, file: FileDescriptorProto) -> File:
    said = {
        tuple(place.path): " ".join(place.leading_comments.split())
        for place in file.source_code_info.location
        if place.leading_comments
    }
    types = [
        *(_service(each, said, (SERVICE, i)) for i, each in enumerate(file.service)),
        *(_message(each, said, (MESSAGE, i)) for i, each in enumerate(file.message_type)),
        *(_enum(each, said, (ENUM, i)) for i, each in enumerate(file.enum_type)),
    ]
    return File(name, said.get((PACKAGE,), ""), types)


def _service(service: ServiceDescriptorProto, said: Comments, at: tuple[int, ...]) -> Type:
    methods = [
        Part(
            rpc.name,
            f"{'stream ' * rpc.client_streaming}{_link(rpc.input_type)} → "
            f"{'stream ' * rpc.server_streaming}{_link(rpc.output_type)}",
            said.get((*at, METHOD, i), ""),
        )
        for i, rpc in enumerate(service.method)
    ]
    return Type("service", service.name, said.get(at, ""), methods)


def _message(message: DescriptorProto, said: Comments, at: tuple[int, ...]) -> Type:
    maps = {nested.name: nested.field for nested in message.nested_type if nested.options.map_entry}
    if len(maps) != len(message.nested_type) or message.enum_type:
        raise NotImplementedError(f"{message.name} has a type of its own within, which no page shows yet")
    fields = [
        Part(field.name, _type(field, maps), said.get((*at, FIELD, i), "")) for i, field in enumerate(message.field)
    ]
    shown = {f.oneof_index for f in message.field if f.HasField("oneof_index") and not f.proto3_optional}
    oneofs = [(message.oneof_decl[i].name, said.get((*at, ONEOF, i), "")) for i in sorted(shown)]
    return Type("message", message.name, said.get(at, ""), fields, oneofs)


def _enum(enum: EnumDescriptorProto, said: Comments, at: tuple[int, ...]) -> Type:
    prefix = enum.value[0].name.removesuffix("UNSPECIFIED")
    values = [
        Part(value.name.removeprefix(prefix), str(value.number), said.get((*at, VALUE, i), ""))
        for i, value in enumerate(enum.value)
    ]
    return Type("enum", enum.name, said.get(at, ""), values)


def _type(field: FieldDescriptorProto, maps: Mapping[str, Sequence[FieldDescriptorProto]]) -> str:
    name = field.type_name.rpartition(".")[2]
    if name in maps:
        key, value = (_type(part, {}) for part in maps[name])
        return f"map of {key} to {value}"
    shown = _link(field.type_name) if name else code(FieldDescriptorProto.Type.Name(field.type)[5:].lower())
    if field.label == FieldDescriptorProto.LABEL_REPEATED:
        return f"list of {shown}"
    return f"{shown}, optional" if field.proto3_optional else shown


def _link(type_name: str) -> str:
    name = type_name.rpartition(".")[2]
    return f"[{name}](#{name.lower()})"


def _section(each: Type) -> str:
    lines = [f"### {each.name}", "", each.said, ""]
    if each.kind == "service":
        for rpc in each.parts:
            lines += [f"#### {rpc.name}", "", rpc.type, "", rpc.said, ""]
        return "\n".join(lines)
    for name, said in each.oneofs:
        lines += [f"One of `{name}`: {said}", ""]
    if each.parts:
        lines += ["| field | type | meaning |" if each.kind == "message" else "| value | number | meaning |"]
        lines += ["| --- | --- | --- |"]
        lines += [f"| {code(part.name)} | {part.type} | {cell(part.said)} |" for part in each.parts]
        lines.append("")
    return "\n".join(lines)
