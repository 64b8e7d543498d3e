"""What every journal must keep to: one list of rules, run against each implementation.

A rule is a function of an open, empty journal; it raises AssertionError where the journal breaks it. Another
implementation passes `RULES` by an adapter of its own: see `tests/journal/test_journals.py`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sojourn.v1 import journal_pb2, router_pb2, types_pb2
from sojourn_server.errors import JournalUnavailable
from sojourn_server.journal.journal import (
    BODIES,
    Appended,
    Journal,
    decision_key,
    late_outcome_key,
    terminal_key,
    turn_key,
)

Record = journal_pb2.JournalRecord
Rule = Callable[[Journal], None]
RACERS = 16
WAIT_S = 20.0


def decision(episode_id: str, turn_index: int = 0, *, attempt: int = 0, policy: str = "default", **body: Any) -> Record:
    """A decision's record; `model` tells records of one key apart."""
    request = router_pb2.DecideRequest(episode_id=episode_id, turn_index=turn_index, attempt=attempt)
    answer = router_pb2.DecideResponse(**body)
    return Record(
        policy=policy, episode_id=episode_id, decision=journal_pb2.DecisionRecord(request=request, answer=answer)
    )


def turn(episode_id: str, turn_index: int = 0, *, late: bool = False) -> Record:
    """The record of a turn's report."""
    request = router_pb2.ReportTurnRequest(episode_id=episode_id, turn_index=turn_index)
    return Record(policy="default", episode_id=episode_id, turn=journal_pb2.TurnRecord(request=request, late=late))


def outcome(episode_id: str, score: float = 1.0, *, late: bool = False, policy: str = "default") -> Record:
    """An outcome's record."""
    request = router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=score)
    body = journal_pb2.OutcomeRecord(request=request, late=late)
    return Record(policy=policy, episode_id=episode_id, outcome=body)


def expired(episode_id: str) -> Record:
    """The record of a window that passed."""
    return Record(policy="default", episode_id=episode_id, episode_expired=journal_pb2.EpisodeExpiredRecord())


def model_put(name: str) -> Record:
    """An administrator's record, which has no key."""
    return Record(model_put=journal_pb2.ModelPutRecord(model=types_pb2.Model(name=name)))


def positions(records: list[Record]) -> list[int]:
    """Where records stand."""
    return [record.position for record in records]


def put(journal: Journal, record: Record, *, durable: bool = False) -> Appended:
    """Appends a record and waits for its place."""
    return journal.append(record, durable=durable, placed=True)


def paged(read: Callable[[int], list[Record]]) -> Iterator[Record]:
    """All pages of a read that goes on after a position."""
    after = 0
    while records := read(after):
        yield from records
        after = records[-1].position


# --- Order ---


def an_empty_journal_has_no_position_and_no_records(journal: Journal) -> None:
    """Nothing is there, and asking for it is no error."""
    assert journal.position() == 0
    assert journal.read(0) == []
    assert journal.get(terminal_key("default", "e")) is None
    assert journal.episode("default", "e") == []
    assert journal.openings("default") == []


def positions_count_from_one_without_gaps_in_the_order_of_commits(journal: Journal) -> None:
    """Whatever the kind of record, and whether or not a key was refused in between."""
    first = [put(journal, r).position for r in (model_put("a"), decision("e"), turn("e"))]
    put(journal, decision("e"))
    last = [put(journal, r).position for r in (outcome("e"), model_put("b"))]
    assert first + last == [1, 2, 3, 4, 5]
    assert journal.position() == 5
    assert positions(journal.read(0)) == [1, 2, 3, 4, 5]


def a_record_comes_back_as_it_was_with_its_position(journal: Journal) -> None:
    """Fields, late marks, times and reporters included."""
    record = decision("e", 3, attempt=1, model="m", propensity=0.1)
    record.received_at_ms, record.reporter = 17, "token"
    position = put(journal, record).position
    record.position = position
    assert journal.read(0) == [record]
    assert journal.get(decision_key("default", "e", 3, 1)) == record
    assert journal.episode("default", "e") == [record]


