"""Models that can be chosen, with prices per token derived once when they enter.

The public message stays the one definition of a model's terms; `Model` is its priced view. A `Registry` is a
value: every change makes a new one, so a decider that holds one never sees half a change.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType

from sojourn.v1 import types_pb2

DEFAULT_CACHE_TTL_MS = 300_000


@dataclass(frozen=True, slots=True)
class Model:
    """A model's terms in USD per token, milliseconds and tokens.

    `has_cache` is False where every input token costs the full price; then `cache_ttl_ms` has no meaning.
    """

    terms: types_pb2.Model
    name: str
    model_class: str
    input_usd: float
    cached_read_usd: float
    cache_write_usd: float
    output_usd: float
    has_cache: bool
    cache_ttl_ms: int
    context_length_tokens: int | None
    capabilities: frozenset[str]
    drained: bool

    @classmethod
    def of(cls, terms: types_pb2.Model) -> Model:
        """The priced view of a public message whose numbers are already checked."""
        cache = terms.cache
        input_usd = terms.input_usd_per_mtok / 1e6
        read = cache.read_multiplier if cache.HasField("read_multiplier") else 1.0
        write = cache.write_multiplier if cache.HasField("write_multiplier") else 1.0
        return cls(
            terms=terms,
            name=terms.name,
            model_class=terms.model_class,
            input_usd=input_usd,
            cached_read_usd=input_usd * read,
            cache_write_usd=input_usd * write,
            output_usd=terms.output_usd_per_mtok / 1e6,
            has_cache=terms.HasField("cache"),
            cache_ttl_ms=cache.ttl_ms if cache.HasField("ttl_ms") else DEFAULT_CACHE_TTL_MS,
            context_length_tokens=terms.context_length_tokens if terms.HasField("context_length_tokens") else None,
            capabilities=frozenset(terms.capabilities),
            drained=terms.drained,
        )


@dataclass(frozen=True, slots=True)
class Registry:
    """Models by name, kept in the order of their names, as of the journal position `version`."""

    models: Mapping[str, Model] = field(default_factory=lambda: MappingProxyType({}))
    version: int = 0

    @classmethod
    def of(cls, models: Iterable[types_pb2.Model]) -> Registry:
        """A registry of these models; later ones replace earlier ones of the same name."""
        return cls(_sorted({terms.name: Model.of(terms) for terms in models}))

    def put(self, terms: types_pb2.Model, version: int) -> Registry:
        """The registry of a later version with this model added or replaced."""
        return Registry(_sorted({**self.models, terms.name: Model.of(terms)}), version)

    def without(self, name: str, version: int) -> Registry:
        """The registry of a later version that lacks this model."""
        return Registry(_sorted({n: m for n, m in self.models.items() if n != name}), version)


def _sorted(models: Mapping[str, Model]) -> Mapping[str, Model]:
    return MappingProxyType({name: models[name] for name in sorted(models)})
