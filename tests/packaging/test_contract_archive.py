"""The contract's archive is enough to call the router: stubs are made from it alone, and one decides with them."""

from __future__ import annotations

import json
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from deploy import release
from deploy.release import NotReleasable, check_image, proto_archive, version
from sojourn_server.app import App
from tests.packaging.environments import link_dependencies

CALLER = """
import json, sys
import grpc
import sojourn.v1
from sojourn.v1 import router_pb2, router_pb2_grpc, types_pb2

request = router_pb2.DecideRequest(episode_id="by hand", context=types_pb2.Context(tool_type="search"))
with grpc.insecure_channel(sys.argv[1]) as channel:
    answer = router_pb2_grpc.RouterServiceStub(channel).Decide(request, timeout=20)
print(json.dumps({"model": answer.model, "stubs": list(sojourn.v1.__path__)}))
"""


@pytest.fixture
def unpacked(tmp_path: Path) -> Path:
    """The folder that the archive unpacks to."""
    with tarfile.open(proto_archive(tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    return tmp_path / f"sojourn-proto-{version()}"


def test_stubs_from_the_archive_alone_make_a_decision(unpacked: Path, tmp_path: Path, server: App):
    stubs = tmp_path / "stubs"
    stubs.mkdir()
    protos = sorted(path.relative_to(unpacked) for path in unpacked.rglob("*.proto"))
    out = (f"--python_out={stubs}", f"--grpc_python_out={stubs}")
    generate: list[str | Path] = [sys.executable, "-m", "grpc_tools.protoc", "--proto_path=.", *out, *protos]
    subprocess.run(generate, cwd=unpacked, check=True)
    link_dependencies(stubs)
    call = [sys.executable, "-S", "-c", CALLER, server.address]  # without site-packages, where the client's stubs are
    environment = {"PYTHONPATH": str(stubs)}
    answer = json.loads(subprocess.run(call, env=environment, capture_output=True, text=True, check=True).stdout)
    assert answer["model"] in server.router.world.registry.models
    assert answer["stubs"] == [str(stubs / "sojourn" / "v1")]


def test_it_has_the_licence_the_image_and_how_to_make_stubs(unpacked: Path):
    names = {path.name for path in unpacked.iterdir()}
    assert names == {"LICENSE", "README.md", "sojourn", f"sojourn-v{version()}.binpb"}
    assert "grpc_tools.protoc --proto_path=. " in (unpacked / "README.md").read_text("utf-8")


def test_it_is_the_same_bytes_each_time(tmp_path: Path):
    first, second = tmp_path / "first", tmp_path / "second"
    first.mkdir()
    second.mkdir()
    assert proto_archive(first).read_bytes() == proto_archive(second).read_bytes()


def test_an_image_of_another_contract_is_not_released(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    check_image()
    stale = tmp_path / "stale.binpb"
    stale.write_bytes(b"")
    monkeypatch.setattr(release, "_image", lambda: stale)
    with pytest.raises(NotReleasable):
        check_image()
