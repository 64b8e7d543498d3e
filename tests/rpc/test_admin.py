"""AdminService over the wire: what is put, drained or priced acts on the next decision, and lists list everything."""

from __future__ import annotations

import time
from collections.abc import Callable

import grpc
import pytest
from google.protobuf.message import Message

from sojourn.v1 import admin_pb2 as admin
from sojourn.v1 import journal_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.app import App
from sojourn_server.config import ChoiceSettings, Config, PolicyConfig
from tests.policy.play import QUICK_LESSON
from tests.rpc.wire import Stubs, refusal

NOT_FOUND = grpc.StatusCode.NOT_FOUND
INVALID = grpc.StatusCode.INVALID_ARGUMENT


@pytest.fixture
def config(config: Config) -> Config:
    """A policy that always takes the best utility: so sharp that prices decide."""
    sharp = ChoiceSettings(prior_width=1e-9, floor=0.0, control_share=0.0)
    return config.model_copy(update={"policies": {"default": PolicyConfig(choice=sharp, lesson=QUICK_LESSON)}})


def registry(stubs: Stubs) -> dict[str, pb.Model]:
    """The registry by name."""
    return {model.name: model for model in stubs.admin.ListModels(admin.ListModelsRequest()).models}


def put(stubs: Stubs, model: pb.Model, **changes: float) -> None:
    """Puts a model with some terms changed."""
    changed = pb.Model()
    changed.CopyFrom(model)
    for name, value in changes.items():
        setattr(changed, name, value)
    stubs.admin.PutModel(admin.PutModelRequest(model=changed))


def policy(stubs: Stubs) -> admin.GetPolicyResponse:
    return stubs.admin.GetPolicy(admin.GetPolicyRequest())


def eventually(condition: Callable[[], bool]) -> None:
    """Waits for what the learner does in its own time."""
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


# --- Models ---


def test_the_registry_lists_by_name_what_the_configuration_seeded(stubs: Stubs):
    names = [model.name for model in stubs.admin.ListModels(admin.ListModelsRequest()).models]
    assert names == sorted(model.name for model in Config().models)


def test_a_model_that_is_put_is_a_candidate_of_the_next_decision(stubs: Stubs):
    stubs.admin.PutModel(admin.PutModelRequest(model=pb.Model(name="new", model_class="small")))
    assert "new" in {candidate.model for candidate in stubs.decide("e").ranked}
    assert registry(stubs)["new"].model_class == "small"


def test_a_change_of_price_flips_the_next_choice_without_relearning(server: App, stubs: Stubs):
    """The same snapshot decides before and after; a sojourn that goes on is priced anew as well."""
    before = stubs.decide("before", tool_type="reasoning", prompt_tokens=20_000)
    put(stubs, registry(stubs)[before.model], input_usd_per_mtok=500.0, output_usd_per_mtok=900.0)
    after = stubs.decide("after", tool_type="reasoning", prompt_tokens=20_000)
    put(stubs, registry(stubs)[before.model], input_usd_per_mtok=0.01, output_usd_per_mtok=0.01)
    again = stubs.decide("again", tool_type="reasoning", prompt_tokens=20_000)
    assert after.model != before.model == again.model
    assert {answer.policy_version for answer in (before, after, again)} == {before.policy_version}


def test_a_drained_model_ends_its_sojourns_and_begins_none_until_the_drain_is_taken_back(stubs: Stubs):
    drained = stubs.decide("e", 0, tool_type="search").model
    assert stubs.admin.DrainModel(admin.DrainModelRequest(name=drained)).model.drained
    moved = stubs.decide("e", 1, tool_type="search")
    assert (moved.reason, moved.ranked[-1].model) == (pb.REASON_INCUMBENT_INELIGIBLE, drained)
    assert moved.ranked[-1].excluded_because == pb.EXCLUSION_DRAINED
    assert stubs.decide("f", 0, tool_type="search").model != drained
    stubs.admin.DrainModel(admin.DrainModelRequest(name=drained, drained=False))
    assert stubs.decide("g", 0, tool_type="search").model == drained


