"""Every journal against the one list of rules."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from sojourn_server.journal.journal import Journal
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.journal.sqlite import SqliteJournal
from tests.conformance.journal import RULES, Rule
from tests.hosts.hosts import leading


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def journal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Journal]:
    """An open, empty journal."""
    if request.param == "postgres":
        with leading(request.getfixturevalue("dsn")) as shared:
            yield shared
        return
    opened: Journal = MemoryJournal() if request.param == "memory" else SqliteJournal.open(tmp_path)
    yield opened
    opened.close()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_every_journal_keeps_the_rule(rule: Rule, journal: Journal):
    rule(journal)


def test_the_list_names_each_rule_once_and_each_rule_says_what_it_means():
    assert len({rule.__name__ for rule in RULES}) == len(RULES)
    assert all(rule.__doc__ for rule in RULES)
