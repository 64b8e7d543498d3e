"""The column map of `sojourn import`: which columns of two files hold what Sojourn knows by its own words.

Keys on the left are the contract's words, values are columns of the file. A number may be scaled:
`prompt_tokens = { column = "prompt_chars", scale = 0.25 }`. Unknown keys are mistakes, and all mistakes are
reported at once.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, ValidationError, model_validator

from sojourn_server.config import ConfigError, Frozen, ModelConfig, Name

SeverityName = Literal["NONE", "LOW", "MEDIUM", "HIGH"]
StatusName = Literal["SUCCEEDED", "FAILED", "ABANDONED"]
_WORDS: Mapping[str, SeverityName] = {"none": "NONE", "low": "LOW", "medium": "MEDIUM", "high": "HIGH"}
_FLAGS: Mapping[str, SeverityName] = {"0": "NONE", "1": "MEDIUM", "false": "NONE", "true": "MEDIUM"}
_STATUS_WORDS: Mapping[str, StatusName] = {"succeeded": "SUCCEEDED", "failed": "FAILED", "abandoned": "ABANDONED"}
_STATUS_FLAGS: Mapping[str, StatusName] = {"1": "SUCCEEDED", "0": "FAILED", "true": "SUCCEEDED", "false": "FAILED"}


class NumberColumn(Frozen):
    """A column of numbers and what to multiply them with."""

    column: str
    scale: Annotated[float, Field(allow_inf_nan=False)] = 1.0


Number = Annotated[NumberColumn, BeforeValidator(lambda given: {"column": given} if isinstance(given, str) else given)]


class Columns(Frozen):
    """What both files may hold. `episode_id` lists the columns that name an episode together; `at` is a time."""

    file: Path
    episode_id: Annotated[tuple[str, ...], Field(min_length=1)]
    model: str | None = None
    task_type: str | None = None
    language: str | None = None
    cost_usd: Number | None = None
    at: Number | None = None


class EpisodeColumns(Columns):
    """The file with one row per episode; `statuses` says what a status in it stands for."""

    score: Number | None = None
    status: str | None = None
    statuses: Mapping[str, StatusName] = {**_STATUS_WORDS, **_STATUS_FLAGS}


class TurnColumns(Columns):
    """The file with one row per turn; `severities` says what an error in it stands for.

    `tool_name` is the tool whose result the turn works on; `tool_called` is the tool that the turn called, whose
    result the *next* turn works on. `prompt_tokens` counts in what was read from or written to a cache.
    """

    turn_index: Number | None = None
    tool_name: str | None = None
    tool_called: str | None = None
    tool_separator: str | None = None
    tool_type: str | None = None
    phase: str | None = None
    prompt_tokens: Number | None = None
    cached_read_tokens: Number | None = None
    cache_write_tokens: Number | None = None
    output_tokens: Number | None = None
    latency_ms: Number | None = None
    error: str | None = None
    severities: Mapping[str, SeverityName] = {**_WORDS, **_FLAGS}
    error_code: str | None = None
    features: Mapping[Name, Number] = Field(default_factory=dict, max_length=64)


class ColumnMap(Frozen):
    """The whole map: `models` has terms of models that the registry lacks, `tool_types` patterns of tool names.

    `chosen_once`: an episode's model is chosen at its first turn and has to stay; all its money hangs on that choice.
    """

    id_prefix: Name = "imported"
    chosen_once: bool = False
    episodes: EpisodeColumns
    turns: TurnColumns
    tool_types: Mapping[Name, Name] = Field(default_factory=dict)
    models: Mapping[Name, ModelConfig] = Field(default_factory=dict)

    @model_validator(mode="before")
    @classmethod
    def _name_models(cls, values: Any) -> Any:
        """A model is named by its key."""
        models = values.get("models") if isinstance(values, Mapping) else None
        if not isinstance(models, Mapping):
            return values
        return {**values, "models": {k: {"name": k, **v} if isinstance(v, Mapping) else v for k, v in models.items()}}

    @model_validator(mode="after")
    def _fits_together(self) -> ColumnMap:
        if self.episodes.score is None and self.episodes.status is None:
            raise ValueError("episodes.score or episodes.status is needed: without them nothing can be learned")
        if len(self.episodes.episode_id) != len(self.turns.episode_id):
            raise ValueError("episodes.episode_id and turns.episode_id must list as many columns")
        if self.turns.model is None and self.episodes.model is None:
            raise ValueError("turns.model or episodes.model is needed")
        if self.turns.tool_name is not None and self.turns.tool_called is not None:
            raise ValueError("turns.tool_name and turns.tool_called exclude each other")
        return self


def load_map(path: Path) -> ColumnMap:
    """Reads a column map. Raises ConfigError with every mistake, each with its key."""
    try:
        return ColumnMap.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error
    except ValidationError as error:
        keys = (".".join(map(str, e["loc"])) or "map" for e in error.errors())
        texts = (e["msg"].removeprefix("Value error, ") for e in error.errors())
        raise ConfigError([f"{key}: {text}" for key, text in zip(keys, texts, strict=True)]) from error
