"""An episode that is erased on request leaves its places, and what it taught stays unless a rebuild is asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from sojourn.v1 import admin_pb2
from sojourn_server.errors import EpisodeEnded, EpisodeOpen, JournalUnavailable, LessonsErased, UnknownEpisode
from sojourn_server.evaluation.savings import read_assigned
from sojourn_server.upkeep import administration
from tests.learner.workshop import POLICY, Workshop, predictions, same
from tests.upkeep.conftest import OLD_EPISODES
from tests.upkeep.test_retention import ended_at, folded, retain, state, without_snapshots


def erase(workshop: Workshop, episode_id: str, *, rebuild: bool = False) -> int:
    request = admin_pb2.EraseEpisodeRequest(episode_id=episode_id, rebuild=rebuild)
    return workshop.admin.erase_episode(request, workshop.call())


def test_places_stay_and_contents_go(workshop: Workshop, tmp_path: Path):
    workshop.end("open", 1.0)
    workshop.settle()
    count, before = len(workshop.journal.episode(POLICY, "open")), workshop.journal.position()
    assert erase(workshop, "open") == count == 2
    left = workshop.journal.episode(POLICY, "open")
    assert [(r.WhichOneof("body"), r.episode_id, r.reporter) for r in left] == [("episode_erased", "", "")] * 2
    assert workshop.journal.position() == before + 1
    for path in (tmp_path / "journal").iterdir():
        assert b"secret_tool" not in path.read_bytes(), path
    assert "open" not in {r.episode_id for r in workshop.journal.openings(POLICY)}
    assert len(list(read_assigned(workshop.journal, POLICY))) == OLD_EPISODES


def test_what_it_taught_stays_and_is_rebuilt_bit_for_bit(workshop: Workshop):
    before = workshop.settle()
    erase(workshop, "e4")
    assert same(folded(workshop), before)
    workshop.play_many(3, first=50)
    live = workshop.settle()
    assert same(folded(workshop), live)
    without_snapshots(workshop)
    assert same(workshop.settle(), live)


def test_with_rebuild_it_has_taught_nothing(workshop: Workshop):
    before = workshop.settle()
    erase(workshop, "e4", rebuild=True)
    live = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version > before.version)
    assert live.statistics.episodes == OLD_EPISODES - 1
    assert predictions(live) != predictions(before)
    assert predictions(folded(workshop)) == predictions(live)
    without_snapshots(workshop)
    assert predictions(workshop.settle()) == predictions(live)


def test_going_back_behind_it_rebuilds_without_it(workshop: Workshop):
    """An own base is taken back by an exclusion that reaches behind it; what was erased cannot come back with it."""
    erase(workshop, "e4")
    middle = ended_at(workshop, "e6")
    position = workshop.admin.roll_back(POLICY, middle, workshop.call())
    live = workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= position)
    assert live.statistics.episodes == 6  # e0 to e6 without e4
    assert predictions(folded(workshop)) == predictions(live)


def test_nothing_can_be_added_to_it(workshop: Workshop):
    erase(workshop, "e4")
    for again in (
        lambda: workshop.decide("e4", 0),
        lambda: workshop.decide("e4", 7),
        lambda: workshop.report("e4", 2, cost_usd=1.0),
        lambda: workshop.end("e4", 1.0),
    ):
        with pytest.raises(EpisodeEnded, match="erased"):
            again()
    with pytest.raises(UnknownEpisode, match="erased"):
        workshop.admin.episode(POLICY, "e4")
    with pytest.raises(UnknownEpisode, match="erased"):
        erase(workshop, "e4")


def test_only_an_ended_episode_can_be_erased(workshop: Workshop):
    with pytest.raises(EpisodeOpen, match="report one"):
        erase(workshop, "open")
    with pytest.raises(UnknownEpisode):
        erase(workshop, "nobody's")


def test_an_expired_episode_can_be_erased(workshop: Workshop):
    workshop.now_ms += 86_400_000
    workshop.wait_for(lambda: "open" in workshop.audience.expired_episodes)
    workshop.wait_for(lambda: workshop.audience.published_versions[-1].version >= workshop.journal.position())
    assert erase(workshop, "open") == 2
    assert same(folded(workshop), workshop.settle())


def test_after_retention_it_can_be_erased_but_not_rebuilt(workshop: Workshop):
    retain(workshop)
    with pytest.raises(LessonsErased, match="rebuild"):
        erase(workshop, "e4", rebuild=True)
    before, end = workshop.settle(), workshop.journal.position()
    assert erase(workshop, "e4") == 7
    assert workshop.journal.position() == end  # no base was needed
    assert same(folded(workshop), before)


def test_retention_after_it_keeps_its_effect(workshop: Workshop):
    erase(workshop, "e4")
    before = workshop.settle()
    workshop.play_many(3, first=50)
    live = workshop.settle()
    assert retain(workshop) == 6 * (OLD_EPISODES - 1 + 3)
    assert state(workshop).erased_through == ended_at(workshop, "e52")
    assert same(folded(workshop), live)
    assert not same(before, live)


def test_until_the_learner_has_stored_what_it_taught_the_caller_is_told_to_come_back(
    workshop: Workshop, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(administration, "_PATIENCE_S", 0.1)
    monkeypatch.setattr(workshop.store, "versions", lambda policy: [])
    with pytest.raises(JournalUnavailable, match="no snapshot is stored yet"):
        erase(workshop, "e4")
    assert len(workshop.admin.episode(POLICY, "e4")) == 7
