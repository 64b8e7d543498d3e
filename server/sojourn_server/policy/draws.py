"""Draws and cohorts: every uniform number comes from a keyed hash, so each can be reproduced and none predicted.

One draw serves all decisions of an (episode, phase), which makes exploration coherent inside a phase. Another one
assigns the cohort, the policy that serves an episode: drawn at its first decision, fixed for good, recorded with its
probability. On [0, 1) the controls own [0, c) (never-switch) and [c, 2c) (heuristic) for good; of the rest the learned
policy owns the lowest `live_share`, so raising the share moves assignment keys one way only.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import NamedTuple

from sojourn.v1 import types_pb2

LEARNED = types_pb2.COHORT_LEARNED
HEURISTIC = types_pb2.COHORT_HEURISTIC
NEVER_SWITCH = types_pb2.COHORT_NEVER_SWITCH
_UNIT = 1.0 / (1 << 53)


def uniform(secret: bytes, *parts: str) -> float:
    """A number in [0, 1) that is uniform over keys; `parts` are length-prefixed, so they cannot run together."""
    message = b"".join([len(raw).to_bytes(4, "big") + raw for raw in map(str.encode, parts)])
    digest = blake2b(message, key=secret, digest_size=8).digest()
    return (int.from_bytes(digest, "big") >> 11) * _UNIT


def phase_draw(secret: bytes, policy: str, episode_id: str, phase: str) -> float:
    """The draw of an (episode, phase), in [0, 1)."""
    return uniform(secret, "phase", policy, episode_id, phase)


def cohort_draw(secret: bytes, policy: str, assignment_key: str) -> float:
    """The draw that assigns a cohort, in [0, 1)."""
    return uniform(secret, "cohort", policy, assignment_key)


class Assignment(NamedTuple):
    """A cohort and the probability with which it was drawn, in (0, 1]."""

    cohort: types_pb2.Cohort.ValueType
    probability: float


def assign(mode: types_pb2.Mode.ValueType, draw: float, *, live_share: float, control_share: float) -> Assignment:
    """The cohort of an episode. HEURISTIC and SHADOW put all episodes into one; LIVE draws."""
    if mode == types_pb2.MODE_HEURISTIC:
        return Assignment(HEURISTIC, 1.0)
    if mode == types_pb2.MODE_SHADOW:
        return Assignment(LEARNED, 1.0)
    learned = (1.0 - 2 * control_share) * live_share
    if draw < control_share:
        return Assignment(NEVER_SWITCH, control_share)
    if 2 * control_share <= draw < 2 * control_share + learned:
        return Assignment(LEARNED, learned)
    return Assignment(HEURISTIC, 1.0 - control_share - learned)
