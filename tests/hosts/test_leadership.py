"""The fence: whoever leads no more places nothing and stores nothing, whatever it believes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest

from sojourn.v1 import snapshot_pb2
from sojourn_server.errors import BrokenSnapshot, JournalUnavailable
from sojourn_server.hosts import leadership as leadership_module
from sojourn_server.hosts.leadership import Leadership
from sojourn_server.hosts.postgres import PostgresJournal
from sojourn_server.hosts.snapshots import PostgresSnapshots
from tests.conformance.journal import decision, positions, put
from tests.hosts.hosts import ask, cut_off_the_leader, leading, wait_until


@pytest.fixture
def journals(dsn: str) -> Iterator[tuple[PostgresJournal, PostgresJournal]]:
    """One journal as two hosts see it; nobody leads yet."""
    with closing(PostgresJournal.open(dsn)) as one, closing(PostgresJournal.open(dsn)) as other:
        yield one, other


def elected(journal: PostgresJournal, name: str) -> Leadership:
    """A candidate without a thread, as it is once it has won."""
    candidate = Leadership(journal.database, name)
    assert candidate._campaign()
    return candidate


def snapshot(position: int, text: str) -> snapshot_pb2.Snapshot:
    return snapshot_pb2.Snapshot(policy="default", position=position, lesson_digest=text)


def test_only_one_candidate_leads_until_it_lets_go(journals: tuple[PostgresJournal, PostgresJournal]):
    first, second = elected(journals[0], "first"), Leadership(journals[1].database, "second")
    assert not second._campaign()
    first.start()
    first.close()
    assert second._campaign()
    assert second.term == first.term + 1 == 2


def test_a_leader_that_was_cut_off_stores_no_snapshot_and_places_no_record(
    journals: tuple[PostgresJournal, PostgresJournal], dsn: str
):
    """It still believes to lead, as after a pause; the other one's term has begun."""
    old = elected(journals[0], "old")
    old_store = PostgresSnapshots.over(journals[0].database, keep=3).of_term(old.term)
    old_store.save(snapshot(1, "of the old leader"))
    cut_off_the_leader(dsn)
    new = elected(journals[1], "new")
    new_store = PostgresSnapshots.over(journals[1].database, keep=3).of_term(new.term)
    new_store.save(snapshot(2, "of the new leader"))
    with pytest.raises(JournalUnavailable, match="another host leads"):
        old_store.save(snapshot(2, "of the old leader"))
    journals[0].append(decision("e"))
    with pytest.raises(JournalUnavailable, match="another host leads"):
        old.place()
    assert positions(journals[0].read(0)) == []
    new.place()
    assert positions(journals[0].read(0)) == [1]
    assert new_store.load("default", 2).lesson_digest == "of the new leader"
    assert new_store.versions("default") == [2, 1]


def test_a_deposed_leader_campaigns_again_and_does_no_harm(dsn: str):
    with leading(dsn) as one, leading(dsn) as other:
        put(one, decision("a"))
        cut_off_the_leader(dsn)
        put(other, decision("b"))
        put(one, decision("c"))
        assert [r.episode_id for r in one.read(0)] == ["a", "b", "c"]


def test_a_leader_that_stands_still_is_out_after_a_while(
    journals: tuple[PostgresJournal, PostgresJournal], monkeypatch: pytest.MonkeyPatch
):
    """As one whose process is frozen: it asks nothing of its session."""
    monkeypatch.setattr(leadership_module, "_SETTINGS", {"idle_session_timeout": "300ms"})
    elected(journals[0], "frozen")
    other = Leadership(journals[1].database, "other")
    assert not other._campaign()
    wait_until(other._campaign)


def test_nobody_stores_a_snapshot_in_a_term_that_never_was(journals: tuple[PostgresJournal, PostgresJournal]):
    elected(journals[0], "first")
    for term in (0, 2):
        with pytest.raises(JournalUnavailable):
            PostgresSnapshots.over(journals[0].database, keep=1).of_term(term).save(snapshot(1, ""))


def test_the_newest_snapshots_are_kept_and_damaged_or_missing_ones_are_broken(
    journals: tuple[PostgresJournal, PostgresJournal], dsn: str
):
    store = PostgresSnapshots.over(journals[0].database, keep=2).of_term(elected(journals[0], "first").term)
    for position in (1, 2, 3):
        store.save(snapshot(position, f"at {position}"))
    assert store.versions("default") == [3, 2]
    assert store.newest(["default"]) == {"default": 3}
    assert store.load("default", 2) == snapshot(2, "at 2")
    with pytest.raises(BrokenSnapshot, match="no version 1"):
        store.load("default", 1)
    ask(dsn, "UPDATE snapshots SET snapshot = substring(snapshot FROM 1 FOR 45) WHERE position = 3")
    with pytest.raises(BrokenSnapshot, match="truncated"):
        store.load("default", 3)


def test_places_go_on_from_partition_to_partition(dsn: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(leadership_module, "MAX_PLACED", 4)
    monkeypatch.setattr(leadership_module, "PARTITION_POSITIONS", 10)
    with leading(dsn) as journal:
        for i in range(25):
            journal.append(decision(f"e{i}"))
        put(journal, decision("last"))
        assert positions(journal.read(0)) == list(range(1, 27))
        assert positions(journal.openings("default", before=20, limit=3)) == [19, 18, 17]
    sizes = ask(dsn, "SELECT tableoid::regclass::text AS name, count(*) FROM journal GROUP BY 1 ORDER BY 1")
    assert [tuple(row) for row in sizes] == [("journal_0", 10), ("journal_1", 10), ("journal_2", 6)]


def test_a_record_that_waits_is_placed_by_the_next_leader(journals: tuple[PostgresJournal, PostgresJournal]):
    journals[0].append(decision("e"), durable=True)
    assert positions(journals[1].episode("default", "e")) == [0]
    candidate = Leadership(journals[1].database, "late")
    candidate.start()
    wait_until(lambda: positions(journals[0].read(0)) == [1])
    candidate.close()
