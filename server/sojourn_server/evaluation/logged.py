"""Episodes as evaluation may use them: whole, learned policy in charge, every choice made by a known probability.

An episode with a turn that the client decided, that another model served, or at which something inside failed has no
known probability, so it is left out and counted. That is said beside the estimates: what is left out may differ.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from sojourn.v1 import types_pb2
from sojourn_server.journal.journal import Journal
from sojourn_server.learner import credit
from sojourn_server.learner.credit import PlayedTurn
from sojourn_server.learner.fold import ends
from sojourn_server.policy.draws import LEARNED
from sojourn_server.world import World


class LoggedEpisode(NamedTuple):
    """An ended episode: its decided turns in order, its score in [0, 1], its USD (None = unknown)."""

    episode_id: str
    turns: tuple[PlayedTurn, ...]
    score: float
    cost_usd: float | None


class Log(NamedTuple):
    """What a journal has to evaluate with, and what was left out, by reason."""

    episodes: Sequence[LoggedEpisode]
    left_out: Counter[str]


def read_log(journal: Journal, policy: str, world: World) -> Log:
    """All usable episodes of a policy in the order of their ends."""
    state = world.policies[policy]
    episodes, left_out = list[LoggedEpisode](), Counter[str]()
    begins_at = state.begins_at(journal.position())
    for record in ends(journal, policy):
        score = credit.terminal_score(record.outcome.request) if record.HasField("outcome") else None
        if score is None or record.outcome.late or record.outcome.quarantined or state.excludes(record):
            left_out["without an outcome that counts"] += 1
            continue
        records = [r for r in journal.episode(policy, record.episode_id) if 0 < r.position <= record.position]
        facts = credit.facts_by_turn(records)
        turns = credit.played_turns(records, facts)
        why = _why_unusable(turns, facts, begins_at)
        if why:
            left_out[why] += 1
        else:
            cost_usd = credit.spent_usd(records, turns, facts, world.registries)
            episodes.append(LoggedEpisode(record.episode_id, tuple(turns), score, cost_usd))
    return Log(episodes, left_out)


def _why_unusable(turns: Sequence[PlayedTurn], facts: dict[int, types_pb2.TurnFacts], begins_at: int) -> str:
    if not turns:
        return "without decisions"
    if any(t.decision.answer.policy_version < begins_at for t in turns):
        return "decided by a version that cannot be rebuilt any more"
    if any(t.decision.inputs.cohort != LEARNED or t.decision.answer.mode != types_pb2.MODE_LIVE for t in turns):
        return "not served by the learned policy"
    if any(not t.decision.learnable for t in turns):
        return "with a decision that failed inside"
    if any(t.served != t.decision.answer.model for t in turns):
        return "with a turn that another model served"
    if set(facts) - {t.turn_index for t in turns}:
        return "with a turn that the client decided"
    if any(t.decision.request.attempt for t in turns):
        return "with a second attempt"
    return ""
