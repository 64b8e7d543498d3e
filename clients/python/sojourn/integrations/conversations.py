"""What every stack shares: an episode for each conversation, and a router that can never stop an agent.

Stacks speak of conversations (sessions, threads, runs) and of calls. Here a conversation's calls become the turns
of an episode that bears its id. A call that follows one that could not be served is another attempt at the same
turn. A conversation that goes on after its outcome begins another episode. In SHADOW mode the stack serves its own
model, which is told as what served. Whatever goes wrong is logged and gives None, for which the stack serves its own
model too. Everything may be called from any thread; a decision waits for the router at most the client's deadline.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections import OrderedDict
from collections.abc import Mapping
from typing import Generic, NamedTuple, TypeVar, Unpack
from uuid import uuid4

from sojourn.client import Client, Episode
from sojourn.decision import Decision
from sojourn.errors import SojournError, UnmetPrecondition
from sojourn.integrations.tool_results import ToolResult
from sojourn.messages import OutcomeReport, Status, TurnInputs, TurnReport
from sojourn.reports import Acknowledgement

MAX_NAME_BYTES = 128
ModelT = TypeVar("ModelT")
OWN_MODEL = "own"
"""What served in SHADOW mode, for stacks that cannot name their own model."""
_log = logging.getLogger("sojourn")


class Call(NamedTuple):
    """The model for one call, and which decision it came from; plain values, so that a stack can carry it along.

    `model` is None in SHADOW mode: the stack serves its own, whose name is `own`.
    """

    conversation_id: str
    model: str | None
    own: str
    episode_id: str
    turn_index: int
    attempt: int
    decision_id: str | None


class _Conversation:
    def __init__(self, episode: Episode) -> None:
        self.lock = threading.Lock()
        self.episode = episode  # guarded by lock, like all that follows
        self.newest: Call | None = None  # None before the first, and when the stack served its own model
        self.told = False  # whether something was told of the newest call
        self.failure: TurnReport | None = None  # why the newest call could not be served; told if nobody tries it again
        self.ended = False

    def begin(self, call: Call) -> Call:
        self.newest, self.told, self.failure, self.ended = call, False, None, False
        return call

    def tell_failure(self) -> None:
        if self.failure and not self.ended:
            self.episode.report(**self.failure)


class Conversations:
    """The conversations of one application; beyond `most` the one that was quiet for longest is forgotten."""

    def __init__(self, client: Client, *, task_type: str | None = None, most: int = 10_000) -> None:
        self._client = client
        self._task_type = task_type
        self._most = most
        self._lock = threading.Lock()
        self._known: OrderedDict[str, _Conversation] = OrderedDict()  # guarded by _lock, oldest use first

    def choose(
        self,
        conversation_id: str,
        tool: ToolResult | None = None,
        *,
        own: str = OWN_MODEL,
        answers_before: int = 0,
        again: bool = False,
        **inputs: Unpack[TurnInputs],
    ) -> Call | None:
        """Return the model of the next call; None leaves it to the stack.

        `tool` is what the call works on, `own` the name of the stack's own model. `answers_before` numbers the first
        turn of a conversation that began in another process. `again` says that the stack tries the same call once more.
        """
        if tool:
            inputs["tool_name"] = tool.name.encode()[:MAX_NAME_BYTES].decode(errors="ignore")
        try:
            conversation = self._conversation(conversation_id, answers_before)
            with conversation.lock:
                before, conversation.newest = conversation.newest, None
                again = before is not None and (bool(conversation.failure) or (again and not conversation.told))
                if again and before and not before.model and not conversation.ended:
                    # Nothing that the router chose has failed.
                    return conversation.begin(before)
                if before and tool and tool.failed and not again and not conversation.ended:
                    conversation.episode.report(**_facts(before, error="MEDIUM"))
                decision = self._decide(conversation, conversation_id, inputs, again=again)
                return conversation.begin(_call(conversation_id, decision, own))
        except (SojournError, ValueError) as error:
            _log.warning("conversation %s: the stack serves its own model: %s", conversation_id, error)
            return None

    def report(self, call: Call | None, **facts: Unpack[TurnReport]) -> None:
        """Tell what came of a call; it may come late, after the next call or the outcome."""
        conversation = self._known.get(call.conversation_id) if call else None
        if call is None or conversation is None:
            return
        facts = _facts(call, **facts)
        try:
            with conversation.lock:
                if conversation.newest == call and not conversation.ended:
                    conversation.episode.report(**facts)
                    conversation.told = True
                elif call.decision_id:
                    self._client.report_turn(decision_id=call.decision_id, **facts)
        except (SojournError, ValueError) as error:
            _log.warning("conversation %s: facts of a turn were not reported: %s", call.conversation_id, error)

    def could_not_serve(self, call: Call | None, error: BaseException) -> None:
        """Tell that a call failed: the next one is another attempt; without a next one, the turn failed."""
        conversation = self._known.get(call.conversation_id) if call else None
        if call is None or conversation is None:
            return
        with conversation.lock:
            if conversation.newest == call and not conversation.ended:
                conversation.failure = _facts(call, error="HIGH", error_code=type(error).__name__)
                conversation.told = True

    def has_told(self, conversation_id: str) -> bool:
        """Tell whether the newest call of a conversation was reported."""
        conversation = self._known.get(conversation_id)
        return conversation is None or conversation.newest is None or conversation.told

    def end(
        self,
        conversation_id: str,
        status: Status | None = None,
        *,
        wait: bool = False,
        **outcome: Unpack[OutcomeReport],
    ) -> Acknowledgement | None:
        """End a conversation's episode, or one of another process. `wait` and errors as in `Episode.succeed`."""
        conversation = self._known.get(conversation_id)
        if conversation is None:
            return self._client.report_outcome(conversation_id, status, wait=wait, **outcome)
        with conversation.lock:
            conversation.tell_failure()
            episode, conversation.ended = conversation.episode, True
            endings = {"SUCCEEDED": episode.succeed, "FAILED": episode.fail, "ABANDONED": episode.abandon}
            return endings.get(status or "", episode.finish)(wait=wait, **outcome)

    def _decide(self, conversation: _Conversation, name: str, inputs: TurnInputs, *, again: bool) -> Decision:
        try:
            return conversation.episode.retry(**inputs) if again else conversation.episode.decide(**inputs)
        except UnmetPrecondition as error:
            if error.reason != "EPISODE_ENDED":
                raise
        conversation.episode = self._client.episode(f"{name}/{uuid4().hex[:8]}", task_type=self._task_type)
        return conversation.episode.decide(**inputs)

    def _conversation(self, name: str, answers_before: int) -> _Conversation:
        quiet = None
        with self._lock:
            if name not in self._known:
                episode = self._client.episode(name, task_type=self._task_type, first_turn_index=answers_before)
                self._known[name] = _Conversation(episode)
                if len(self._known) > self._most:
                    quiet = self._known.popitem(last=False)[1]
            self._known.move_to_end(name)
            conversation = self._known[name]
        if quiet is not None and not quiet.ended:
            with quiet.lock:
                quiet.tell_failure()
                quiet.episode.leave_open()
        return conversation