def a_record_is_not_aliased_by_the_message_that_was_appended(journal: Journal) -> None:
    """Later changes to a message of the caller, or to one that was read, change nothing in the journal."""
    record = decision("e", model="m")
    put(journal, record)
    record.decision.answer.model = "changed"
    journal.read(0)[0].decision.answer.model = "changed too"
    assert journal.read(0)[0].decision.answer.model == "m"


def a_position_never_appears_behind_one_that_was_read(journal: Journal) -> None:
    """A reader that polls while many threads append misses nothing."""
    total = 200
    seen: list[int] = []
    with ThreadPoolExecutor(8) as threads:
        work = [threads.submit(put, journal, decision(f"e{i}"), durable=i % 7 == 0) for i in range(total)]
        while len(seen) < total:
            seen += positions(journal.read(seen[-1] if seen else 0, limit=11))
        assert sorted(w.result(WAIT_S).position for w in work) == list(range(1, total + 1))
    assert seen == list(range(1, total + 1))


def a_record_is_found_by_its_names_before_it_has_a_place(journal: Journal) -> None:
    """From its commit on; its position is 0 or already the one that it keeps."""
    journal.append(decision("e", model="m"))
    journal.append(turn("e"), durable=True)
    waiting = journal.get(decision_key("default", "e", 0, 0))
    assert waiting is not None
    assert waiting.decision.answer.model == "m"
    assert [r.WhichOneof("body") for r in journal.episode("default", "e")] == ["decision", "turn"]
    assert put(journal, outcome("e")).position == 3
    assert positions(journal.episode("default", "e")) == [1, 2, 3]
    assert waiting.position in (0, 1)


def what_was_acknowledged_first_stands_first(journal: Journal) -> None:
    """Whether it was synced or not, and whoever waits for whose place."""
    for i in range(20):
        journal.append(decision(f"e{i}"), durable=i % 3 == 0)
    put(journal, model_put("a"))
    read = journal.read(0)
    assert [record.episode_id for record in read] == [*(f"e{i}" for i in range(20)), ""]
    assert positions(read) == list(range(1, 22))


# --- Idempotence ---


def the_first_record_under_a_key_stays_and_is_given_back(journal: Journal) -> None:
    """The second one, with another payload, is not stored."""
    first = put(journal, decision("e", model="first"))
    second = put(journal, decision("e", model="second"))
    assert first == Appended(1, None)
    assert second.position == 1
    assert second.first is not None
    assert second.first.decision.answer.model == "first"
    assert second.first.position == 1
    assert journal.position() == 1


def every_part_of_a_natural_key_tells_records_apart(journal: Journal) -> None:
    """Policy, episode, turn, attempt, kind of record."""
    records = [
        decision("e"),
        decision("e", 1),
        decision("e", attempt=1),
        decision("f"),
        decision("e", policy="other"),
        turn("e"),
        turn("e", 1),
        outcome("e"),
        outcome("e", late=True),
        outcome("e", policy="other"),
    ]
    assert [put(journal, r).first for r in records] == [None] * len(records)
    assert all(put(journal, r).first is not None for r in records)


def parts_of_a_key_do_not_run_together(journal: Journal) -> None:
    """Policy "a" with episode "bc" is another one than policy "ab" with episode "c"."""
    assert put(journal, outcome("bc", policy="a")).first is None
    assert put(journal, outcome("c", policy="ab")).first is None


def an_outcome_and_an_expiry_share_one_terminal_key(journal: Journal) -> None:
    """The first of them ends the episode; an outcome that is late has a key of its own."""
    put(journal, expired("e"))
    taken = put(journal, outcome("e"))
    assert taken.first is not None
    assert taken.first.HasField("episode_expired")
    assert put(journal, outcome("e", late=True)).first is None
    again = put(journal, outcome("e", late=True))
    assert again.first is not None
    assert again.first.outcome.late


def records_without_a_key_may_repeat(journal: Journal) -> None:
    """The same model may be put twice; both are records."""
    assert [put(journal, model_put("a")).first for _ in range(2)] == [None, None]
    assert journal.position() == 2


