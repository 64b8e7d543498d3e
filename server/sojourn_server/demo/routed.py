"""Choosers that ask the router, through the Python client, as any agent would.

The caller's view becomes the inputs of `Decide`; the turn's facts ride on the next one; the episode ends with its
score. What is chosen, held or explored is the router's affair. Of all decisions the newest telling switch is kept,
to be explained afterwards.
"""

from __future__ import annotations

from dataclasses import dataclass

from sojourn import Client, Decision, Episode
from sojourn_server.demo.play import Task, TurnFacts, TurnView


@dataclass(frozen=True)
class Switch:
    """A decision to leave the incumbent, and what the router was shown."""

    decision: Decision
    view: TurnView


class SojournChooser:
    """Asks one policy of a router for each turn."""

    def __init__(self, client: Client, *, policy: str, run: str) -> None:
        """`run` makes episode ids unique in the journal: "<run>-<task index>"."""
        self._client = client
        self._policy = policy
        self._run = run
        self._episode: Episode | None = None  # the episode under way; owner: play()
        self.telling_switch: Switch | None = None  # the newest one; owner: choose()

    def begin(self, task: Task) -> None:
        """Begins an episode of the client."""
        self._episode = self._client.episode(
            f"{self._run}-{task.index}", policy=self._policy, task_type=task.level.name
        )

    def choose(self, view: TurnView) -> str:
        """The router's choice, or the client's own if the router did not answer in time."""
        decision = self._open_episode.decide(
            tool_type=view.tool_type,
            error_count=view.error_count,
            last_error=view.last_error,
            prompt_tokens=view.prompt_tokens,
            features=view.features,
        )
        if _is_telling(decision):
            self.telling_switch = Switch(decision, view)
        return decision.model

    def observe(self, facts: TurnFacts) -> None:
        """Hands the turn's facts to the client."""
        spend = facts.spend
        self._open_episode.report(
            input_tokens=spend.input_tokens,
            cached_read_tokens=spend.cached_read_tokens,
            cache_write_tokens=spend.cache_write_tokens,
            output_tokens=spend.output_tokens,
            error=facts.error,
        )

    def end(self, score: float, usd: float) -> None:
        """Ends the episode with its score and money."""
        self._open_episode.finish(score=score, cost_usd=usd)
        self._episode = None

    @property
    def _open_episode(self) -> Episode:
        assert self._episode is not None, "begin() comes first"
        return self._episode


def _is_telling(decision: Decision) -> bool:
    """A switch at a new phase, for its utility and not by the draw, although it cost some cache."""
    if not decision.switched or decision.reason != "PHASE_CHANGED" or not decision.ranked:
        return False
    best = decision.ranked[0]
    return best.model == decision.model and best.score is not None and bool(best.switching_cost_usd)
