"""The health service: whether the server takes calls (readiness), and apart from that whether it lives.

A drain says NOT_SERVING to whoever watches and then ends the watch, so that no watcher holds the drain up.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from sojourn_server.security.carrier import Context

LIVENESS = "liveness"
"""The service that a drain leaves SERVING: whoever restarts what is dead must not restart what is leaving."""
_STATUS = health_pb2.HealthCheckResponse


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]  # ships no py.typed
    """grpc.health.v1 for some services, of a server that serves until it drains; belongs to the server's loop."""

    def __init__(self, services: Sequence[str]) -> None:
        self._services = ("", LIVENESS, *services)
        self._draining = asyncio.Event()

    def drain(self) -> None:
        """Says to all who watch that no more calls are taken."""
        self._draining.set()

    async def Check(self, request: Any, context: Context) -> Any:  # noqa: N802 - gRPC's name
        """The state now. An unknown service is NOT_FOUND."""
        if request.service not in self._services:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service: there are {', '.join(self._services[1:])}")
        return self._state(request.service)

    async def Watch(self, request: Any, context: Context) -> None:  # noqa: N802 - gRPC's name
        """The state now, and the state when a drain begins if it is another."""
        first = self._state(request.service)
        await context.write(first)
        await self._draining.wait()
        if (last := self._state(request.service)) != first:
            await context.write(last)

    def _state(self, service: str) -> Any:
        if service not in self._services:
            return _STATUS(status=_STATUS.SERVICE_UNKNOWN)
        leaving = self._draining.is_set() and service != LIVENESS
        return _STATUS(status=_STATUS.NOT_SERVING if leaving else _STATUS.SERVING)
