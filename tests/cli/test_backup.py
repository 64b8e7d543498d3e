"""`sojourn backup`, beside a router that serves and learns."""

from __future__ import annotations

import shutil
from pathlib import Path
from threading import Event, Thread

import pytest

from sojourn_server.errors import StartRefused
from sojourn_server.upkeep.backup import back_up
from tests.cli.command import open_app, play, run, run_json


def test_a_router_starts_on_a_copy_that_was_made_while_another_one_wrote(tmp_path: Path):
    data, copy, stop, done = tmp_path / "data", tmp_path / "copy", Event(), list[str]()

    def go_on(address: str) -> None:
        while not stop.is_set():
            play(address, f"e{len(done)}", score=0.5)
            done.append(f"e{len(done)}")

    with open_app(data) as app:
        caller = Thread(target=go_on, args=(app.address,))
        caller.start()
        try:
            while len(done) < 20:
                assert caller.is_alive()
            acknowledged = list(done)
            position = back_up(data, copy)
        finally:
            stop.set()
            caller.join()
        assert app.journal.position() >= position

    with open_app(copy) as restored:
        assert restored.journal.position() >= position
        assert all(restored.journal.episode("default", e)[-1].HasField("outcome") for e in acknowledged)
        play(restored.address, "another")
    assert (copy / "draw.secret").read_bytes() == (data / "draw.secret").read_bytes()
    assert run_json("replay", "--journal", copy)["max_abs_difference"] == 0.0


def test_the_newest_snapshots_come_along(tmp_path: Path):
    with open_app(tmp_path / "data") as app:
        play(app.address, "e")
    result = run("backup", tmp_path / "copy", "--journal", tmp_path / "data")
    assert result.exit_code == 0
    assert "position" in result.stdout
    names = [{p.name for p in (tmp_path / d).rglob("*.snapshot")} for d in ("data", "copy")]
    assert names[0] == names[1] != set()


def test_a_backup_is_whole_or_not_there(tmp_path: Path):
    with open_app(tmp_path / "data") as app:
        play(app.address, "e")
    journal = tmp_path / "data" / "journal.sqlite3"
    content = bytearray(journal.read_bytes())
    content[5000:9000] = bytes(4000)
    journal.write_bytes(content)
    with pytest.raises(StartRefused, match=r"damaged|malformed"):
        back_up(tmp_path / "data", tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_nothing_is_overwritten_and_a_missing_journal_is_said(tmp_path: Path):
    with open_app(tmp_path / "data"):
        pass
    (tmp_path / "copy").mkdir()
    there = run("backup", tmp_path / "copy", "--journal", tmp_path / "data")
    assert (there.exit_code, "already" in there.stderr) == (2, True)
    assert "no journal" in run("backup", tmp_path / "new", "--journal", tmp_path / "nowhere").stderr


def test_what_a_backup_that_was_cut_off_left_is_in_nobodys_way(tmp_path: Path):
    with open_app(tmp_path / "data"):
        pass
    shutil.copytree(tmp_path / "data", tmp_path / "copy.part")
    (tmp_path / "copy.part" / "rest").touch()
    back_up(tmp_path / "data", tmp_path / "copy")
    assert not (tmp_path / "copy" / "rest").exists()
