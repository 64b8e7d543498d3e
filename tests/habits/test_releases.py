"""What guards a release can fail: the contract's image, the client's dependencies, versions named twice."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from tests.habits.sources import REPOSITORY

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
BUF = Path(sys.executable).with_name("buf")


def text_of(name: str) -> str:
    return (REPOSITORY / name).read_text(encoding="utf-8")


def breaking(contract: Path) -> subprocess.CompletedProcess[str]:
    """Compares a copy of the contract with the released image, as `make check` does."""
    (image,) = (REPOSITORY / "proto" / "released").glob("*.binpb")
    command: list[str | Path] = [BUF, "breaking", "--against", image]
    return subprocess.run(command, cwd=contract, capture_output=True, text=True, check=False)


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    """A copy of the contract that a test may break."""
    shutil.copytree(REPOSITORY / "proto", tmp_path / "proto")
    shutil.copy(REPOSITORY / "buf.yaml", tmp_path)
    return tmp_path


def test_the_contract_breaks_nothing_that_was_released(contract: Path):
    assert breaking(contract).stdout == ""


def test_a_removed_field_is_found(contract: Path):
    router = contract / "proto" / "sojourn" / "v1" / "router.proto"
    without, removed = re.subn(r"^  string episode_id = \d+;\n", "", router.read_text(), count=1, flags=re.MULTILINE)
    assert removed == 1
    router.write_text(without)
    answer = breaking(contract)
    assert answer.returncode != 0
    assert '"episode_id"' in answer.stdout


def test_a_field_of_another_type_is_found(contract: Path):
    router = contract / "proto" / "sojourn" / "v1" / "router.proto"
    router.write_text(router.read_text().replace("string episode_id =", "bytes episode_id =", 1))
    assert "changed type" in breaking(contract).stdout


def test_the_bare_distribution_asks_for_the_client_s_two_dependencies_alone():
    names = {re.split(r"[^\w-]", requirement)[0] for requirement in PROJECT["dependencies"]}
    assert names == {"grpcio", "protobuf"}


def test_the_image_is_built_by_the_uv_that_set_up_the_checkout():
    (version,) = re.findall(r"^UV_VERSION := (\S+)$", text_of("Makefile"), flags=re.MULTILINE)
    assert f"uv=={version}\n" in text_of("Dockerfile")


def test_the_image_leaves_out_what_a_checkout_installs_for_tests_and_benchmarks():
    syncs = re.findall(r"uv sync (.+)", text_of("Dockerfile"))
    assert len(syncs) == 2
    assert all("--no-default-groups" in sync for sync in syncs)


def test_the_changelog_tells_of_this_version():
    (newest, *_) = re.findall(r"^## \[(\d+\.\d+\.\d+)\]", text_of("CHANGELOG.md"), flags=re.MULTILINE)
    assert newest == PROJECT["version"]
