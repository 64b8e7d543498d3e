"""Evaluation on journals that the router itself wrote: laws of weights, refusals, and truth by playing the target."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from sojourn_server.evaluation.evaluate import Evaluation, evaluate, model_shares
from sojourn_server.evaluation.logged import Log, read_log
from sojourn_server.evaluation.targets import Target, controls
from sojourn_server.learner.fold import Fold
from sojourn_server.policy.draws import NEVER_SWITCH, Assignment
from sojourn_server.world import read_world
from tests.learner.workshop import POLICY, Workshop, configured

EPISODES = 250


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    """Episodes that explore, learn as they go and come back to phases."""
    with capture_logs():
        workshop = Workshop(tmp_path_factory.mktemp("snapshots"), configured())
        for i in range(EPISODES):
            workshop.play(f"e{i}", seed=i, turns=4)
            if i % 10 == 0:
                workshop.settle()
        workshop.close()
        yield workshop


def log_of(workshop: Workshop) -> Log:
    return read_log(workshop.journal, POLICY, read_world(workshop.journal))


def evaluated(workshop: Workshop, *targets: Target) -> list[Evaluation]:
    fold = Fold.prior(POLICY, read_world(workshop.journal))
    return evaluate(workshop.journal, fold, log_of(workshop), targets, told=lambda position: None)


def settings_of(workshop: Workshop, **changes: object):
    return read_world(workshop.journal).policies[POLICY].settings.choice.model_copy(update=changes)


def test_the_logged_policy_gets_its_own_mean_to_the_last_bit(played: Workshop):
    """So its choices were replayed exactly: every ratio is 1."""
    log = log_of(played)
    assert len(log.episodes) == EPISODES
    (found,) = evaluated(played, Target("logged", settings_of(played)))
    assert (found.refused, found.mean_weight, found.effective_sample_size) == ("", 1.0, EPISODES)
    logged = sum(episode.score for episode in log.episodes) / EPISODES
    assert found.score_ips is not None
    assert found.score_ips.value == pytest.approx(logged, abs=1e-12)
    assert found.score_dr is not None
    assert found.score_dr.value == pytest.approx(logged, abs=0.1)
    assert found.one_step_gain is not None
    assert abs(found.one_step_gain.value) < 0.05


def test_money_is_estimated_where_episodes_report_usage_alone(played: Workshop):
    known = [e.cost_usd for e in log_of(played).episodes if e.cost_usd is not None]
    assert len(known) == EPISODES
    (found,) = evaluated(played, Target("logged", settings_of(played)))
    assert found.cost_usd is not None
    assert found.cost_usd.value == pytest.approx(sum(known) / EPISODES)
    assert found.cost_usd.value > 0.0


def test_weights_of_other_targets_have_mean_one(played: Workshop):
    """Though phases are revisited, draws are shared and scores move: three standard errors."""
    targets = [
        Target("uniform", settings_of(played), reshape=lambda names: dict.fromkeys(names, 1 / len(names))),
        Target("wider", settings_of(played, prior_width=1.0)),
        Target("dearer", settings_of(played), cost_weight=3.0),
    ]
    for found in evaluated(played, *targets):
        assert found.refused == "" or "ESS" in found.refused, found.refused
        error = (EPISODES / found.effective_sample_size - 1.0) ** 0.5 / EPISODES**0.5
        assert abs(found.mean_weight - 1.0) < 3.5 * error, found.target


def test_an_estimate_agrees_with_what_the_target_gets_when_it_is_played(played: Workshop, tmp_path: Path):
    name = max(model_shares(log_of(played).episodes).items(), key=lambda item: item[1])[0]
    never = settings_of(played, reference_model=name)
    (found,) = evaluated(played, Target("never", never, Assignment(NEVER_SWITCH, 1.0)))
    assert found.one_step_gain is not None
    wide = settings_of(played, prior_width=2.0)
    (wider,) = evaluated(played, Target("wide", wide))
    if wider.refused:
        pytest.fail(wider.refused)
    config = configured(choice=wide)
    with capture_logs():
        workshop = Workshop(tmp_path, config)
        for i in range(EPISODES):
            workshop.play(f"e{i}", seed=i, turns=4)
            if i % 10 == 0:
                workshop.settle()
        workshop.close()
    truth = sum(e.score for e in log_of(workshop).episodes) / EPISODES
    assert wider.score_snips is not None
    assert wider.score_snips.low - 0.05 <= truth <= wider.score_snips.high + 0.05


def test_a_log_that_never_explored_judges_nobody_who_does(open_workshop):
    """All weights are small and alike, so there is no effective sample size to fall short of."""
    certain = configured().policies[POLICY].choice.model_copy(update={"prior_width": 1e-6, "floor": 0.0})
    workshop = open_workshop(configured(choice=certain))
    for i in range(80):
        workshop.decide(f"e{i}", tool_type="search")
        workshop.end(f"e{i}")
    workshop.settle()
    uniform = Target("uniform", settings_of(workshop), reshape=lambda names: dict.fromkeys(names, 1 / len(names)))
    logged, found = evaluated(workshop, Target("logged", settings_of(workshop)), uniform)
    assert logged.refused == ""
    assert found.effective_sample_size == pytest.approx(80)
    assert found.refused.startswith("REFUSED: support is lost: weights have mean 0.17, not 1")
    assert found.score_snips is None


def test_few_episodes_or_none_in_common_are_refused(open_workshop):
    workshop = open_workshop()
    workshop.play_many(12)
    workshop.settle()
    settings = settings_of(workshop)
    found = {e.target: e for e in evaluated(workshop, *controls(settings, ["gpt-5"], {"gpt-5": 1.0}))}
    assert all(e.refused.startswith("REFUSED: ") for e in found.values())
    assert all(e.score_ips is None and e.cost_usd is None for e in found.values())


def test_episodes_without_known_probabilities_are_left_out_and_counted(open_workshop):
    workshop = open_workshop()
    workshop.play("sound", seed=1)
    workshop.decide("other", tool_type="search")
    workshop.report("other", 0, served_model="somebody-else")
    workshop.end("other")
    workshop.decide("gone", tool_type="search")
    workshop.end("gone", None, status=3)
    workshop.decide("retried", tool_type="search")
    workshop.decide("retried", tool_type="search", attempt=1)
    workshop.end("retried")
    log = log_of(workshop)
    assert [episode.episode_id for episode in log.episodes] == ["sound"]
    assert log.left_out == {
        "with a turn that another model served": 1,
        "without an outcome that counts": 1,
        "with a second attempt": 1,
    }
