"""The code in the tutorial and in the guides runs: each page is played in a shell against a real router."""

from __future__ import annotations

import re
import shutil
import tomllib
from pathlib import Path

import pytest

from docs.site.command_line import commands
from docs.site.elements import ROOT
from tests.docs.console import Command, Terminal, is_shown, steps
from tests.ports import find_unused_port

DOCS = ROOT / "docs"
TUTORIAL = DOCS / "tutorial.md"
GUIDES = sorted((DOCS / "how-to").glob("*.md"))
PAGES = [path for path in [ROOT / "README.md", *sorted(DOCS.rglob("*.md"))] if path.parent.name != "reference"]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["optional-dependencies"]
OPTIONS = {name: {o for p in command.params for o in (*p.opts, *p.secondary_opts)} for name, command in commands()}

pytestmark = pytest.mark.timeout(600)  # a program that is started a dozen times, on a loaded machine


@pytest.fixture(scope="module")
def address() -> str:
    """Where routers serve, one after the other: the tutorial's agent is saved with it."""
    return f"127.0.0.1:{find_unused_port()}"


@pytest.fixture(scope="module")
def played(address: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the tutorial ends."""
    folder = tmp_path_factory.mktemp("tutorial")
    with Terminal(folder, address) as terminal:
        for step in steps(TUTORIAL.read_text("utf-8")):
            terminal.play(step)
    return folder


def test_the_tutorial_works(played: Path):
    assert {"agent.py", "sojourn-data", "report.html"} <= {path.name for path in played.iterdir()}


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_each_guide_works_where_the_tutorial_ends(guide: Path, played: Path, address: str, tmp_path: Path):
    with Terminal(Path(shutil.copytree(played, tmp_path / "here")), address) as terminal:
        for step in steps(guide.read_text("utf-8")):
            terminal.play(step)


def shown_commands(page: Path) -> list[str]:
    """Commands of ours in the page's console blocks, without what follows in a pipe or a comment."""
    lines = [
        line
        for block in re.findall(r"^```console\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)
        for line in block.splitlines()
    ]
    found = [re.search(r"^\$ (?:[A-Z_]+=\S+ )*(sojourn .*)", line) for line in lines]
    return [re.split(r" [#|&>]|\s{2,}", match[1])[0] for match in found if match]


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_commands_and_options_that_a_page_shows_exist(page: Path):
    for line in shown_commands(page):
        words = line.split()
        named = [" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in OPTIONS]
        assert named, line
        used = {word.partition("=")[0] for word in words if re.match(r"--?[a-z]", word)}
        assert used <= OPTIONS[named[0]] | {"--help"}, line


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_extras_that_a_page_installs_exist(page: Path):
    found = re.findall(r"sojourn\[([\w,-]+)\]", page.read_text("utf-8"))
    assert {extra for names in found for extra in names.split(",")} <= EXTRAS.keys()


@pytest.mark.parametrize(
    ("shown", "output", "right"),
    [
        ([], "anything\n", True),
        (["a b"], "a    b\n\n", True),
        (["a"], "a\nb\n", False),
        (["a", "..."], "a\nb\nc\n", True),
        (["...", "c"], "a\nb\nc\n", True),
        (["...", "b"], "a\nb\nc\n", False),
        (["a ... c"], "a b c\n", True),
        (["a ... c"], "a b\n", False),
        (["a", "c"], "a\nb\nc\n", False),
    ],
)
def test_what_is_shown_is_compared_line_by_line(shown: list[str], output: str, right: bool):
    assert is_shown(shown, output) is right


def test_code_that_nobody_would_run_is_found():
    with pytest.raises(ValueError, match="no file and no command"):
        list(steps("Look:\n\n```python\nprint(1)\n```\n"))
    assert list(steps("```console\n$ a\nb\n$ c\n```\n")) == [Command("a", ["b"]), Command("c", [])]
