"""`sojourn top`: one frame as text and as JSON, and the living view on a terminal."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.cli.command import open_app, play, run, run_json

COMMAND = "import sys; from sojourn_server.cli.program import run; run(sys.argv[1:])"
WAIT_S = 60.0


def test_a_frame_as_json(played: Path):
    found = run_json("top", "--journal", played)
    assert (found["policy"], found["mode"]) == ("default", "LIVE")
    assert (found["decisions"], found["episodes_ended"], found["episodes_open"]) == (15, 5, 0)
    assert found["score"] == {"value": 0.5, "low": None, "high": None, "episodes": 5}
    assert found["cost_usd"]["value"] == pytest.approx(0.03)
    assert set(found["shares"]) == {"search", "code"}
    assert all(sum(row.values()) == pytest.approx(1.0) for row in found["shares"].values())
    assert "never-switch" in found["against_never_switch"]


def test_off_a_terminal_it_prints_one_frame(played: Path):
    output = run("top", "--journal", played).output
    assert "15, 0.0 a second" in output
    assert "5 ended, 0 open" in output
    assert "0.5 (cannot tell yet within what; 5 episodes)" in output
    assert "Share of turns by tool type" in output


def test_before_the_first_episode_there_is_nothing_yet(tmp_path: Path):
    with open_app(tmp_path) as app:
        output = run("top", "--once", "--address", app.address).output
    assert output.count("nothing yet") == 4


def test_on_a_terminal_it_follows_the_router_until_it_is_interrupted(tmp_path: Path):
    with open_app(tmp_path) as app:
        leader, follower = pty.openpty()
        arguments = [sys.executable, "-c", COMMAND, "top", "--address", app.address, "--every", "0.2"]
        environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120", "LINES": "40"}
        process = subprocess.Popen(arguments, stdin=follower, stdout=follower, stderr=follower, env=environment)
        os.close(follower)
        try:
            _read_until(leader, b"0 ended")
            play(app.address, "seen")
            _read_until(leader, b"1 ended")
            process.send_signal(signal.SIGINT)
            _read_until(leader, b"\x1b[?1049l")  # leaves the alternate screen
            assert process.wait(WAIT_S) == 0
        finally:
            process.kill()
            process.wait()
            os.close(leader)


def _read_until(terminal: int, text: bytes) -> None:
    seen, give_up_at = b"", time.monotonic() + WAIT_S
    while text not in seen:
        assert time.monotonic() < give_up_at, seen
        seen += os.read(terminal, 65_536)
