"""EvaluatePolicy: a request becomes targets, a journal the log, estimates an answer.

`sojourn evaluate` gives the same answer over a journal's files as the service, which works it out in a process of its
own (`upkeep/evaluator.py`): replaying takes minutes of one core, and decisions are not to wait for them.
"""

from __future__ import annotations

from sojourn.v1 import admin_pb2
from sojourn_server.config import ChoiceSettings
from sojourn_server.evaluation.estimators import Estimate
from sojourn_server.evaluation.evaluate import Evaluation, Told, evaluate, model_shares
from sojourn_server.evaluation.logged import read_log
from sojourn_server.evaluation.request import ESTIMATES, changed_settings, check
from sojourn_server.evaluation.targets import Target, controls
from sojourn_server.journal.journal import Journal
from sojourn_server.learner.fold import Fold
from sojourn_server.learner.snapshot import Published
from sojourn_server.router import DEFAULT_POLICY
from sojourn_server.world import World, read_world

LOGGED, ASKED = "as logged", "as asked"


def answer(
    journal: Journal, request: admin_pb2.EvaluatePolicyRequest, *, told: Told = lambda position: None
) -> admin_pb2.EvaluatePolicyResponse:
    """`told(position)` hears how far the journal has been replayed.

    Raises UnknownPolicy, UnknownSnapshot, InvalidField, BadLesson, JournalUnavailable.
    """
    world = read_world(journal)
    state = check(request, world, journal)
    policy = request.policy or DEFAULT_POLICY
    log = read_log(journal, policy, world)
    response = admin_pb2.EvaluatePolicyResponse(episodes=len(log.episodes), left_out=dict(log.left_out))
    response.without_cost_usd = sum(episode.cost_usd is None for episode in log.episodes)
    if log.episodes:
        settings = state.settings.choice
        targets = [Target(LOGGED, settings), *_asked(request, settings, journal, world)]
        targets += controls(settings, sorted(world.registry.models), model_shares(log.episodes))
        beginning = Fold.begin(policy, world, journal, until=journal.position())
        found = evaluate(journal, beginning, log, targets, told=told)
        response.evaluations.extend(_message(each) for each in found)
    return response


def _asked(
    request: admin_pb2.EvaluatePolicyRequest, settings: ChoiceSettings, journal: Journal, world: World
) -> list[Target]:
    """The policy with changed settings, or with what it knew at one version all along; none if neither is asked for."""
    changed = changed_settings(settings, request.choice_settings_json)
    if changed == settings and not request.HasField("policy_version"):
        return []
    weight = changed.cost_weight if changed.cost_weight != settings.cost_weight else None
    knowledge = None
    if request.HasField("policy_version"):
        policy = request.policy or DEFAULT_POLICY
        version = request.policy_version  # 0 is the untaught prior, whatever bases there are
        fold = Fold.of(policy, world, journal, until=version) if version else Fold.prior(policy, world)
        knowledge = Published(fold.position, fold.bandit, fold.counts)
    return [Target(ASKED, changed, cost_weight=weight, knowledge=knowledge)]


def _message(found: Evaluation) -> admin_pb2.Evaluation:
    estimates = {name: _estimate(value) for name in ESTIMATES if (value := getattr(found, name)) is not None}
    return admin_pb2.Evaluation(
        name=found.target,
        refused=found.refused,
        mean_weight=found.mean_weight,
        effective_sample_size=found.effective_sample_size,
        **estimates,
    )


def _estimate(found: Estimate) -> admin_pb2.Estimate:
    return admin_pb2.Estimate(value=found.value, low=found.low, high=found.high)
