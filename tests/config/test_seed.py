"""The configuration seeds an empty journal; after that the registry is the journal's, the settings the file's."""

from __future__ import annotations

from typing import Any

import pytest
from structlog.testing import capture_logs

from sojourn.v1 import journal_pb2, types_pb2
from sojourn_server.config import ChoiceSettings, Config, LessonSettings, ModelConfig, PolicyConfig
from sojourn_server.errors import StartRefused
from sojourn_server.journal.memory import MemoryJournal
from sojourn_server.world import World, fold, load_world, model_terms, read_world


def put(name: str, **terms: Any) -> journal_pb2.JournalRecord:
    """An administrator's record that puts a model."""
    return journal_pb2.JournalRecord(model_put=journal_pb2.ModelPutRecord(model=types_pb2.Model(name=name, **terms)))


def bodies(journal: MemoryJournal) -> list[str | None]:
    return [record.WhichOneof("body") for record in journal.read(0)]


def test_an_empty_journal_is_seeded_with_models_settings_and_mode():
    journal, config = MemoryJournal(), Config()
    world = load_world(journal, config, 42)
    assert bodies(journal) == ["model_put"] * len(config.models) + ["settings", "mode"]
    assert {record.received_at_ms for record in journal.read(0)} == {42}
    assert sorted(world.registry.models) == sorted(model.name for model in config.models)
    assert world.policies["default"].settings == config.policies["default"].settings()
    assert world.policies["default"].mode == types_pb2.MODE_LIVE


def test_the_same_configuration_again_writes_nothing():
    journal, config = MemoryJournal(), Config()
    first = load_world(journal, config, 1)
    before = journal.position()
    assert load_world(journal, config, 2) == first
    assert journal.position() == before


def with_settings(settings_json: str) -> MemoryJournal:
    journal = MemoryJournal()
    record = journal_pb2.JournalRecord(policy="default")
    record.settings.settings_json = settings_json
    journal.append(record)
    return journal


def test_settings_that_are_gone_are_passed_over():
    """They say how older decisions were made, and nothing here reads them."""
    world = load_world(with_settings('{"choice": {"no_longer_known": 5.0, "friction": 0.3}}'), Config(), 1)
    assert world.policies["default"].settings_version > 1


def test_settings_of_another_release_are_refused_with_what_to_do():
    journal = with_settings('{"choice": {"floor": 5.0}}')
    with pytest.raises(StartRefused, match=r"'default' \(position 1\).*start the release that wrote them"):
        load_world(journal, Config(), 1)


def test_the_world_is_the_fold_over_the_journals_records():
    journal = MemoryJournal()
    world = load_world(journal, Config(), 1)
    assert read_world(journal) == world == fold(journal.read(0))


def test_a_model_that_differs_keeps_the_journals_terms_and_the_log_says_so():
    """Changed by an administrator, added by one, and missing from the file: each is named."""
    journal, config = MemoryJournal(), Config()
    load_world(journal, config, 1)
    journal.append(put("gpt-5", input_usd_per_mtok=99.0))
    journal.append(put("new"))
    fewer = Config(models=config.models[:-1])
    with capture_logs() as logs:
        world = load_world(journal, fewer, 2)
    named = {entry["model"] for entry in logs if entry["event"] == "registry_differs_from_configuration"}
    assert named == {"gpt-5", "new", config.models[-1].name}
    assert world.registry.models["gpt-5"].terms.input_usd_per_mtok == 99.0
    assert config.models[-1].name in world.registry.models


def test_changed_settings_are_journaled_and_act_but_the_mode_stays_the_journals():
    journal = MemoryJournal()
    before = load_world(journal, Config(), 1).policies["default"]
    changed = PolicyConfig(choice=ChoiceSettings(cost_weight=9.0), mode="SHADOW")
    after = load_world(journal, Config(policies={"default": changed}), 2).policies["default"]
    assert bodies(journal)[-1] == "settings"
    assert after.settings.choice.cost_weight == 9.0
    assert after.settings_version == journal.position() > before.settings_version
    assert after.mode == types_pb2.MODE_LIVE


def test_a_policy_that_is_new_in_the_file_is_added():
    journal = MemoryJournal()
    load_world(journal, Config(), 1)
    policies = {"default": PolicyConfig(), "research": PolicyConfig(mode="HEURISTIC", live_share=0.25)}
    world = load_world(journal, Config(policies=policies), 2)
    assert (world.policies["research"].mode, world.policies["research"].live_share) == (types_pb2.MODE_HEURISTIC, 0.25)


@pytest.mark.parametrize(
    ("policy", "is_another"),
    [
        (PolicyConfig(choice=ChoiceSettings(friction=0.5)), False),
        (PolicyConfig(choice=ChoiceSettings(cost_weight=9.0)), True),
        (PolicyConfig(lesson=LessonSettings(turns_cap=90)), True),
        (PolicyConfig(lesson=LessonSettings(vw_options="--coin")), True),
    ],
    ids=["friction", "cost_weight", "turns_cap", "vw_options"],
)
def test_settings_that_the_fold_or_its_prior_depend_on_make_another_lesson(policy: PolicyConfig, is_another: bool):
    """Friction acts on choices alone; the cost weight shapes the prior."""
    journal = MemoryJournal()
    before = load_world(journal, Config(), 1).policies["default"]
    after = load_world(journal, Config(policies={"default": policy}), 2).policies["default"]
    assert (after.lesson_digest != before.lesson_digest) == is_another
    assert after.lesson_version == (journal.position() if is_another else before.lesson_version)


def test_putting_and_removing_models_makes_registries_that_all_stay_known():
    """A decision's record names the registry that it met by its position."""
    journal = MemoryJournal()
    journal.append(put("a", input_usd_per_mtok=1.0))
    journal.append(put("a", input_usd_per_mtok=2.0))
    removed = journal_pb2.JournalRecord(model_removed=journal_pb2.ModelRemovedRecord(name="a"))
    journal.append(removed)
    world = read_world(journal)
    prices = {
        version: [m.terms.input_usd_per_mtok for m in registry.models.values()]
        for version, registry in world.registries.items()
    }
    assert prices == {0: [], 1: [1.0], 2: [2.0], 3: []}
    assert world.registry.version == 3


def test_a_world_only_moves_forwards():
    """A record that was folded already changes nothing."""
    journal = MemoryJournal()
    world = load_world(journal, Config(), 1)
    assert fold(journal.read(0), world) is world


def test_configured_terms_become_the_public_message_and_an_absent_cache_stays_absent():
    bare = model_terms(ModelConfig(name="a", model_class="small", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0))
    assert not bare.HasField("cache")
    assert not bare.HasField("context_length_tokens")
    gpt = model_terms(next(model for model in Config().models if model.name == "gpt-5"))
    assert gpt.cache.read_multiplier == 0.1
    assert gpt.context_length_tokens == 400_000
    assert gpt.skills["general"] == 0.74
    assert fold([], World()) == World()
