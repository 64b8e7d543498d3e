"""Several hosts over one PostgreSQL decide as one router: one answer per turn, one learner, one set of terms."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest

from sojourn.v1 import admin_pb2, router_pb2
from sojourn.v1 import types_pb2 as pb
from sojourn_server.app import App
from sojourn_server.config import PolicyConfig
from sojourn_server.errors import EpisodeEnded, PayloadConflict, StartRefused
from sojourn_server.hosts import leadership, member
from tests.hosts.hosts import cut_off_the_leader, decide, end, host, learned, report, term, wait_until
from tests.learner.workshop import replayed, same
from tests.policy.play import QUICK_LESSON
from tests.rpc.wire import connected

TURNS = 20


@pytest.fixture
def hosts(dsn: str) -> Iterator[tuple[App, App]]:
    """Two hosts; the first one leads."""
    with host(dsn) as first, host(dsn) as second:
        yield first, second


def test_two_hosts_that_decide_the_same_turn_give_one_answer(hosts: tuple[App, App]):
    """All turns of an episode, each asked of both at the same moment."""
    start = Barrier(2)

    def play(app: App) -> list[router_pb2.DecideResponse]:
        answers = []
        for turn in range(TURNS):
            start.wait(20)
            answers.append(decide(app, "e", turn, tool_type=("code", "search", "reasoning")[turn % 3]))
        return answers

    with ThreadPoolExecutor(2) as threads:
        one, other = threads.map(play, hosts)
    assert [a.decision_id for a in one] == [a.decision_id for a in other]
    assert one == other
    assert len(hosts[0].journal.episode("default", "e")) == TURNS


def test_one_turn_with_two_payloads_is_decided_for_the_first_and_refused_to_the_second(hosts: tuple[App, App]):
    decide(hosts[0], "e", tool_type="code")
    with pytest.raises(PayloadConflict):
        decide(hosts[1], "e", tool_type="search")


def test_an_episode_that_another_host_went_on_with_is_read_anew(hosts: tuple[App, App]):
    """What was served, decided and ended there counts here, though this host has the episode cached."""
    one, other = hosts
    decide(one, "e", 0)
    report(other, "e", 0, "kimi-k2")
    assert decide(one, "e", 1).incumbent == "kimi-k2"
    chosen = decide(other, "e", 2, constraints=pb.Constraints(allow=["gpt-5"])).model
    assert decide(one, "e", 3).incumbent == chosen == "gpt-5"
    end(other, "e")
    with pytest.raises(EpisodeEnded):
        decide(one, "e", 4)
    assert end(one, "e").state == router_pb2.REPORT_STATE_DUPLICATE


def test_all_hosts_draw_alike(hosts: tuple[App, App]):
    """The key of the draws is the journal's."""
    one, other = (app.router._secret for app in hosts)
    assert one == other
    assert len(one) == 32


def test_what_an_administrator_sets_on_one_host_reaches_the_other_within_a_second(hosts: tuple[App, App]):
    leader, follower = hosts
    with connected(follower.address) as stubs:
        stubs.admin.DrainModel(admin_pb2.DrainModelRequest(name="kimi-k2", drained=True), timeout=10)
        assert follower.router.world.registry.models["kimi-k2"].terms.drained
        wait_until(lambda: leader.router.world.registry.models["kimi-k2"].terms.drained, at_most_s=1.0)
    with connected(leader.address) as stubs:
        request = admin_pb2.SetPolicyModeRequest(policy="default", mode=pb.MODE_SHADOW)
        stubs.admin.SetPolicyMode(request, timeout=10)
        wait_until(lambda: follower.router.world.policies["default"].mode == pb.MODE_SHADOW, at_most_s=1.0)


def test_changes_made_on_both_hosts_at_once_are_all_in_both_worlds(hosts: tuple[App, App]):
    def put(app: App) -> None:
        with connected(app.address) as stubs:
            for i in range(5):
                model = pb.Model(name=f"{app.address}-{i}", model_class="small")
                stubs.admin.PutModel(admin_pb2.PutModelRequest(model=model), timeout=10)

    with ThreadPoolExecutor(2) as threads:
        list(threads.map(put, hosts))
    names = {f"{app.address}-{i}" for app in hosts for i in range(5)}
    for app in hosts:
        wait_until(lambda app=app: app.router.world.registry.models.keys() >= names, at_most_s=1.0)  # type: ignore[misc] # bound early
    assert hosts[0].router.world.registries == hosts[1].router.world.registries


