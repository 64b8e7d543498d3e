"""What SQLite's journal promises beyond the rules: it survives, it refuses what it cannot keep, it comes back."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from sojourn_server.errors import JournalUnavailable, StartRefused
from sojourn_server.journal.disk import SCHEMA_VERSION
from sojourn_server.journal.journal import decision_key
from sojourn_server.journal.sqlite import SqliteJournal
from tests.conformance.journal import decision, outcome, positions

FILE = "journal.sqlite3"


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[SqliteJournal]:
    """An open, empty journal."""
    opened = SqliteJournal.open(tmp_path)
    yield opened
    opened.close()


@contextmanager
def full_disk(journal: SqliteJournal) -> Iterator[None]:
    """No page can be added meanwhile: SQLite answers "database or disk is full"."""
    connection = journal._connection
    (unlimited,) = connection.execute("PRAGMA max_page_count").fetchone()
    (pages,) = connection.execute("PRAGMA page_count").fetchone()
    connection.execute(f"PRAGMA max_page_count={pages}")
    yield
    connection.execute(f"PRAGMA max_page_count={unlimited}")


def fill(journal: SqliteJournal, name: str, most: int = 200) -> list[int]:
    """Appends ever smaller decisions until not even an empty one is taken; positions of the acknowledged ones."""
    acknowledged: list[int] = []
    sizes = [500, 100, 0]
    while sizes and len(acknowledged) < most:
        try:
            record = decision(f"{name}{len(acknowledged)}", model="m" * sizes[0])
            acknowledged.append(journal.append(record).position)
        except JournalUnavailable:
            sizes.pop(0)
    return acknowledged


def test_records_survive_closing_and_positions_go_on(tmp_path: Path):
    with_two = SqliteJournal.open(tmp_path)
    with_two.append(decision("e", model="m"))
    with_two.append(outcome("e"), durable=True)
    kept = with_two.read(0)
    with_two.close()
    again = SqliteJournal.open(tmp_path)
    assert again.read(0) == kept
    assert again.append(decision("f")).position == 3
    assert again.append(outcome("e")).first == kept[1]
    again.close()


def test_every_acknowledged_record_survives_a_killed_process(tmp_path: Path):
    """The child says what was acknowledged and is killed amid its appends."""
    child = (
        "import sys\n"
        "from pathlib import Path\n"
        "from sojourn_server.journal.sqlite import SqliteJournal\n"
        "from tests.conformance.journal import decision\n"
        "journal = SqliteJournal.open(Path(sys.argv[1]))\n"
        "for i in range(1_000_000):\n"
        "    print(journal.append(decision(f'e{i}')).position, flush=True)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", child, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    with process, process.stdout as lines:
        acknowledged = [int(next(lines)) for _ in range(300)]
        process.kill()
        acknowledged += [int(line) for line in lines if line.endswith("\n")]
    journal = SqliteJournal.open(tmp_path)
    for position in acknowledged:
        assert journal.get(decision_key("default", f"e{position - 1}", 0, 0)) is not None
    assert positions(journal.read(0, limit=10**6)) == list(range(1, journal.position() + 1))
    journal.close()


def test_a_second_opener_is_refused_until_the_first_lets_go(journal: SqliteJournal, tmp_path: Path):
    with pytest.raises(StartRefused, match="another server holds the journal"):
        SqliteJournal.open(tmp_path)
    journal.append(decision("e"))
    journal.close()
    second = SqliteJournal.open(tmp_path)
    assert second.position() == 1
    second.close()


def test_a_reader_beside_the_server_sees_what_is_committed_and_appends_nothing(journal: SqliteJournal, tmp_path: Path):
    journal.append(decision("e"))
    reader = SqliteJournal.open_read_only(tmp_path)
    journal.append(decision("f"))
    assert positions(reader.read(0)) == [1, 2]
    with pytest.raises(JournalUnavailable):
        reader.append(decision("g"))
    reader.close()
    assert journal.append(decision("h")).position == 3


def test_a_newer_schema_is_refused_with_what_to_do_and_left_as_it_is(tmp_path: Path):
    SqliteJournal.open(tmp_path).close()
    with sqlite3.connect(tmp_path / FILE) as connection:
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    connection.close()
    with pytest.raises(StartRefused, match=f"schema version {SCHEMA_VERSION + 1}.*start the release that wrote it"):
        SqliteJournal.open(tmp_path)
    with sqlite3.connect(tmp_path / FILE) as connection:
        assert connection.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION + 1,)
        connection.execute(f"PRAGMA user_version={SCHEMA_VERSION}")
    connection.close()
    SqliteJournal.open(tmp_path).close()


def test_a_file_that_is_no_journal_is_refused(tmp_path: Path):
    (tmp_path / FILE).write_bytes(b"not a database" * 1000)
    with pytest.raises(StartRefused, match=FILE):
        SqliteJournal.open(tmp_path)


def test_a_directory_that_cannot_be_made_is_refused(tmp_path: Path):
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(StartRefused, match="taken"):
        SqliteJournal.open(tmp_path / "taken" / "journal")


def test_a_full_disk_refuses_records_and_loses_none_that_were_acknowledged(journal: SqliteJournal):
    with full_disk(journal):
        acknowledged = fill(journal, "before")
        with pytest.raises(JournalUnavailable, match="full"):
            journal.append(outcome("e"), durable=True)
        assert positions(journal.read(0)) == acknowledged
    after = fill(journal, "after", most=3)
    assert positions(journal.read(0)) == acknowledged + after == list(range(1, len(acknowledged) + 4))


def test_a_refused_record_can_be_repeated_once_the_disk_is_back(journal: SqliteJournal):
    with full_disk(journal):
        refused = len(fill(journal, "e"))
    appended = journal.append(decision(f"e{refused}", model="again"))
    assert appended.first is None
    found = journal.get(decision_key("default", f"e{refused}", 0, 0))
    assert found is not None
    assert found.decision.answer.model == "again"


def test_a_broken_connection_is_refused_to_everybody_and_replaced(journal: SqliteJournal, tmp_path: Path):
    """While not even a new connection can be made nobody waits in vain; then the journal goes on by itself."""
    journal.append(decision("e"))
    journal._connection.close()
    away = tmp_path.rename(tmp_path.with_name("away"))
    for name in ("f", "g"):
        with pytest.raises(JournalUnavailable):
            journal.append(decision(name))
    away.rename(tmp_path)
    fill(journal, "h", most=1)  # this one may still find the broken connection, but leaves a new one
    kept = journal.position()
    assert journal.append(decision("i")).position == kept + 1


def test_an_outcome_is_committed_with_a_full_sync_and_a_decision_without(journal: SqliteJournal):
    """Read from the statements that the writer gives to SQLite."""
    statements: list[str] = []
    journal._connection.set_trace_callback(statements.append)
    level = {"PRAGMA synchronous=FULL": "FULL", "PRAGMA synchronous=NORMAL": "NORMAL"}

    def levels_at_commit(durable: bool, name: str) -> list[str]:
        statements.clear()
        now, found = "NORMAL", []
        journal.append(decision(name), durable=durable)
        journal.append(decision(name + "'"), durable=False)
        for statement in statements:
            now = level.get(statement, now)
            if statement == "COMMIT" or "INSERT" in statement:  # one record alone is a transaction by itself
                found.append(now)
        return found

    assert levels_at_commit(True, "a") == ["FULL", "NORMAL"]
    assert levels_at_commit(False, "b") == ["NORMAL", "NORMAL"]
    assert journal._connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)


def test_after_a_refused_outcome_the_next_decision_does_not_pay_for_its_sync(journal: SqliteJournal):
    with full_disk(journal):
        fill(journal, "e")
        with pytest.raises(JournalUnavailable):
            journal.append(outcome("x" * 100), durable=True)
    journal.append(decision("next"))
    (level,) = journal._connection.execute("PRAGMA synchronous").fetchone()
    assert level == 1


def test_reads_of_a_closed_journal_say_that_it_is_unavailable(tmp_path: Path):
    journal = SqliteJournal.open(tmp_path)
    journal.append(decision("e"))
    journal.close()
    for read in (journal.position, lambda: journal.read(0), lambda: journal.episode("default", "e")):
        with pytest.raises(JournalUnavailable):
            read()