def test_a_removed_model_is_no_candidate_any_more_unless_a_request_brings_it(stubs: Stubs):
    removed = stubs.decide("e", 0, tool_type="search").model
    terms = registry(stubs)[removed]
    stubs.admin.RemoveModel(admin.RemoveModelRequest(name=removed))
    assert removed not in registry(stubs)
    moved = stubs.decide("e", 1, tool_type="search")
    assert moved.reason == pb.REASON_INCUMBENT_INELIGIBLE
    assert removed not in {candidate.model for candidate in moved.ranked}
    assert stubs.decide("f", candidates=[pb.Candidate(model=removed, terms=terms)]).model == removed
    assert refusal(lambda: stubs.decide("g", candidates=[pb.Candidate(model=removed)])).fields == (
        "candidates[0].terms",
    )


@pytest.mark.parametrize("method", ["RemoveModel", "DrainModel"])
def test_a_model_that_is_not_there_is_unknown(stubs: Stubs, method: str):
    request = getattr(admin, f"{method}Request")(name="nobody")
    found = refusal(lambda: getattr(stubs.admin, method)(request))
    assert (found.code, found.reason) == (NOT_FOUND, "UNKNOWN_MODEL")


# --- Policies ---


def test_a_policy_shows_mode_share_version_and_settings(server: App, stubs: Stubs):
    shown = policy(stubs)
    assert (shown.policy, shown.mode, shown.live_share) == ("default", pb.MODE_LIVE, 1.0)
    assert (shown.policy_version, shown.journal_position) == (0, server.journal.position())
    assert '"cost_weight"' in shown.settings_json


def test_the_mode_acts_on_the_next_episode(stubs: Stubs):
    stubs.admin.SetPolicyMode(admin.SetPolicyModeRequest(mode=pb.MODE_HEURISTIC))
    answer = stubs.decide("e", tool_type="search")
    assert (answer.mode, answer.cohort, answer.model) == (pb.MODE_HEURISTIC, pb.COHORT_HEURISTIC, "gpt-oss-120b")
    assert policy(stubs).mode == pb.MODE_HEURISTIC
    assert policy(stubs).live_share == 1.0


def test_the_share_acts_on_new_episodes_and_leaves_the_mode(stubs: Stubs):
    stubs.admin.SetLiveShare(admin.SetLiveShareRequest(live_share=0.0))
    assert {stubs.decide(f"e{i}").cohort for i in range(10)} == {pb.COHORT_HEURISTIC}
    stubs.admin.SetLiveShare(admin.SetLiveShareRequest(live_share=1.0))
    assert {stubs.decide(f"f{i}").cohort for i in range(10)} == {pb.COHORT_LEARNED}
    assert policy(stubs).mode == pb.MODE_LIVE


def test_outcomes_move_the_version_and_each_stored_snapshot_is_listed_newest_first(stubs: Stubs):
    stubs.decide("e", tool_type="search")
    stubs.end("e")
    eventually(lambda: policy(stubs).policy_version > 0)
    listed = stubs.admin.ListSnapshots(admin.ListSnapshotsRequest()).snapshots
    assert [s.policy_version for s in listed] == [policy(stubs).policy_version, 0]
    assert all(s.size_bytes > 0 and s.created_at_ms > 0 for s in listed)
    assert policy(stubs).statistics.joins["learned"] == 1


def test_a_rolled_back_policy_scores_as_it_did_at_that_version(stubs: Stubs):
    def scores(episode_id: str) -> dict[str, float]:
        return {c.model: c.score for c in stubs.decide(episode_id, tool_type="search").ranked}

    untaught = scores("before")
    for i in range(5):
        stubs.decide(f"e{i}", tool_type="search")
        stubs.end(f"e{i}", 0.0)
    eventually(lambda: policy(stubs).statistics.joins["learned"] == 5)
    assert scores("taught") != untaught
    position = stubs.admin.RollBackPolicy(admin.RollBackPolicyRequest(policy_version=0)).position
    eventually(lambda: policy(stubs).policy_version >= position)
    assert scores("after") == untaught


