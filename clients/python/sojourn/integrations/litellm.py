"""LiteLLM: one callback chooses the deployment of each call, in a `Router` or in the proxy, and reports the call.

    litellm.callbacks = [SojournCallback(sojourn.Client("127.0.0.1:50051"), group="agent")]

All models that may be chosen are deployments of one model group, which agents call by the group's name. The
session id that LiteLLM knows (`litellm_session_id`, `metadata.session_id`, the session headers of coding agents)
names the episode; a call without one is left to LiteLLM. Asynchronous calls only: LiteLLM asks nobody in others.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from typing import Any, Unpack

from litellm.integrations.custom_logger import CustomLogger

from sojourn.client import Client
from sojourn.integrations.conversations import Call, Conversations
from sojourn.integrations.tool_results import count_answers, last_tool_result
from sojourn.messages import OutcomeReport, Status, TurnReport
from sojourn.reports import Acknowledgement

LONGEST_WAIT_S = 2.0
_log = logging.getLogger("sojourn")


class SojournCallback(CustomLogger):
    """Chooses among the deployments of `group` and reports usage, cost, latency and errors of each call.

    A deployment goes by its model's name without the provider, or by `model_info.sojourn_model`; that name must be
    one of the router's registry.
    """

    def __init__(self, client: Client, *, group: str, task_type: str | None = None) -> None:
        super().__init__()
        self.group = group
        self._key = f"sojourn_call_{group}"  # under which LiteLLM's metadata carries our call to its callbacks
        self.conversations = Conversations(client, task_type=task_type)

    async def async_filter_deployments(
        self,
        model: str,
        healthy_deployments: list[dict[str, Any]],
        messages: Sequence[Any] | None,
        request_kwargs: dict[str, Any] | None = None,
        **_: Any,
    ) -> list[dict[str, Any]]:
        """Keep the deployments of the chosen model; all of them where the router has not chosen."""
        if model != self.group or request_kwargs is None or not healthy_deployments:
            return healthy_deployments
        metadata = _metadata(request_kwargs)
        session_id = metadata.get("session_id") or request_kwargs.get("litellm_session_id")
        if not session_id:
            _log.warning("a call without a session id: LiteLLM chooses its model")
            return healthy_deployments
        conversation = messages or request_kwargs.get("messages") or request_kwargs.get("input") or []
        conversation = [] if isinstance(conversation, str) else conversation
        call = await asyncio.to_thread(
            self.conversations.choose,
            str(session_id),
            last_tool_result(conversation),
            answers_before=count_answers(conversation),
            again=bool(metadata.get("previous_models")),
            allow=sorted({model_name(deployment) for deployment in healthy_deployments}),
        )
        metadata[self._key] = call
        return [d for d in healthy_deployments if call and model_name(d) == call.model] or healthy_deployments

    async def async_log_success_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Report a call that was served."""
        metadata = _metadata(kwargs["litellm_params"])
        if not metadata.get(self._key):
            return
        facts: TurnReport = {
            "served_model": _served_model(metadata),
            "cost_usd": kwargs.get("response_cost") or None,
            "latency_ms": (end_time - start_time).total_seconds() * 1000,
            "error": "NONE",
        }
        facts |= usage_facts(getattr(response_obj, "usage", None))
        self.conversations.report(Call(*metadata[self._key]), **facts)

    async def async_log_failure_event(self, kwargs: Any, response_obj: Any, start_time: Any, end_time: Any) -> None:
        """Report a call that could not be served; LiteLLM's retry then asks for another model."""
        if call := _metadata(kwargs["litellm_params"]).get(self._key):
            self.conversations.could_not_serve(Call(*call), kwargs.get("exception") or RuntimeError())

    async def end(
        self, session_id: str, status: Status | None = None, *, wait: bool = False, **outcome: Unpack[OutcomeReport]
    ) -> Acknowledgement | None:
        """End the session's episode, once LiteLLM has told of its last call. As `Client.report_outcome`."""
        for _ in range(int(LONGEST_WAIT_S / 0.02)):
            if self.conversations.has_told(session_id):
                break
            await asyncio.sleep(0.02)
        return await asyncio.to_thread(self.conversations.end, session_id, status, wait=wait, **outcome)


def model_name(deployment: Mapping[str, Any]) -> str:
    """Return the router's name for a deployment."""
    given = (deployment.get("model_info") or {}).get("sojourn_model")
    return str(given or deployment["litellm_params"]["model"].rpartition("/")[2])


def usage_facts(usage: Any) -> TurnReport:
    """Return LiteLLM's usage, whose prompt tokens count cached ones in, as the router counts."""
    if usage is None:
        return {}
    details = getattr(usage, "prompt_tokens_details", None)
    read = getattr(details, "cached_tokens", None) or 0
    written = getattr(details, "cache_creation_tokens", None) or getattr(usage, "cache_creation_input_tokens", 0) or 0
    return {
        "input_tokens": max(0, usage.prompt_tokens - read - written),
        "cached_read_tokens": read,
        "cache_write_tokens": written,
        "output_tokens": usage.completion_tokens,
    }


def _metadata(request: dict[str, Any]) -> dict[str, Any]:
    """The dictionary that goes with a request from its routing to its callbacks; some routes name it otherwise."""
    key = "litellm_metadata" if request.get("litellm_metadata") else "metadata"
    metadata: dict[str, Any] = request.get(key) or {}
    request[key] = metadata
    return metadata


def _served_model(metadata: Mapping[str, Any]) -> str | None:
    """The model that served, which LiteLLM's fallbacks may have chosen."""
    if not metadata.get("deployment"):
        return None
    deployment = {"litellm_params": {"model": metadata["deployment"]}, "model_info": metadata.get("model_info")}
    return model_name(deployment)
