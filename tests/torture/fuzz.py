"""Random and mutated messages against a live server: always a status, never a crash, nothing non-finite kept.

Half of the inputs are bytes: valid messages with bits flipped, cut, doubled or spliced. Half are messages that parse,
with values that somebody will send one day: not a number, huge, empty, Vowpal Wabbit's own separators, another script.
`corpus.txt` is for those that find something, one message a line, in hexadecimal; they are sent first.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import inf, nan
from pathlib import Path
from random import Random
from typing import Any

import grpc
from google.protobuf.message import Message

from sojourn.v1 import admin_pb2, router_pb2, types_pb2

CORPUS = Path(__file__).with_name("corpus.txt")
REQUESTS: dict[str, type[Message]] = {
    "Decide": router_pb2.DecideRequest,
    "ReportTurn": router_pb2.ReportTurnRequest,
    "ReportOutcome": router_pb2.ReportOutcomeRequest,
}
ADMIN_REQUESTS: dict[str, type[Message]] = {
    method.name: getattr(admin_pb2, method.input_type.name)
    for method in admin_pb2.DESCRIPTOR.services_by_name["AdminService"].methods
    if not method.client_streaming and not method.server_streaming and method.name != "EvaluatePolicy"
}
"""What takes a message and is answered in no time."""
SERVICES = dict.fromkeys(REQUESTS, "RouterService") | dict.fromkeys(ADMIN_REQUESTS, "AdminService")
NUMBERS = (nan, inf, -inf, -1.0, 0.0, 1e-320, 1e308, 1.5, 2**31 - 1.0)
TEXTS = ("", "a|b:c", " ", "\n|t x:1", "é" * 40, "x" * 200, "🦙", "default", "gpt-5", "\x00", "code")
FAULTS = ("UNKNOWN", "UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "INNER_FAULT")
"""Statuses that blame the server, and an answer that owns up to a choice that failed."""
COME_BACK = ("EraseEpisode", "UNAVAILABLE")
"""What it answers while the learner has not stored yet what the episode taught."""
IN_FLIGHT = 32


@dataclass(frozen=True)
class Fuzzed:
    """How many inputs were sent and how they were answered, by status; `faults` should be empty."""

    inputs: int
    statuses: dict[str, int]
    faults: tuple[str, ...]


def fuzz(
    address: str, *, inputs: int, seed: int, admin_share: float = 0.0, told: Callable[[int], None] = lambda _: None
) -> Fuzzed:
    """Sends inputs, a share of them to AdminService, and collects answers.

    A fault is an answer that blames the server, or none.
    """
    return asyncio.run(_fuzz(address, _inputs(seed, inputs, admin_share), told))


async def _fuzz(address: str, source: Iterator[tuple[str, bytes]], told: Callable[[int], None]) -> Fuzzed:
    statuses: Counter[str] = Counter()
    faults: list[str] = []
    async with grpc.aio.insecure_channel(address) as channel:
        calls = {
            name: channel.unary_unary(f"/sojourn.v1.{service}/{name}", None, None) for name, service in SERVICES.items()
        }

        async def work() -> None:
            for name, data in source:
                status, details = await _sent(name, calls[name], data)
                statuses[status] += 1
                if status in FAULTS and (name, status) != COME_BACK:
                    faults.append(f"{name} {data.hex()} {status} {details}")
                told(statuses.total())

        await asyncio.gather(*(work() for _ in range(IN_FLIGHT)))
    return Fuzzed(statuses.total(), dict(statuses), tuple(faults))


async def _sent(name: str, call: Any, data: bytes) -> tuple[str, str]:
    try:
        answer = await call(data, timeout=30.0)
    except grpc.aio.AioRpcError as error:
        return error.code().name, error.details() or ""
    failed = name == "Decide" and router_pb2.DecideResponse.FromString(answer).reason == types_pb2.REASON_INNER_FAULT
    return ("INNER_FAULT" if failed else "OK"), ""


def _inputs(seed: int, count: int, admin_share: float) -> Iterator[tuple[str, bytes]]:
    """(method, message): the corpus first, then what chance makes, about episodes of this seed."""
    random = Random(seed)
    kept = [bytes.fromhex(line) for line in CORPUS.read_text().split()]
    yield from ((name, data) for data in kept for name in REQUESTS)
    for number in range(count - len(kept) * len(REQUESTS)):
        episode_id = f"episode-{seed}-{number // 8}"
        if admin_share and random.random() < admin_share:
            name = random.choice(list(ADMIN_REQUESTS))
            message = asked_by_an_administrator(name, episode_id, random)
        else:
            name = random.choice(list(REQUESTS))
            message = valid(name, episode_id, number % 8, random)
        if random.random() < 0.5:
            disturb(message, random)
            yield name, message.SerializeToString()
        else:
            yield name, mutated(message.SerializeToString(), random)


def valid(name: str, episode_id: str, turn: int, random: Random) -> Message:
    """A message that is answered with OK, or with a refusal of its order."""
    if name == "ReportTurn":
        facts = types_pb2.TurnFacts(error=types_pb2.SEVERITY_LOW, usage=types_pb2.Usage(output_tokens=100))
        return router_pb2.ReportTurnRequest(episode_id=episode_id, turn_index=turn, facts=facts)
    if name == "ReportOutcome":
        return router_pb2.ReportOutcomeRequest(episode_id=episode_id, score=random.random(), metrics={"m": 1.0})
    context = types_pb2.Context(tool_type="code", task_type="t", prompt_tokens=random.randint(0, 50_000))
    context.features["f"] = random.random()
    context.categories["g"] = "short"
    return router_pb2.DecideRequest(
        episode_id=episode_id,
        turn_index=turn,
        context=context,
        candidates=[types_pb2.Candidate(model="gpt-5")] if random.random() < 0.2 else [],
        constraints=types_pb2.Constraints(deny=["kimi-k2"]),
        cost_weight=1.0,
    )


def asked_by_an_administrator(name: str, episode_id: str, random: Random) -> Message:
    """A message of AdminService whose fields are what they should be."""
    model = types_pb2.Model(name="fuzz", model_class="small", input_usd_per_mtok=1.0, output_usd_per_mtok=2.0)
    values = {
        "name": random.choice(("fuzz", "kimi-k2")),
        "model": model,
        "episode_id": episode_id,
        "mode": random.choice((types_pb2.MODE_LIVE, types_pb2.MODE_SHADOW, types_pb2.MODE_HEURISTIC)),
        "live_share": random.random(),
        "policy_version": random.randint(0, 500),
        "reporter": "nobody",
        "after_position": random.randint(0, 500),
        "rebuild": random.random() < 0.5,
    }
    kind = ADMIN_REQUESTS[name]
    return kind(**{field: value for field, value in values.items() if field in kind.DESCRIPTOR.fields_by_name})


def disturb(message: Message, random: Random) -> None:
    """Sets a few fields, at any depth, to odd values of their type."""
    for _ in range(random.randint(1, 3)):
        target = message
        while True:
            if not target.DESCRIPTOR.fields:
                return
            descriptor: Any = random.choice(target.DESCRIPTOR.fields)
            inner = descriptor.message_type
            if inner is None or inner.GetOptions().map_entry or descriptor.is_repeated or random.random() < 0.1:
                break
            target = getattr(target, descriptor.name)
        _set(target, descriptor.name, random)


def _set(target: Message, name: str, random: Random) -> None:
    value = random.choice((random.choice(NUMBERS), random.choice(TEXTS), random.randint(-5, 2**31 - 1), True))
    try:
        current = getattr(target, name)
        if hasattr(current, "append"):
            current.extend([random.choice(TEXTS)] * random.choice((1, 80)))
        elif hasattr(current, "keys"):
            for number in range(random.choice((1, 80))):
                current[f"{random.choice(TEXTS)}{number}"] = random.choice((*NUMBERS, *TEXTS))
        else:
            setattr(target, name, value)
    except (TypeError, ValueError, AttributeError):
        target.ClearField(name)


def mutated(data: bytes, random: Random) -> bytes:
    """Bytes of a message after one to four accidents."""
    raw = bytearray(data)
    for _ in range(random.randint(1, 4)):
        place = random.randrange(len(raw) + 1)
        accident = random.randrange(5)
        if accident == 0 and raw:
            raw[place - 1] ^= 1 << random.randrange(8)
        elif accident == 1:
            del raw[place:]
        elif accident == 2:
            raw[place:place] = random.randbytes(random.randint(1, 40))
        elif accident == 3:
            raw += raw[place:]
        else:
            del raw[place : place + random.randint(1, 8)]
    return bytes(raw)