@pytest.mark.parametrize(
    ("request_", "code", "reason"),
    [
        (admin.GetPolicyRequest(policy="other"), NOT_FOUND, "UNKNOWN_POLICY"),
        (admin.SetPolicyModeRequest(policy="other", mode=pb.MODE_LIVE), NOT_FOUND, "UNKNOWN_POLICY"),
        (admin.SetLiveShareRequest(policy="other", live_share=0.5), NOT_FOUND, "UNKNOWN_POLICY"),
        (admin.ListSnapshotsRequest(policy="other"), NOT_FOUND, "UNKNOWN_POLICY"),
        (admin.RollBackPolicyRequest(policy="other", policy_version=0), NOT_FOUND, "UNKNOWN_POLICY"),
        (admin.RollBackPolicyRequest(policy_version=10**6), NOT_FOUND, "UNKNOWN_SNAPSHOT"),
        (admin.GetEpisodeRequest(episode_id="nobody"), NOT_FOUND, "UNKNOWN_EPISODE"),
        (admin.ListEpisodesRequest(page_token="9" * 30), INVALID, "INVALID_FIELD"),
        (admin.ListEpisodesRequest(page_token="-1"), INVALID, "INVALID_FIELD"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Message) else str(value),
)
def test_what_is_not_there_is_refused_and_changes_nothing(
    server: App, stubs: Stubs, request_: Message, code: grpc.StatusCode, reason: str
):
    before = server.journal.position()
    method = getattr(stubs.admin, type(request_).__name__.removesuffix("Request"))
    found = refusal(lambda: method(request_))
    assert (found.code, found.reason) == (code, reason)
    assert server.journal.position() == before


# --- Episodes and journal ---


def test_episodes_page_newest_first_without_gap_or_repeat(stubs: Stubs):
    names = [f"e{i}" for i in range(7)]
    for name in names:
        stubs.decide(name)
        stubs.decide(name, 1)
    listed, token = [], ""
    for _ in range(10):
        page = stubs.admin.ListEpisodes(admin.ListEpisodesRequest(page_size=3, page_token=token))
        listed += [episode.episode_id for episode in page.episodes]
        token = page.next_page_token
        if not token:
            break
    assert listed == names[::-1]
    assert [e.episode_id for e in stubs.admin.ListEpisodes(admin.ListEpisodesRequest()).episodes] == listed


def test_an_episode_is_shown_with_its_decisions_turns_and_outcome_in_order(stubs: Stubs):
    stubs.decide("e", 0)
    stubs.decide("e", 1, previous_turn=pb.TurnFacts(error=pb.SEVERITY_LOW))
    stubs.end("e")
    records = stubs.admin.GetEpisode(admin.GetEpisodeRequest(episode_id="e")).records
    assert [record.WhichOneof("body") for record in records] == ["decision", "decision", "outcome"]
    assert [record.position for record in records] == sorted(record.position for record in records)


def exported(stubs: Stubs, after_position: int = 0) -> list[journal_pb2.JournalRecord]:
    stream = stubs.admin.ExportJournal(admin.ExportJournalRequest(after_position=after_position))
    return [response.record for response in stream]


def test_the_export_equals_the_journal_and_ends_at_its_present_end(server: App, stubs: Stubs):
    for i in range(30):
        stubs.decide(f"e{i}")
    stubs.end("e3")
    everything = server.journal.read(0, limit=10**6)
    assert exported(stubs) == everything
    assert exported(stubs, after_position=20) == everything[20:]
    assert exported(stubs, after_position=len(everything)) == []


def test_an_export_cannot_begin_before_the_beginning(stubs: Stubs):
    found = refusal(lambda: exported(stubs, after_position=-3))
    assert (found.code, found.fields) == (INVALID, ("after_position",))


def test_every_change_is_a_record_with_the_time_it_came(server: App, stubs: Stubs):
    before = server.journal.position()
    put(stubs, registry(stubs)["gpt-5"])
    stubs.admin.SetLiveShare(admin.SetLiveShareRequest(live_share=0.5))
    stubs.admin.RemoveModel(admin.RemoveModelRequest(name="gpt-5"))
    records = exported(stubs, after_position=before)
    assert [record.WhichOneof("body") for record in records] == ["model_put", "mode", "model_removed"]
    assert all(abs(record.received_at_ms - time.time() * 1000) < 60_000 for record in records)
