"""What is counted beside the regressions: evidence, lengths, shares, tokens, medians. Part of every snapshot.

Evidence decays with a half-life in episodes, so that the policy never stops exploring for good; running means
remember about `_MEMORY` values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, MutableMapping, Sequence
from itertools import accumulate, pairwise
from statistics import median
from typing import TypeVar

from sojourn.v1 import snapshot_pb2, types_pb2
from sojourn_server.config import LessonSettings
from sojourn_server.learner.credit import Lesson, PlayedTurn

_MEMORY = 500.0
_SUCCESS = 0.5
_MOST_NAMES = 512
_MOST_MODELS_OF_A_PHASE = 128
_LONGEST = 2**31 - 1  # turns that the message's field can hold
Statistics = snapshot_pb2.Statistics
T = TypeVar("T")


def add(mean: snapshot_pb2.RunningMean, value: float) -> None:
    """Adds a value; beyond `_MEMORY` values old ones fade."""
    mean.count = min(mean.count + 1.0, _MEMORY)
    mean.mean += (value - mean.mean) / mean.count


def expected_turns(statistics: Statistics, task_type: str, lesson: LessonSettings) -> float:
    """N: the configured number, else the running median of successful episodes of the task type, else of all."""
    if lesson.expected_turns is not None:
        return lesson.expected_turns
    for kind in (task_type, ""):
        sample = statistics.successful_turns_by_task_type.get(kind)
        if sample is not None and sample.turns:
            return float(median(sample.turns))
    return lesson.prior.turns


def count_episode(
    statistics: Statistics,
    turns: Sequence[PlayedTurn],
    lessons: Sequence[Lesson],
    *,
    score: float,
    lesson: LessonSettings,
) -> None:
    """Counts an ended episode whose lessons were taught, but for its score: that was counted before them."""
    _decay(statistics, 0.5 ** (1.0 / lesson.evidence_half_life_episodes))
    for learned in lessons:
        evidence = statistics.evidence_by_phase[learned.turn.decision.answer.phase]
        evidence.decisions += 1.0
        for model, contrast in learned.contrasts.items():
            evidence.evidence_by_model[model] += contrast**2
    statistics.episodes += 1
    statistics.decisions += len(lessons)
    _count_turns(statistics, turns)
    _bound(statistics)
    _count_tokens(statistics, turns)
    if score >= _SUCCESS and turns:
        task_type = turns[0].decision.request.context.task_type
        full = len(statistics.successful_turns_by_task_type) >= _MOST_NAMES
        for kind in {"" if full else task_type, ""}:
            length = min(turns[-1].turn_index + 1, _LONGEST)
            _remember(statistics.successful_turns_by_task_type[kind], length, lesson.median_episodes)


def _decay(statistics: Statistics, factor: float) -> None:
    evidence = statistics.evidence_by_phase.values()
    for known in evidence:
        known.decisions *= factor
    for counts in (statistics.turns_by_model, *(known.evidence_by_model for known in evidence)):
        for key in list(counts):
            counts[key] *= factor


def _bound(statistics: Statistics) -> None:
    """Clients name phases and models as they like: the least counted names make room for new ones."""
    _trim(statistics.evidence_by_phase, lambda known: known.decisions, most=_MOST_NAMES)
    _trim(statistics.score_by_task_type, lambda known: known.count, most=_MOST_NAMES)
    _trim(statistics.turns_by_model, float, most=_MOST_NAMES)
    for known in statistics.evidence_by_phase.values():
        _trim(known.evidence_by_model, float, most=_MOST_MODELS_OF_A_PHASE)
        _trim(known.error_rate_by_model, lambda rate: rate.count, most=_MOST_MODELS_OF_A_PHASE)


def _trim(counts: MutableMapping[str, T], weight: Callable[[T], float], *, most: int) -> None:
    if (excess := len(counts) - most) > 0:
        for name in sorted(counts, key=lambda name: (weight(counts[name]), name))[:excess]:
            del counts[name]


def _count_turns(statistics: Statistics, turns: Sequence[PlayedTurn]) -> None:
    # A turn at which the caller had to stay hangs on the choice before it, as all do where only the first is open.
    choices: Iterator[PlayedTurn] = accumulate(
        turns, lambda choice, turn: choice if turn.decision.request.constraints.HasField("must_stay_because") else turn
    )
    for phase, number in Counter(choice.decision.answer.phase for choice in choices).items():
        add(statistics.evidence_by_phase[phase].turns, number)
    for turn in turns:
        statistics.turns_by_model[turn.served] += 1.0
        if turn.facts is not None:
            evidence = statistics.evidence_by_phase[turn.decision.answer.phase]
            shows_error = float(turn.facts.error >= types_pb2.SEVERITY_LOW)
            add(evidence.error_rate_by_model[turn.served], shows_error)
            add(statistics.error_rate, shows_error)


def _count_tokens(statistics: Statistics, turns: Sequence[PlayedTurn]) -> None:
    for turn in turns:
        known = turn.served in statistics.turns_by_model
        if known and turn.facts is not None and turn.facts.usage.HasField("output_tokens"):
            add(statistics.output_tokens_by_model[turn.served], turn.facts.usage.output_tokens)
    for earlier, later in pairwise(turns):
        growth = later.decision.inputs.prompt_tokens - earlier.decision.inputs.prompt_tokens
        if later.turn_index == earlier.turn_index + 1 and growth >= 0:
            add(statistics.prompt_growth_tokens, growth)


def _remember(sample: snapshot_pb2.TurnsSample, turns: int, most: int) -> None:
    sample.turns.append(turns)
    del sample.turns[: max(len(sample.turns) - most, 0)]
