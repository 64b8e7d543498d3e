from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from sojourn_server.config import Config, load_config
from tests.cli.command import run, run_json


@pytest.fixture
def wrong(tmp_path: Path) -> Path:
    path = tmp_path / "wrong.toml"
    path.write_text('[server]\nthreads = 0\nport = 1\n[policies.default]\nmode = "FAST"\n')
    return path


def test_the_defaults_are_valid():
    assert run_json("check-config") == {"valid": True, "mistakes": []}
    assert run("check-config").output == "the defaults: valid\n"


def test_all_mistakes_are_named_at_once_with_their_keys(wrong: Path):
    result = run("check-config", "--config", wrong)
    assert result.exit_code == 2
    assert [line.partition(":")[0] for line in result.stderr.splitlines()[:-1]] == [
        "server.threads",
        "server.port",
        "policies.default.mode",
    ]
    found = run_json("check-config", "--config", wrong, exit_code=2)
    assert not found["valid"]
    assert len(found["mistakes"]) == 3


def test_a_missing_file_is_a_mistake(tmp_path: Path):
    result = run("check-config", "--config", tmp_path / "none.toml")
    assert result.exit_code == 2
    assert "none.toml: No such file" in result.stderr


def test_what_is_shown_is_a_configuration_with_the_same_effect(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Defaults, settings of the file with odd keys, and the environment's overrides alike."""
    given, shown = tmp_path / "given.toml", tmp_path / "shown.toml"
    given.write_text('[policies.default.choice.heuristic.table]\n"a \\"b\\".c é" = "small"\n')
    monkeypatch.setenv("SOJOURN_SERVER__THREADS", "7")
    shown.write_text(run("check-config", "--config", given, "--show").stdout, encoding="utf-8")
    expected = load_config(given)
    monkeypatch.delenv("SOJOURN_SERVER__THREADS")
    assert expected.server.threads == 7
    assert load_config(shown) == expected


def test_a_secret_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOJOURN_SERVER__DRAW_SECRET", "hush-hush")
    for arguments in (["--show"], ["--show", "--json"]):
        output = run("check-config", *arguments).output
        assert "hush-hush" not in output
        assert "draw_secret" in output


def test_the_settings_in_effect_are_shown_as_json_too():
    assert run_json("check-config", "--show")["settings"]["server"] == Config().server.model_dump(mode="json")
    assert tomllib.loads(run("check-config", "--show").stdout)["server"]["address"] == "127.0.0.1:50051"
