"""`python deploy/envoy/descriptors.py`: writes sojourn.binpb, by which Envoy turns JSON into the contract's messages.

It also holds the details of errors (google.rpc), which the contract itself does not import.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from google.protobuf.descriptor import FileDescriptor
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from google.rpc import error_details_pb2, status_pb2  # type: ignore[import-untyped]  # ships no py.typed

from sojourn.v1 import admin_pb2, router_pb2

DESCRIPTORS = Path(__file__).with_name("sojourn.binpb")


def descriptors() -> bytes:
    """A serialised google.protobuf.FileDescriptorSet; each file comes after those that it imports."""
    files: dict[str, FileDescriptor] = {}
    for module in (router_pb2, admin_pb2, status_pb2, error_details_pb2):
        for file in _with_imports(module.DESCRIPTOR):
            files.setdefault(file.name, file)
    found = FileDescriptorSet()
    for file in files.values():
        file.CopyToProto(found.file.add())
    return found.SerializeToString(deterministic=True)


def _with_imports(file: FileDescriptor) -> Iterator[FileDescriptor]:
    for imported in file.dependencies:
        yield from _with_imports(imported)
    yield file


if __name__ == "__main__":
    DESCRIPTORS.write_bytes(descriptors())