@pytest.mark.parametrize("way", ["by notification", "by looking"])
def test_a_change_reaches_the_other_host_by_either_of_two_ways(dsn: str, way: str, monkeypatch: pytest.MonkeyPatch):
    """Each alone: nobody looks by itself, or nobody hears."""
    if way == "by notification":
        monkeypatch.setattr(member, "POLL_S", 600.0)
    else:
        monkeypatch.setattr(leadership.Leadership, "_heard", lambda *_: None)
    with host(dsn) as leader, host(dsn) as follower, connected(leader.address) as stubs:
        stubs.admin.DrainModel(admin_pb2.DrainModelRequest(name="kimi-k2", drained=True), timeout=10)
        wait_until(lambda: follower.router.world.registry.models["kimi-k2"].terms.drained, at_most_s=2.0)
        decide(leader, "e")
        end(leader, "e")
        wait_until(lambda: learned(follower) == 1)


def test_what_is_learned_reaches_every_host_as_the_same_version(hosts: tuple[App, App]):
    leader, follower = hosts
    for i in range(6):
        app = hosts[i % 2]
        decide(app, f"e{i}")
        end(app, f"e{i}", score=i / 5)
    for app in hosts:
        wait_until(lambda app=app: learned(app) == 6)  # type: ignore[misc] # bound early
    versions = [app.router.knowledge("default").version for app in hosts]
    assert versions == [leader.journal.position()] * 2
    rebuilt = replayed(leader.journal, versions[0])
    assert same(leader.router.knowledge("default"), rebuilt)
    assert same(follower.router.knowledge("default"), rebuilt)


def test_when_the_leader_is_cut_off_a_new_term_begins_and_nothing_is_learned_twice(hosts: tuple[App, App], dsn: str):
    decide(hosts[0], "before")
    end(hosts[0], "before")
    wait_until(lambda: learned(hosts[1]) == 1)
    before = term(dsn)
    cut_off_the_leader(dsn)
    for i in range(4):
        decide(hosts[i % 2], f"after{i}")
        end(hosts[i % 2], f"after{i}", score=0.5)
    for app in hosts:
        wait_until(lambda app=app: learned(app) == 5)  # type: ignore[misc] # bound early
    assert term(dsn) > before
    knowledge = hosts[1].router.knowledge("default")
    assert same(knowledge, replayed(hosts[0].journal, knowledge.version))


def test_when_the_leading_host_stops_the_other_one_learns_on(dsn: str):
    with host(dsn) as follower_later_leader:
        with host(dsn) as second:
            decide(second, "e")
        end(follower_later_leader, "e")
        wait_until(lambda: learned(follower_later_leader) == 1)
    with host(dsn) as again:
        assert learned(again) == 1
        assert again.router.knowledge("default").version == again.journal.position()


def test_a_policy_that_only_a_later_host_is_configured_with_is_decided_by_all(dsn: str):
    with host(dsn) as first:
        policies = {name: PolicyConfig(lesson=QUICK_LESSON) for name in ("default", "research")}
        with host(dsn, policies=policies) as second:
            assert decide(second, "e", policy="research").model
            wait_until(lambda: "research" in first.router.world.policies)
            assert decide(first, "e", 1, policy="research").model


def test_settings_that_make_no_learner_are_refused_before_they_reach_the_journal(dsn: str):
    bad = PolicyConfig(lesson=QUICK_LESSON.model_copy(update={"vw_options": "--no_such_option"}))
    with host(dsn) as app:
        before = app.journal.position()
        with (
            pytest.raises(StartRefused, match=r"policies\.default\.lesson\.vw_options"),
            host(dsn, policies={"default": bad}),
        ):
            pass
        assert app.journal.position() == before


def test_hosts_that_start_together_seed_an_empty_journal_once(dsn: str):
    opened = []

    def start(_: int) -> None:
        with host(dsn) as app:
            opened.append(app)
            gate.wait(60)

    gate = Barrier(3)
    with ThreadPoolExecutor(3) as threads:
        list(threads.map(start, range(3)))
    with host(dsn) as app:
        records = app.journal.read(0)
    settings = [r for r in records if r.HasField("settings")]
    assert len(settings) == 1
    assert len({r.model_put.model.name for r in records if r.HasField("model_put")}) == len(records) - 2
