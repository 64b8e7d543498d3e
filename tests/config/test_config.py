"""The configuration: runs with no file, environment over file, every mistake at once and by its key."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from sojourn_server.config import (
    DEFAULTS,
    ChoiceSettings,
    Config,
    ConfigError,
    LessonSettings,
    PolicySettings,
    load_config,
)


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """A developer's own SOJOURN_* variables do not leak in."""
    import os

    for name in [name for name in os.environ if name.startswith("SOJOURN_")]:
        monkeypatch.delenv(name)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "sojourn.toml"
    path.write_text(text, encoding="utf-8")
    return path


def mistakes(tmp_path: Path, text: str) -> list[str]:
    """What is wrong with a file."""
    with pytest.raises(ConfigError) as caught:
        load_config(written(tmp_path, text))
    return caught.value.mistakes


def test_the_defaults_run_with_no_file_at_all():
    config = load_config()
    assert config.journal.kind == "sqlite"
    assert config.journal.directory == Path("sojourn-data")
    assert [model.name for model in config.models] == [model["name"] for model in DEFAULTS["models"]]
    assert config.policies["default"].mode == "LIVE"


def test_an_empty_file_is_the_defaults(tmp_path: Path):
    assert load_config(written(tmp_path, "")) == Config()


def test_the_environment_overrides_the_file_key_by_key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """What the environment does not name stays as the file has it."""
    path = written(tmp_path, '[server]\naddress = "0.0.0.0:1"\nthreads = 7\n[policies.default]\nlive_share = 0.5\n')
    monkeypatch.setenv("SOJOURN_SERVER__ADDRESS", "127.0.0.1:2")
    monkeypatch.setenv("SOJOURN_POLICIES__DEFAULT__MODE", "SHADOW")
    config = load_config(path)
    assert (config.server.address, config.server.threads) == ("127.0.0.1:2", 7)
    assert (config.policies["default"].mode, config.policies["default"].live_share) == ("SHADOW", 0.5)


