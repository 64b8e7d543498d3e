"""Configuration: one frozen model per component, read once, every mistake reported at once.

Order of precedence: environment (`SOJOURN_SERVER__ADDRESS=...`, two underscores between levels), then the TOML
file, then the defaults, which run with no file at all. A policy's settings travel into the journal as JSON,
so the learner needs no file. Choice settings act from their record on; lesson settings rebuild the fold.
"""

from __future__ import annotations

import tomllib
from contextlib import suppress
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError, model_validator
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

DEFAULTS: dict[str, Any] = tomllib.loads(files("sojourn_server").joinpath("defaults.toml").read_text("utf-8"))
"""The embedded defaults: `models`, and the `heuristic`'s `table` and `tool_patterns`."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]
MAX_USD = MAX_COST_WEIGHT = 1e6
"""Of a turn, an episode or a million tokens; score per USD. Sums and products of what is allowed stay finite."""
Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[^\x00-\x1f\x7f]+$")]
ModeName = Literal["HEURISTIC", "SHADOW", "LIVE"]


class Frozen(BaseModel):
    """Base of all settings: immutable, and unknown keys are mistakes."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True, extra="forbid")


class CacheConfig(Frozen):
    """A provider's prompt cache; multipliers are of the input price."""

    read_multiplier: Share = 0.1
    write_multiplier: Annotated[float, Field(ge=0, le=10)] = 1.0
    ttl_ms: Annotated[int, Field(ge=0)] = 300_000


class ModelConfig(Frozen):
    """One model of the seed registry; prices in USD per million tokens."""

    name: Name
    model_class: Name
    input_usd_per_mtok: Annotated[float, Field(ge=0, le=MAX_USD)]
    output_usd_per_mtok: Annotated[float, Field(ge=0, le=MAX_USD)]
    cache: CacheConfig | None = None
    context_length_tokens: Annotated[int, Field(gt=0)] | None = None
    capabilities: tuple[Name, ...] = ()
    skills: dict[Name, Share] = {}


class HeuristicSettings(Frozen):
    """Tool type -> model class, or "best:<skill>"; tool names map to types by shell pattern, first match wins."""

    table: dict[Name, Name] = DEFAULTS["heuristic"]["table"]
    tool_patterns: dict[Name, Name] = DEFAULTS["heuristic"]["tool_patterns"]
    default: Name = "medium"
    class_order: tuple[Name, ...] = ("small", "medium", "large")


class ChoiceSettings(Frozen):
    """How a decision is made. Scores are in [0, 1], money in USD; these act from their record on."""

    cost_weight: Annotated[float, Field(ge=0, le=MAX_COST_WEIGHT)] = 1.0
    friction: NonNegative = 0.01
    utility_range: Positive = 1.0
    floor: Annotated[float, Field(ge=0, le=0.01)] = 0.001
    prior_width: Positive = 0.085
    prior_evidence: Positive = 20.0
    phase_debounce_turns: Annotated[int, Field(ge=1)] = 1
    cacheable_share: Share = 0.9
    default_prompt_tokens: NonNegative = 8_000.0
    default_output_tokens: NonNegative = 400.0
    default_prompt_growth_tokens: NonNegative = 500.0
    default_phase_turns: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 6.0
    explore_share: Share = 0.0
    reference_model: Name = "gpt-5"
    control_share: Annotated[float, Field(ge=0, le=0.25)] = 0.02
    heuristic: HeuristicSettings = HeuristicSettings()


class PriorSettings(Frozen):
    """The warm start: simulated events consistent with the heuristic's table."""

    events: Annotated[int, Field(ge=0, le=100_000)] = 2_000
    gap: Share = 0.10
    evidence: Annotated[float, Field(ge=1, allow_inf_nan=False)] = 20.0
    error_slope: NonNegative = 2.0
    turns: Positive = 25.0
    seed: int = 1


class LessonSettings(Frozen):
    """What an episode teaches; another lesson rebuilds the whole fold."""

    vw_options: Annotated[str, Field(pattern=r"^[-\w .=]*$")] = "-l 0.1 --power_t 0.75"
    weight_bits: Annotated[int, Field(ge=10, le=24)] = 16
    expected_turns: Positive | None = None
    turns_cap: Annotated[int, Field(ge=2)] = 100
    median_episodes: Annotated[int, Field(ge=1)] = 101
    evidence_half_life_episodes: Positive = 5_000.0
    outcome_window_ms: Annotated[int, Field(gt=0)] = 86_400_000
    expired_score: Share | None = None
    learn_served_in_shadow: bool = False
    prior: PriorSettings = PriorSettings()


class PolicySettings(Frozen):
    """Everything that one policy is told; journaled as JSON."""

    choice: ChoiceSettings = ChoiceSettings()
    lesson: LessonSettings = LessonSettings()


class PolicyConfig(PolicySettings):
    """A policy's settings with the mode it starts in on an empty journal."""

    mode: ModeName = "LIVE"
    live_share: Share = 1.0

    def settings(self) -> PolicySettings:
        """The part that is journaled as settings."""
        return PolicySettings(choice=self.choice, lesson=self.lesson)


class ServerConfig(Frozen):
    """The gRPC edge."""

    address: str = "127.0.0.1:50051"
    workers: Annotated[int, Field(ge=1, le=64)] = 1
    threads: Annotated[int, Field(ge=1, le=512)] = 16
    max_calls_in_flight: Annotated[int, Field(ge=1)] = 32
    reflection: bool = True
    drain_ms: Annotated[int, Field(ge=0)] = 10_000
    cached_episodes: Annotated[int, Field(ge=16)] = 10_000
    draw_secret: SecretStr | None = None


