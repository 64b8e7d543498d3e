"""`sojourn snapshots`: what is stored, and the way back."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

from sojourn_server.app import App
from sojourn_server.config import LessonSettings, PolicyConfig
from sojourn_server.telemetry import Telemetry
from tests.cli.command import config_at, open_app, play, run, run_json

WAIT_S = 20.0


def test_a_policy_goes_back_to_a_version_and_forgets_what_came_after(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "early")
    with open_app(tmp_path) as app:
        known = run_json("snapshots", "list", "--address", app.address)
        version = known[0]["policy_version"]
        play(app.address, "late")
        _until(lambda: _episodes(app.address) == 2)
        result = run("snapshots", "roll-back", version, "--address", app.address)
        assert result.exit_code == 0, result.output
        assert f"back at version {version}" in result.stdout
        _until(lambda: _episodes(app.address) == 1)
    assert run_json("replay", "--journal", tmp_path)["max_abs_difference"] == 0.0


def test_versions_are_listed_newest_first_without_a_router_too(tmp_path: Path):
    for name in ("a", "b"):
        with open_app(tmp_path) as app:
            play(app.address, name)
    versions = [int(each.get("policy_version", 0)) for each in run_json("snapshots", "list", "--journal", tmp_path)]
    assert len(versions) >= 2
    assert versions == sorted(versions, reverse=True)
    listed = run("snapshots", "list", "--journal", tmp_path).stdout
    assert listed.index(f"\n{versions[0]}") < listed.index(f"\n{versions[1]}")


def test_two_versions_are_compared_model_by_model(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "a")
    with open_app(tmp_path) as app:
        for i in range(12):
            play(app.address, f"b{i}", score=0.0)
    versions = [int(each.get("policy_version", 0)) for each in run_json("snapshots", "list", "--journal", tmp_path)]
    pair = ("--journal", tmp_path, versions[-1], versions[0])
    found = run_json("snapshots", "compare", *pair)
    assert found["decision_points"] >= 13
    served = max(found["models"], key=lambda model: model["old_score"] - model["new_score"])
    assert served["new_score"] < served["old_score"] - 0.01  # twelve failures taught something
    assert "another favourite" in run("snapshots", "compare", *pair).stdout
    same = run_json("snapshots", "compare", "--journal", tmp_path, versions[0], versions[0])
    assert same["favourites_changed"] == 0
    assert all(model["old_score"] == model["new_score"] for model in same["models"])


def test_versions_that_are_not_stored_or_stand_the_wrong_way_round_are_refused(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "a")
    assert "stored versions" in run("snapshots", "compare", "--journal", tmp_path, 0, 999).stderr
    assert "later than" in run("snapshots", "compare", "--journal", tmp_path, 9, 0).stderr


def test_a_version_ahead_of_the_journal_is_refused(tmp_path: Path):
    with open_app(tmp_path) as app:
        result = run("snapshots", "roll-back", 10**9, "--address", app.address)
    assert (result.exit_code, "ahead" in result.stderr) == (2, True)


def _episodes(address: str) -> int:
    return int(run_json("show", "policy", "--address", address)["statistics"].get("episodes", 0))


def _until(done: Callable[[], bool]) -> None:
    """Waits for the learner."""
    deadline = time.monotonic() + WAIT_S
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_a_version_goes_to_another_router_and_back_again(tmp_path: Path):
    file = tmp_path / "good.snapshot"
    with open_app(tmp_path / "a") as app:
        for i in range(6):
            play(app.address, f"a{i}", score=0.0)
        _until(lambda: _episodes(app.address) == 6)
        exported = run("snapshots", "export", "-o", file, "--address", app.address)
        assert exported.exit_code == 0, exported.output
    assert f"has {file.stat().st_size} bytes" in exported.stdout
    offline = tmp_path / "offline.snapshot"
    assert run("snapshots", "export", "-o", offline, "--journal", tmp_path / "a").exit_code == 0
    assert offline.read_bytes() == file.read_bytes()
    with open_app(tmp_path / "b") as app:
        play(app.address, "b0")
        _until(lambda: _episodes(app.address) == 1)
        known = run_json("snapshots", "list", "--address", app.address)[0]["policy_version"]
        result = run("snapshots", "import", file, "--address", app.address)
        assert result.exit_code == 0, result.output
        _until(lambda: _episodes(app.address) == 6)
        play(app.address, "b1")
        _until(lambda: _episodes(app.address) == 7)
    with open_app(tmp_path / "b") as app:
        assert _episodes(app.address) == 7
        assert run_json("replay", "--journal", tmp_path / "b")["max_abs_difference"] == 0.0
        assert run("snapshots", "roll-back", known, "--address", app.address).exit_code == 0
        _until(lambda: _episodes(app.address) == 1)
    assert run_json("replay", "--journal", tmp_path / "b")["max_abs_difference"] == 0.0


def test_a_file_that_is_no_snapshot_of_this_policy_is_refused_with_the_reason(tmp_path: Path):
    file = tmp_path / "some.snapshot"
    policies = {"default": PolicyConfig(lesson=LessonSettings(turns_cap=50))}
    other = config_at(tmp_path / "b").model_copy(update={"policies": policies})
    with open_app(tmp_path / "a") as app:
        assert run("snapshots", "export", "-o", file, "--address", app.address).exit_code == 0
        for data, why in ((b"", "not a snapshot"), (file.read_bytes()[:-9], "SHA-256 does not match")):
            (tmp_path / "broken").write_bytes(data)
            result = run("snapshots", "import", tmp_path / "broken", "--address", app.address)
            assert (result.exit_code, why in result.stderr) == (2, True), result.stderr
        missing = run("snapshots", "export", 77, "-o", tmp_path / "no", "--address", app.address)
        assert (missing.exit_code, "no version 77 is stored" in missing.stderr) == (2, True)
        assert not (tmp_path / "no").exists()
    with App.open(other, Telemetry.disabled()) as app:
        result = run("snapshots", "import", file, "--address", app.address)
        assert (result.exit_code, "other lesson settings or models" in result.stderr) == (2, True), result.stderr


def test_an_episode_is_erased_and_nothing_shows_it_any_more(tmp_path: Path):
    with open_app(tmp_path) as app:
        play(app.address, "private")
        play(app.address, "other")
        result = run("erase", "private", "--address", app.address)
        assert result.exit_code == 0, result.output
        assert "records of the episode are erased" in result.stdout
        gone = run("show", "episode", "private", "--address", app.address)
        assert (gone.exit_code, "erased" in gone.stderr) == (2, True)
        assert run("erase", "nobody", "--address", app.address).exit_code == 2
    lines = run("export", "--journal", tmp_path).stdout
    assert "private" not in lines
    assert lines.count("episode_erased") == 4  # three decisions and the outcome
    assert run_json("replay", "--journal", tmp_path)["max_abs_difference"] == 0.0
