"""Logs: what lands on standard error, read from a process of its own."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from datetime import UTC, datetime

import pytest

SETUP = """
import logging, warnings, structlog
from sojourn_server.cli.logs import configure_logs
"""


def run(script: str) -> list[str]:
    """Standard error of a script, by line."""
    done = subprocess.run([sys.executable, "-c", SETUP + script], capture_output=True, text=True, check=True)
    assert done.stdout == ""
    return done.stderr.splitlines()


def test_a_line_is_json_with_time_level_logger_event_and_values():
    (line,) = run('configure_logs("info", "json"); structlog.get_logger("sojourn.x").info("served", turns=3)')
    logged = json.loads(line)
    assert datetime.fromisoformat(logged.pop("timestamp")).tzinfo == UTC
    assert logged == {"level": "info", "logger": "sojourn.x", "event": "served", "turns": 3}


def test_the_standard_librarys_records_and_warnings_look_the_same():
    lines = run(
        'configure_logs("info", "json");logging.getLogger("grpc._server").error("lost %d", 3);warnings.warn("old")'
    )
    record, warning = [json.loads(line) for line in lines]
    assert (record["logger"], record["level"], record["event"]) == ("grpc._server", "error", "lost 3")
    assert (warning["logger"], warning["level"]) == ("py.warnings", "warning")
    assert record.keys() == warning.keys() == {"timestamp", "level", "logger", "event"}


@pytest.mark.parametrize("logger", ["structlog.get_logger('x')", "logging.getLogger('x')"])
def test_an_exception_is_a_structure_without_local_variables(logger: str):
    (line,) = run(
        f"""
configure_logs("info", "json")
def fail(password):
    return 1 / 0
try:
    fail("hunter" + "2")
except ZeroDivisionError:
    {logger}.exception("failed")
"""
    )
    (exception,) = json.loads(line)["exception"]
    assert (exception["exc_type"], exception["frames"][-1]["name"]) == ("ZeroDivisionError", "fail")
    assert "hunter2" not in line


@pytest.mark.parametrize("logger", ["structlog.get_logger('x').bind()", "logging.getLogger('x')"])
def test_what_lies_below_the_level_is_silent(logger: str):
    script = f'configure_logs("warning", "json"); log = {logger}; log.info("no"); log.warning("yes")'
    assert [json.loads(line)["event"] for line in run(script)] == ["yes"]


def test_a_bound_logger_says_whether_a_level_is_enabled():
    script = """
configure_logs("info", "json")
log = structlog.get_logger("x").bind()
log.info("levels", info=log.is_enabled_for(logging.INFO), debug=log.is_enabled_for(logging.DEBUG))
"""
    logged = json.loads(run(script)[0])
    assert (logged["info"], logged["debug"]) == (True, False)


def test_a_logger_made_before_follows_and_a_second_call_replaces_the_first():
    script = """
log = structlog.get_logger("early")
configure_logs("error", "json")
log.info("no")
configure_logs("info", "json")
log.info("yes")
logging.getLogger("std").info("once")
"""
    assert [json.loads(line)["event"] for line in run(script)] == ["yes", "once"]


def test_a_newline_in_a_value_cannot_forge_a_line():
    script = r'configure_logs("info", "json"); structlog.get_logger("x").info("a", episode_id="b\n{}")'
    (line,) = run(script)
    assert json.loads(line)["episode_id"] == "b\n{}"


def test_auto_means_json_on_a_pipe():
    (line,) = run('configure_logs("info", "auto"); structlog.get_logger("x").info("hello")')
    assert json.loads(line)["event"] == "hello"


def test_auto_means_columns_on_a_terminal():
    ours, theirs = pty.openpty()
    script = SETUP + 'configure_logs("info", "auto"); structlog.get_logger("x").info("hello", turns=3)'
    subprocess.run([sys.executable, "-c", script], stderr=theirs, check=True)
    os.close(theirs)
    with os.fdopen(ours, "rb") as terminal:
        line = terminal.readline().decode()
    assert "hello" in line
    assert not line.startswith("{")


def test_an_unknown_level_is_refused():
    with pytest.raises(subprocess.CalledProcessError):
        run('configure_logs("loud", "json")')
