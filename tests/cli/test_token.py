"""`sojourn token` and `sojourn undo` against a guarded router, and commands that bring their token."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sojourn_server.app import App
from sojourn_server.security.tokens import digest, read_tokens
from tests.cli.command import run
from tests.security.conftest import configured


def made(path: Path, name: str, *options: str) -> str:
    """The secret of a new token."""
    result = run("token", name, "--file", str(path), "--json", *options)
    assert result.exit_code == 0, result.stderr
    return str(json.loads(result.stdout)["secret"])


def test_a_new_token_is_in_the_file_by_its_hash_alone(tmp_path: Path):
    path = tmp_path / "tokens.toml"
    secret = made(
        path, "judge", "--scope", "report", "--policy", "research", "--calls-per-second", "5", "--quarantined"
    )
    (kept,) = read_tokens(path).values()
    assert (kept.id, kept.sha256, kept.scopes) == ("judge", digest(secret), frozenset({"report"}))
    assert (kept.policies, kept.calls_per_second, kept.quarantined) == (frozenset({"research"}), 5.0, True)
    assert secret not in path.read_text()
    assert path.stat().st_mode & 0o077 == 0


def test_tokens_add_up_and_a_name_is_taken_once(tmp_path: Path):
    path = tmp_path / "tokens.toml"
    made(path, "a", "--scope", "decide", "--scope", "report")
    made(path, "b", "--scope", "admin")
    before = path.read_text()
    again = run("token", "a", "--scope", "admin", "--file", str(path))
    assert again.exit_code == 2
    assert "stand twice" in again.stderr
    assert path.read_text() == before
    assert [file.name for file in tmp_path.iterdir()] == ["tokens.toml"]


def test_commands_bring_the_token_of_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    path = tmp_path / "tokens.toml"
    secret = made(path, "operator", "--scope", "admin")
    with App.open(configured(tmp_path, tokens=path)) as app:
        refused = run("show", "models", "--address", app.address)
        assert refused.exit_code == 2
        assert "SOJOURN_TOKEN" in refused.stderr
        monkeypatch.setenv("SOJOURN_TOKEN", secret)
        assert "gpt-5" in run("show", "models", "--address", app.address).stdout
        undone = run("undo", "judge", "--because", "forged", "--address", app.address)
        assert (undone.exit_code, "judge" in undone.stdout) == (0, True)
        exclusions = [r.exclusion for r in app.journal.read(0) if r.HasField("exclusion")]
        assert [(e.reporter, e.because) for e in exclusions] == [("judge", "forged")]


def test_a_missing_certificate_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.setenv("SOJOURN_CA", str(tmp_path / "none.pem"))
    result = run("health")
    assert result.exit_code == 2
    assert "SOJOURN_CA" in result.stderr
