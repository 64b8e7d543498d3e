"""`sojourn report`: a page from a router or its journal."""

from __future__ import annotations

from pathlib import Path

from tests.cli.command import open_app, play, run


def test_a_page_is_written_from_a_journal(played: Path, tmp_path: Path):
    file = tmp_path / "report.html"
    result = run("report", "--journal", played, "-o", file)
    assert (result.exit_code, result.stdout) == (0, "")
    assert "5 episodes reported on" in result.stderr
    html = file.read_text("utf-8")
    assert html.startswith("<!doctype html>")
    assert "Mode LIVE" in html
    assert "cannot tell yet whether the score moves" in html
    assert list(tmp_path.iterdir()) == [file]


def test_a_router_and_its_journal_tell_the_same(tmp_path: Path):
    with open_app(tmp_path / "data") as app:
        for i in range(3):
            play(app.address, f"e{i}")
        pages = [
            run("report", *source).stdout.partition("<footer>")[0]
            for source in (("--address", app.address), ("--journal", tmp_path / "data"))
        ]
    assert pages[0] == pages[1]
    assert "3 ended episodes of its own" in pages[0]


def test_only_the_newest_are_reported_on_if_asked(played: Path):
    assert "3 older ones are left out" in run("report", "--journal", played, "--last", 2).stdout


def test_without_an_end_there_is_nothing_to_report(tmp_path: Path):
    with open_app(tmp_path):
        pass
    result = run("report", "--journal", tmp_path)
    assert (result.exit_code, "has ended yet" in result.stderr) == (2, True)
    assert run("report", "--journal", tmp_path, "--policy", "none").exit_code == 2