def of_many_racers_for_one_key_one_wins_and_all_learn_of_it(journal: Journal) -> None:
    """Round after round: one first record, the same for all, at the position that all are told."""
    start = threading.Barrier(RACERS)

    def race(racer: int) -> list[Appended]:
        start.wait(WAIT_S)
        return [put(journal, decision(f"e{i}", model=str(racer)), durable=racer == 0) for i in range(10)]

    with ThreadPoolExecutor(RACERS) as threads:
        rounds = list(zip(*threads.map(race, range(RACERS)), strict=True))
    for episode, attempts in enumerate(rounds):
        stored = journal.get(decision_key("default", f"e{episode}", 0, 0))
        assert stored is not None
        assert {a.position for a in attempts} == {stored.position}
        assert sum(a.first is None for a in attempts) == 1
        assert all(a.first == stored for a in attempts if a.first is not None)
    assert journal.position() == len(rounds)


# --- Reading ---


def a_key_finds_its_record_and_no_other(journal: Journal) -> None:
    """All four kinds of key."""
    for record in (decision("e", 2), turn("e", 2), expired("e"), outcome("e", late=True)):
        put(journal, record)
    keys = (decision_key("default", "e", 2, 0), turn_key("default", "e", 2), terminal_key("default", "e"))
    found = [journal.get(key) for key in (*keys, late_outcome_key("default", "e"))]
    assert [f.WhichOneof("body") if f else None for f in found] == ["decision", "turn", "episode_expired", "outcome"]
    assert journal.get(turn_key("default", "e", 3)) is None


def an_episode_is_all_its_records_in_order_and_no_others(journal: Journal) -> None:
    """Of this policy alone, late records included."""
    records = (decision("e"), decision("f"), turn("e"), decision("e", policy="other"), expired("e"))
    for record in (*records, outcome("e", late=True)):
        put(journal, record)
    assert positions(journal.episode("default", "e")) == [1, 3, 5, 6]
    assert positions(journal.episode("other", "e")) == [4]


def reading_pages_through_everything_in_order(journal: Journal) -> None:
    """Whatever the page size."""
    for i in range(23):
        put(journal, decision(f"e{i}"))
    for limit in (1, 5, 23, 100):
        pages = paged(lambda after, limit=limit: journal.read(after, limit=limit))  # type: ignore[misc]  # bound now
        assert positions(list(pages)) == list(range(1, 24))
    assert len(journal.read(0, limit=5)) == 5
    assert journal.read(23) == []


def reading_can_pick_kinds_of_records(journal: Journal) -> None:
    """Each kind alone and in company, decisions and turns as well."""
    for record in (decision("e"), turn("e"), model_put("a"), outcome("e"), decision("f"), expired("f")):
        put(journal, record)
    assert positions(journal.read(0, bodies={"outcome", "episode_expired"})) == [4, 6]
    assert positions(journal.read(4, bodies={"outcome", "episode_expired"})) == [6]
    assert positions(journal.read(0, bodies={"decision"})) == [1, 5]
    assert positions(journal.read(0, bodies={"turn", "model_put"}, limit=1)) == [2]
    assert positions(journal.read(0, bodies=set(BODIES))) == [1, 2, 3, 4, 5, 6]
    assert journal.read(0, bodies=set()) == []


def openings_are_the_first_records_of_episodes(journal: Journal) -> None:
    """Whatever kind they are of, one per episode, of one policy; administrators' records open nothing."""
    records = (model_put("a"), decision("a"), decision("a", 1), outcome("b"), decision("c", policy="other"), turn("d"))
    for record in (*records, decision("d")):
        put(journal, record)
    assert positions(journal.openings("default")) == [2, 4, 6]
    assert positions(journal.openings("other")) == [5]
    assert journal.openings("nobody") == []


def openings_page_upwards_after_and_downwards_before_a_position(journal: Journal) -> None:
    """Upwards the oldest come first, downwards the newest."""
    for i in range(6):
        put(journal, decision(f"e{i}"))
    assert positions(journal.openings("default", after=2, limit=3)) == [3, 4, 5]
    assert positions(journal.openings("default", before=5, limit=3)) == [4, 3, 2]
    assert positions(journal.openings("default", after=1, before=4)) == [3, 2]
    assert journal.openings("default", before=1) == []


