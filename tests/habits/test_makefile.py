"""The Makefile is the table of contents for maintainers: few targets, each explained."""

from __future__ import annotations

import re
import subprocess

import pytest

from tests.habits.sources import REPOSITORY

MAKEFILE = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
MOST_TARGETS = 16
NEEDED = {"help", "setup", "proto", "lint", "test", "check", "demo", "serve", "bench", "image"}


def targets(makefile: str) -> dict[str, str]:
    """Targets meant for people, with what is said of each ("" = nothing)."""
    found = re.findall(r"^([a-z][\w-]*):(?!=)[^#\n]*(?:## (.*))?$", makefile, flags=re.MULTILINE)
    return {name: text.strip() for name, text in found}


def test_targets_are_few_and_none_that_is_promised_is_missing():
    names = targets(MAKEFILE).keys()
    assert len(names) <= MOST_TARGETS
    assert names >= NEEDED


@pytest.mark.parametrize("name", targets(MAKEFILE))
def test_help_explains_every_target(name: str):
    said = targets(MAKEFILE)[name]
    shown = subprocess.run(["make", "help"], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
    assert said
    assert re.search(rf"^ +{name} +{re.escape(said)}$", shown, flags=re.MULTILINE)


@pytest.mark.parametrize("name", targets(MAKEFILE))
def test_no_file_can_shadow_a_target(name: str):
    phony = re.search(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE)
    assert phony
    assert name in phony[1].split()


def test_a_target_without_words_is_found():
    assert targets("SHELL := bash\nall: x\n\techo\nrun: ## Run\n") == {"all": "", "run": "Run"}