class TlsConfig(Frozen):
    """PEM files. With `client_ca`, clients need a certificate that it signed."""

    certificate: Path
    key: Path
    client_ca: Path | None = None


class SecurityConfig(Frozen):
    """Who may call: without `tokens` everybody, without `tls` in the clear."""

    tokens: Path | None = None
    tls: TlsConfig | None = None


class JournalConfig(Frozen):
    """Where the truth lives: SQLite in `directory`, or PostgreSQL (a URL; its search_path is the schema)."""

    kind: Literal["sqlite", "memory", "postgres"] = "sqlite"
    directory: Path = Path("sojourn-data")
    dsn: SecretStr | None = None
    retention_days: Annotated[int, Field(ge=1)] | None = None  # then an ended episode's features are erased


class LearnerConfig(Frozen):
    """How often snapshots are published, and how many are kept."""

    publish_outcomes: Annotated[int, Field(ge=1)] = 32
    publish_interval_ms: Annotated[int, Field(ge=1)] = 1_000
    keep_snapshots: Annotated[int, Field(ge=1)] = 5


class LogConfig(Frozen):
    """Diagnostics on standard error."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"
    decisions: bool = False


class Config(BaseSettings):
    """The whole configuration; see the module's docstring for precedence."""

    model_config: ClassVar[SettingsConfigDict] = SettingsConfigDict(
        frozen=True, extra="forbid", env_prefix="SOJOURN_", env_nested_delimiter="__"
    )

    server: ServerConfig = ServerConfig()
    security: SecurityConfig = SecurityConfig()
    journal: JournalConfig = JournalConfig()
    learner: LearnerConfig = LearnerConfig()
    log: LogConfig = LogConfig()
    policies: dict[Name, PolicyConfig] = {"default": PolicyConfig()}
    models: tuple[ModelConfig, ...] = tuple(ModelConfig.model_validate(m) for m in DEFAULTS["models"])

    @classmethod
    def settings_customise_sources(  # type: ignore[override]  # two of the five sources are enough
        cls, settings_cls: type[BaseSettings], init_settings: PydanticBaseSettingsSource, **_: Any
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Environment over file; nothing else is read."""
        return EnvSettingsSource(settings_cls), init_settings

    @model_validator(mode="after")
    def _names_agree(self) -> Config:
        mistakes = list(_disagreements(self))
        if mistakes:
            raise ValueError("\n".join(mistakes))
        return self


def _disagreements(config: Config) -> list[str]:
    """References to models, classes and policies that do not exist."""
    names = [m.name for m in config.models]
    classes = {m.model_class for m in config.models}
    mistakes = [f"models: {n!r} stands twice" for n in sorted(set(names)) if names.count(n) > 1]
    if (config.journal.kind == "postgres") != (config.journal.dsn is not None):
        mistakes.append('journal.dsn: goes with kind = "postgres", and only with it')
    if config.server.workers > 1 and (config.journal.kind == "memory" or config.server.address.startswith("unix")):
        mistakes.append("server.workers: several share a journal on disk or in PostgreSQL, and a TCP port")
    if "default" not in config.policies:
        mistakes.append('policies: a policy named "default" is needed')
    for name, policy in config.policies.items():
        choice = policy.choice
        if choice.reference_model not in names:
            mistakes.append(f"policies.{name}.choice.reference_model: {choice.reference_model!r} is not in models")
        targets = {**choice.heuristic.table, "default": choice.heuristic.default}
        mistakes += [
            f"policies.{name}.choice.heuristic.table.{tool}: no model has class {target!r}"
            for tool, target in targets.items()
            if not target.startswith("best:") and target not in classes
        ]
    return mistakes


class ConfigError(Exception):
    """The configuration is wrong; `mistakes` has one line per key."""

    def __init__(self, mistakes: list[str]) -> None:
        """`mistakes`: lines such as "server.threads: Input should be greater than 0 (given: 0)"."""
        self.mistakes = mistakes
        super().__init__("\n".join(mistakes))


def load_config(path: Path | None = None) -> Config:
    """Reads the file (None = defaults) under the environment's overrides.

    Raises ConfigError with every mistake, each with its key.
    """
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8")) if path else {}
        return Config(**values)
    except OSError as error:
        raise ConfigError([f"{path}: {error.strerror}"]) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: not valid TOML: {error}"]) from error
    except ValidationError as error:
        raise ConfigError(_mistakes(values, error.errors())) from error
    except SettingsError as error:  # a variable that should hold JSON does not
        raise ConfigError([f"environment: {error}"]) from error


def _mistakes(values: dict[str, Any], errors: list[Any]) -> list[str]:
    """A line each. Names are compared only where all values are sound, so that is tried without those that are not."""
    places = [error["loc"] for error in errors]
    if () not in places and not any(place[0] == "models" or place[:-1] == ("policies",) for place in places):
        for place in places:
            _leave_out(values, place)
        try:
            Config(**values)
        except ValidationError as error:
            errors += [e for e in error.errors() if not e["loc"]]
    return [line for error in errors for line in _lines(error)]


def _leave_out(values: Any, place: tuple[str | int, ...]) -> None:
    """Takes a value away, if it is not the environment's."""
    with suppress(KeyError, IndexError, TypeError):
        for key in place[:-1]:
            values = values[key]
        del values[place[-1]]


def _lines(error: Any) -> list[str]:
    if not error["loc"]:
        return str(error["ctx"]["error"]).splitlines()  # of _names_agree
    given = error.get("input")
    shown = f" (given: {given!r})" if isinstance(given, str | int | float | bool | None) else ""
    return [f"{'.'.join(map(str, error['loc']))}: {error['msg']}{shown}"]