# --- Closing ---


def what_is_rewritten_keeps_its_place_and_its_key(journal: Journal) -> None:
    """Other contents are found by the same key, in the same order, and the key stays taken."""
    for record in (decision("e", model="a"), decision("f"), outcome("e")):
        put(journal, record, durable=True)
    changed = journal.get(decision_key("default", "e", 0, 0))
    assert changed is not None
    changed.decision.answer.model, changed.features_erased = "b", True
    journal.rewrite([changed])
    assert journal.get(decision_key("default", "e", 0, 0)) == changed == journal.read(0, limit=1)[0]
    assert journal.episode("default", "e")[0] == changed
    assert positions(journal.openings("default")) == [1, 2]
    first = put(journal, decision("e", model="c")).first
    assert first is not None
    assert first.decision.answer.model == "b"


def an_erased_episode_opens_nothing_and_takes_nothing(journal: Journal) -> None:
    """Its records are read as erased, whatever kind they were of, and no record gets their keys."""
    for record in (decision("e"), decision("f"), outcome("e")):
        put(journal, record, durable=True)
    erased = [
        Record(position=r.position, policy="default", episode_erased=journal_pb2.EpisodeErasedRecord())
        for r in journal.episode("default", "e")
    ]
    journal.rewrite(erased)
    assert journal.episode("default", "e") == erased
    assert positions(journal.openings("default")) == [2]
    assert positions(journal.read(0, bodies={"decision", "outcome"})) == [2]
    assert positions(journal.read(0, bodies={"episode_erased"})) == [1, 3]
    assert put(journal, outcome("e")).first == erased[1]
    assert journal.position() == 3


def a_closed_journal_refuses_records(journal: Journal) -> None:
    """With JournalUnavailable, so that callers fall back; closing twice is no error."""
    put(journal, decision("e"))
    journal.close()
    journal.close()
    with pytest.raises(JournalUnavailable):
        put(journal, decision("f"))


def closing_leaves_nobody_waiting(journal: Journal) -> None:
    """Each append in flight is committed or refused."""
    start = threading.Barrier(RACERS + 1)

    def write(racer: int) -> bool:
        start.wait(WAIT_S)
        for i in range(1_000_000):
            try:
                journal.append(decision(f"e{racer}-{i}"))
            except JournalUnavailable:
                return True
        return False

    with ThreadPoolExecutor(RACERS) as threads:
        work = [threads.submit(write, racer) for racer in range(RACERS)]
        start.wait(WAIT_S)
        journal.close()
        assert all(w.result(WAIT_S) for w in work)


RULES: tuple[Rule, ...] = (
    an_empty_journal_has_no_position_and_no_records,
    positions_count_from_one_without_gaps_in_the_order_of_commits,
    a_record_comes_back_as_it_was_with_its_position,
    a_record_is_not_aliased_by_the_message_that_was_appended,
    a_position_never_appears_behind_one_that_was_read,
    a_record_is_found_by_its_names_before_it_has_a_place,
    what_was_acknowledged_first_stands_first,
    the_first_record_under_a_key_stays_and_is_given_back,
    every_part_of_a_natural_key_tells_records_apart,
    parts_of_a_key_do_not_run_together,
    an_outcome_and_an_expiry_share_one_terminal_key,
    records_without_a_key_may_repeat,
    of_many_racers_for_one_key_one_wins_and_all_learn_of_it,
    a_key_finds_its_record_and_no_other,
    an_episode_is_all_its_records_in_order_and_no_others,
    reading_pages_through_everything_in_order,
    reading_can_pick_kinds_of_records,
    openings_are_the_first_records_of_episodes,
    openings_page_upwards_after_and_downwards_before_a_position,
    what_is_rewritten_keeps_its_place_and_its_key,
    an_erased_episode_opens_nothing_and_takes_nothing,
    a_closed_journal_refuses_records,
    closing_leaves_nobody_waiting,
)
