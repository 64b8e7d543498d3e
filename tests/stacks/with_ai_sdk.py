"""An agent of the Vercel AI SDK: `ai_sdk_agent.ts`, in a process of its own beside the laws.

Its models are fakes on that side; who was called, and who is out of order, goes to and fro with the commands.
"""

from __future__ import annotations

import asyncio
import json
import os
from asyncio.subprocess import PIPE, Process
from itertools import count
from typing import Any

import sojourn
from tests.stacks.agents_under_test import Agent
from tests.stacks.ai_sdk import FOLDER_VARIABLE
from tests.stacks.fake_models import CACHED_TOKENS, INPUT_TOKENS, NAMES, OUTPUT_TOKENS, OWN, SECRET, TOOL, Models

DEADLINE_MS = 5_000
if FOLDER_VARIABLE not in os.environ:
    raise ImportError(f"{FOLDER_VARIABLE} names no build")


class StackAgent(Agent):
    """One process, one client and a model for each conversation."""

    tells_tool_errors = True

    def __init__(self, client: sojourn.Client, models: Models) -> None:
        super().__init__(client, models)
        self._begun: asyncio.Task[Process] | None = None
        self._numbers = count()
        self._awaited: dict[int, asyncio.Future[dict[str, Any]]] = {}

    async def run(self, conversation_id: str, *, retries: int = 0) -> None:
        await self._run(id=conversation_id, retries=retries)

    async def run_streamed(self, conversation_id: str) -> None:
        await self._run(id=conversation_id, retries=0, isStreamed=True)

    async def end(self, conversation_id: str, score: float) -> sojourn.Acknowledgement | None:
        receipt = await self._ask("end", id=conversation_id, score=score)
        return sojourn.Acknowledgement(receipt["state"], receipt["joinedDecisions"])

    async def close(self) -> None:
        if self._begun:
            process = await self._begun
            process.stdin.close()  # type: ignore[union-attr]  # it has pipes
            assert await process.wait() == 0

    async def _run(self, **task: Any) -> None:
        await self._ask("set", outOfOrder=sorted(self.models.out_of_order), toolFails=self.tool_fails)
        await self._ask("run", **task)

    async def _ask(self, command: str, **given: Any) -> dict[str, Any]:
        """The answer to a command. Raises RuntimeError with the SDK's message."""
        self._begun = self._begun or asyncio.create_task(self._begin())
        process, number = await self._begun, next(self._numbers)
        self._awaited[number] = answered = asyncio.get_running_loop().create_future()
        line = json.dumps({"number": number, "command": command, **given})
        process.stdin.write(line.encode() + b"\n")  # type: ignore[union-attr]  # it has pipes
        answer: dict[str, Any] = await answered
        self.models.called += answer["called"]
        if "error" in answer:
            raise RuntimeError(answer["error"])
        return answer

    async def _begin(self) -> Process:
        tokens = {"input": INPUT_TOKENS, "cached": CACHED_TOKENS, "output": OUTPUT_TOKENS}
        fallback = dict(self.client._fallback.model_by_tool_type)
        options = {"decideDeadlineMs": DEADLINE_MS, "fallback": fallback}
        names = {"names": NAMES, "own": OWN, "tool": TOOL, "secret": SECRET, "tokens": tokens}
        made = json.dumps({"address": self.client.target, "options": options, **names})
        folder = os.environ[FOLDER_VARIABLE]
        process = await asyncio.create_subprocess_exec(
            "node", "dist/stacks/ai_sdk_agent.js", made, cwd=folder, stdin=PIPE, stdout=PIPE
        )
        self._reader = asyncio.create_task(self._read(process))
        return process

    async def _read(self, process: Process) -> None:
        async for line in process.stdout:  # type: ignore[union-attr]  # it has pipes
            answer = json.loads(line)
            self._awaited.pop(answer["number"]).set_result(answer)
        for future in self._awaited.values():
            future.set_exception(RuntimeError("the agent's process has ended"))