def _call(conversation_id: str, decision: Decision, own: str) -> Call:
    key = (decision.episode_id, decision.turn_index, decision.attempt, decision.decision_id)
    return Call(conversation_id, None if decision.mode == "SHADOW" else decision.model, own, *key)


def _facts(call: Call, **facts: Unpack[TurnReport]) -> TurnReport:
    """What is told of a call: in SHADOW mode with the model that served."""
    if not call.model and not facts.get("served_model"):
        facts["served_model"] = call.own
    return facts


class Ending:
    """Ends episodes by their conversation; for a stack's models, which hold the conversations."""

    conversations: Conversations

    def end(
        self,
        conversation_id: str,
        status: Status | None = None,
        *,
        wait: bool = False,
        **outcome: Unpack[OutcomeReport],
    ) -> Acknowledgement | None:
        """End a conversation's episode, as `Client.report_outcome` does."""
        return self.conversations.end(conversation_id, status, wait=wait, **outcome)


class OwnedModels(Ending, Generic[ModelT]):
    """A stack's models by the router's names for them; `own` serves where the router has not chosen."""

    def __init__(
        self, client: Client, models: Mapping[str, ModelT], *, own: ModelT, own_name: str, task_type: str | None = None
    ) -> None:
        """`own_name` is the stack's name for its own model, for one that the router does not know."""
        self.models = models
        self.own = own
        self.conversations = Conversations(client, task_type=task_type)
        self._own_name = name_among(models, own) or own_name

    async def choose(
        self, conversation_id: str, tool: ToolResult | None, *, answers_before: int
    ) -> tuple[Call | None, ModelT]:
        """Return the next call of a conversation, as `Conversations.choose`, and the model that serves it."""
        call = await asyncio.to_thread(
            self.conversations.choose,
            conversation_id,
            tool,
            own=self._own_name,
            answers_before=answers_before,
            allow=list(self.models),
        )
        return call, self.models[call.model] if call and call.model else self.own


def name_among(models: Mapping[str, ModelT], own: ModelT) -> str | None:
    """Return the router's name for a stack's own model, if it has one."""
    return next((name for name, model in models.items() if model is own), None)