def test_a_secret_comes_from_the_environment_and_is_not_shown(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOJOURN_SERVER__DRAW_SECRET", "hush")
    config = load_config()
    assert config.server.draw_secret is not None
    assert config.server.draw_secret.get_secret_value() == "hush"
    assert "hush" not in repr(config)


def test_other_variables_of_the_project_are_no_mistake(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("SOJOURN_RECORDED_DIR", "/data")
    load_config()


def test_every_mistake_is_reported_at_once_with_its_key_and_what_was_given(tmp_path: Path):
    found = mistakes(
        tmp_path,
        '[server]\nthreads = 0\nadress = "x"\n'
        '[policies.default]\nlive_share = 1.5\nmode = "SOMETIMES"\n'
        "[policies.default.choice]\ncost_weight = -1.0\nfriction = nan\n"
        '[policies.default.lesson]\nvw_options = "--coin; rm"\n'
        '[[models]]\nname = "a"\nmodel_class = "small"\ninput_usd_per_mtok = inf\noutput_usd_per_mtok = 1.0\n',
    )
    keys = {line.partition(":")[0] for line in found}
    assert keys == {
        "server.threads",
        "server.adress",
        "policies.default.live_share",
        "policies.default.mode",
        "policies.default.choice.cost_weight",
        "policies.default.choice.friction",
        "policies.default.lesson.vw_options",
        "models.0.input_usd_per_mtok",
    }
    assert any("(given: 1.5)" in line for line in found)


def test_names_that_point_nowhere_are_mistakes_too(tmp_path: Path):
    """A reference model and a class that no model has, a name that stands twice: all in one report."""
    model = 'name = "a"\nmodel_class = "tiny"\ninput_usd_per_mtok = 1.0\noutput_usd_per_mtok = 1.0\n'
    found = mistakes(tmp_path, f"[[models]]\n{model}[[models]]\n{model}")
    assert "models: 'a' stands twice" in found
    assert "policies.default.choice.reference_model: 'gpt-5' is not in models" in found
    assert "policies.default.choice.heuristic.table.search: no model has class 'small'" in found


def test_names_that_point_nowhere_are_not_hidden_by_other_mistakes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    text = '[server]\nthreads = 0\n[policies.default.choice]\nfloor = 0.5\nreference_model = "gone"\n'
    found = mistakes(tmp_path, text)
    assert {line.partition(":")[0] for line in found} == {
        "server.threads",
        "policies.default.choice.floor",
        "policies.default.choice.reference_model",
    }
    monkeypatch.setenv("SOJOURN_SERVER__THREADS", "many")
    assert len(mistakes(tmp_path, text)) == 2  # a mistake in the environment cannot be left out


@pytest.mark.parametrize(
    "text", ["policies = 3", "[policies]\ndefault = 3", "models = 3", "models = [3]", "server = 3"]
)
def test_no_mistake_is_made_up_where_a_whole_part_is_wrong(tmp_path: Path, text: str):
    assert len(mistakes(tmp_path, text)) == 1


def test_the_default_policy_cannot_be_left_out(tmp_path: Path):
    (report,) = mistakes(tmp_path, '[policies.other]\nmode = "LIVE"\n')
    assert report == 'policies: a policy named "default" is needed'


@pytest.mark.parametrize("text", ["[server", "threads = = 1", "\x00"])
def test_a_file_that_is_no_toml_is_one_mistake_that_names_it(tmp_path: Path, text: str):
    (report,) = mistakes(tmp_path, text)
    assert "sojourn.toml: not valid TOML" in report


def test_a_file_that_is_no_text_is_one_mistake(tmp_path: Path):
    path = tmp_path / "sojourn.toml"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="not valid TOML"):
        load_config(path)


def test_a_file_that_is_not_there_is_one_mistake_that_names_it(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"missing\.toml: No such file"):
        load_config(tmp_path / "missing.toml")


@pytest.mark.parametrize(("name", "value"), [("SOJOURN_SERVER__THREADS", "many"), ("SOJOURN_MODELS", "not JSON")])
def test_a_mistake_in_the_environment_is_reported_like_one_in_the_file(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name.removeprefix("SOJOURN_").lower().replace("__", ".")):
        load_config()


@pytest.mark.parametrize(
    "values",
    [
        {"floor": 0.02},
        {"floor": -0.1},
        {"utility_range": 0.0},
        {"prior_width": 0.0},
        {"prior_evidence": 0.0},
        {"phase_debounce_turns": 0},
        {"control_share": 0.3},
        {"explore_share": 1.1},
        {"default_phase_turns": 0.5},
        {"cost_weight": float("inf")},
        {"reference_model": ""},
        {"reference_model": "a\nb"},
        {"unknown": 1},
    ],
    ids=str,
)
def test_choice_settings_outside_their_range_are_refused(values: Mapping[str, Any]):
    with pytest.raises(ValidationError):
        ChoiceSettings(**values)


@pytest.mark.parametrize(
    "values",
    [
        {"weight_bits": 9},
        {"expected_turns": 0.0},
        {"turns_cap": 1},
        {"outcome_window_ms": 0},
        {"expired_score": 1.1},
        {"vw_options": "-i /etc/passwd"},
        {"vw_options": "a\nb"},
        {"prior": {"events": -1}},
        {"prior": {"gap": float("nan")}},
        {"prior": {"spread": 1.5}},
    ],
    ids=str,
)
def test_lesson_settings_outside_their_range_are_refused(values: Mapping[str, Any]):
    with pytest.raises(ValidationError):
        LessonSettings(**values)


@given(st.floats(0, 1e6), st.integers(2, 1_000), st.integers(0, 100_000), st.sampled_from(["", "--coin", "-l 0.1"]))
def test_settings_come_back_from_the_journals_json_as_they_were(
    cost_weight: float, turns_cap: int, events: int, options: str
):
    settings = PolicySettings.model_validate(
        {
            "choice": {"cost_weight": cost_weight},
            "lesson": {"turns_cap": turns_cap, "prior": {"events": events}, "vw_options": options},
        }
    )
    assert PolicySettings.model_validate_json(settings.model_dump_json()) == settings


def test_the_configuration_cannot_be_changed_once_it_is_read():
    with pytest.raises(ValidationError):
        Config().server.threads = 1
