"""The warm start: teaches an empty bandit the heuristic's table through simulated events.

Each event shows one candidate, drawn uniformly, in one of the table's situations. The table's choice ends as usual;
every other candidate lies below it by a gap, plus whatever money it would save there, so that at list prices the
*utility* of the table's choice leads by the gap; but no score lies below 0, so where money is dear, prices overrule
the table. A candidate that errs more than usual lies lower by `error_slope` times that excess. Turns to go are taught
as far above their value as below: Vowpal Wabbit's steps shrink with the squared errors seen, and then start as small
as after so many real episodes. The same settings and models give the same prior.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import exp, isfinite, log
from random import Random

from sojourn.v1 import router_pb2, types_pb2
from sojourn_server.config import ChoiceSettings, PolicySettings
from sojourn_server.policy import heuristic, money
from sojourn_server.policy.bandit import Bandit, action_line, shared_line
from sojourn_server.policy.registry import Model

_ERROR_EXCESS = 0.06  # standard deviation, over simulated candidates, of error rates around the usual one
_LARGEST_LEAD = 0.5  # in score: from a usual one that nobody knows yet to 0
_STEP = 0.2
_TURNS_SPREAD = 0.5
_LOG_PROMPT_RANGE = (log(1_500.0), log(60_000.0))  # of the simulated prompts, in tokens


def teach_prior(bandit: Bandit, settings: PolicySettings, models: Sequence[Model]) -> bool:
    """Teaches `settings.lesson.prior.events` events about these models, in a fixed order; False if that went astray."""
    prior, choice = settings.lesson.prior, settings.choice
    if not models:
        return True
    random = Random(prior.seed)
    kinds = [*choice.heuristic.table, ""]
    languages = ["", *sorted({s.split(":", 1)[1] for m in models for s in m.terms.skills if ":" in s})]
    for _ in range(prior.events):
        kind, language = random.choice(kinds), random.choice(languages)
        prompt_tokens = exp(random.uniform(*_LOG_PROMPT_RANGE))
        index = random.randrange(len(models))
        tabled = heuristic.choose(choice.heuristic, models, kind=kind, language=language)
        is_tabled = models[index] is tabled
        saving = _saving(models[index], tabled, prompt_tokens, settings)
        lead = 0.0 if is_tabled else min(prior.gap + saving, _LARGEST_LEAD)
        shared = _shared(kind, language, prompt_tokens, choice)
        excess = random.gauss(0.0, _ERROR_EXCESS)
        lead += prior.error_slope * excess
        bandit.learn_advantage(shared, action_line(models[index], {}, excess), advantage=-lead, step=_STEP)
        for side in (_TURNS_SPREAD, -_TURNS_SPREAD):
            if not isfinite(bandit.learn_turns(shared, prior.turns * (1.0 + side))):
                return False
    return True


def _shared(kind: str, language: str, prompt_tokens: float, choice: ChoiceSettings) -> str:
    context = types_pb2.Context(tool_type=kind, language=language)
    return shared_line(
        router_pb2.DecideRequest(context=context),
        kind=kind,
        tabled=bool(kind),
        phase=kind,
        error_count=0,
        last_error=types_pb2.SEVERITY_UNSPECIFIED,
        prompt_tokens=prompt_tokens,
        cost_weight=choice.cost_weight,
    )


def _saving(model: Model, tabled: Model, prompt_tokens: float, settings: PolicySettings) -> float:
    """Score units that choosing `model` in place of the table's choice would save in money; >= 0."""
    choice = settings.choice

    def usd(candidate: Model) -> float:
        rate = money.rates(candidate, choice.default_output_tokens)
        horizon = money.Horizon(
            prompt_tokens, choice.default_prompt_growth_tokens, choice.default_phase_turns, choice.cacheable_share
        )
        outlook = money.Outlook(horizon, rate)
        return outlook.usd(rate, warm_tokens=0.0, turns_to_go=choice.default_phase_turns)

    return max(choice.cost_weight * (usd(tabled) - usd(model)), 0.0)
