"""What EvaluatePolicy can be asked, and what is wrong with a request: all that the serving process needs to know.

The estimators stay out of it: they bring scipy, which a server has no other use for.
"""

from __future__ import annotations

import json
from typing import Any, Literal, get_args

from pydantic import ValidationError

from sojourn.v1 import admin_pb2
from sojourn_server.config import ChoiceSettings
from sojourn_server.errors import FieldViolation, InvalidField, UnknownPolicy, UnknownSnapshot
from sojourn_server.journal.journal import Journal
from sojourn_server.router import DEFAULT_POLICY
from sojourn_server.world import PolicyState, World

Estimated = Literal["score_ips", "score_snips", "score_dr", "cost_usd", "model_value", "one_step_gain"]
ESTIMATES: tuple[Estimated, ...] = get_args(Estimated)
"""The estimates of an Evaluation, in the order in which they are shown."""
_FIELD = "choice_settings_json"


def check(request: admin_pb2.EvaluatePolicyRequest, world: World, journal: Journal) -> PolicyState:
    """The policy's state, if the request can be answered. Raises UnknownPolicy, UnknownSnapshot, InvalidField."""
    state = world.policies.get(request.policy or DEFAULT_POLICY)
    if state is None:
        raise UnknownPolicy(f"policy: no policy {request.policy!r}; there are {sorted(world.policies)}")
    if request.policy_version < 0:
        raise InvalidField([FieldViolation("policy_version", "must be at least 0")])
    if request.policy_version > (here := journal.position()):
        raise UnknownSnapshot(
            f"policy_version: {request.policy_version} lies ahead of the journal, which ends at {here}"
        )
    if 0 < request.policy_version < (begins_at := state.begins_at(here)):
        raise UnknownSnapshot(
            f"policy_version: what was known at {request.policy_version} cannot be rebuilt, only from {begins_at} on"
        )
    changed_settings(state.settings.choice, request.choice_settings_json)
    return state


def changed_settings(settings: ChoiceSettings, changes: str) -> ChoiceSettings:
    """The settings with changes from a JSON object. Raises InvalidField naming the setting."""
    try:
        values: Any = json.loads(changes or "{}")
    except ValueError as error:
        raise InvalidField([FieldViolation(_FIELD, f"must be JSON: {error}")]) from error
    if not isinstance(values, dict):
        raise InvalidField([FieldViolation(_FIELD, "must be a JSON object of choice settings")])
    try:
        return ChoiceSettings.model_validate(settings.model_dump() | values)
    except ValidationError as error:
        mistakes = [(".".join(map(str, each["loc"])), each["msg"]) for each in error.errors()]
        raise InvalidField([FieldViolation(f"{_FIELD}.{at}", said) for at, said in mistakes]) from error
