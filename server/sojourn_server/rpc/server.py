"""The gRPC server: two services that parse, call and format; health, reflection, and a drain that loses nothing.

Every rule lives behind the services, every error is handled around them, in the edge.
"""

from __future__ import annotations

import grpc
from grpc_health.v1 import health, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sojourn.v1 import admin_pb2, admin_pb2_grpc, router_pb2, router_pb2_grpc
from sojourn_server.config import ServerConfig
from sojourn_server.errors import StartRefused
from sojourn_server.router import Router
from sojourn_server.rpc import validation
from sojourn_server.rpc.edge import Edge, current_call
from sojourn_server.security.carrier import MAX_PENDING, PENDING, Context
from sojourn_server.upkeep.health import Health
from sojourn_server.upkeep.service import AdminService

MAX_MESSAGE_BYTES = 64 * 1024
_SERVICES = [s.full_name for f in (router_pb2, admin_pb2) for s in f.DESCRIPTOR.services_by_name.values()]


class RouterService(router_pb2_grpc.RouterServiceServicer):
    """RouterService over a Router."""

    def __init__(self, router: Router) -> None:
        self._router = router

    def Decide(self, request: router_pb2.DecideRequest, context: Context) -> router_pb2.DecideResponse:
        validation.check_decide(request)
        return self._router.decide(request, current_call())

    def ReportTurn(self, request: router_pb2.ReportTurnRequest, context: Context) -> router_pb2.ReportTurnResponse:
        validation.check_report_turn(request)
        return self._router.report_turn(request, current_call())

    def ReportOutcome(
        self, request: router_pb2.ReportOutcomeRequest, context: Context
    ) -> router_pb2.ReportOutcomeResponse:
        validation.check_report_outcome(request)
        return self._router.report_outcome(request, current_call())


class RpcServer:
    """A listening server. `start` serves; `drain` stops taking calls and finishes those in flight."""

    def __init__(
        self,
        config: ServerConfig,
        *,
        edge: Edge,
        services: tuple[RouterService, AdminService],
        credentials: grpc.ServerCredentials | None = None,
    ) -> None:
        """In the clear without `credentials`. Raises StartRefused if the address cannot be bound."""
        self._config = config
        self._carrier = edge.carrier
        self._carrier.start()
        try:
            port = self._carrier.do(self._listen(edge, services, credentials))
        except RuntimeError as error:
            self._carrier.close()
            raise StartRefused(f"server.address: cannot listen on {config.address}: {error}") from error
        self.address = f"{config.address.rpartition(':')[0]}:{port}"

    async def _listen(
        self, edge: Edge, services: tuple[RouterService, AdminService], credentials: grpc.ServerCredentials | None
    ) -> int:
        self._server = server = grpc.aio.server(
            self._carrier.pool,
            interceptors=[edge],
            options=(
                ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
                ("grpc.so_reuseport", int(self._config.workers > 1)),
                ("grpc.server.max_pending_requests", PENDING),
                ("grpc.server.max_pending_requests_hard_limit", MAX_PENDING),
            ),
        )
        router_pb2_grpc.add_RouterServiceServicer_to_server(services[0], server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(services[1], server)
        self._health = Health(_SERVICES)
        health_pb2_grpc.add_HealthServicer_to_server(self._health, server)
        if self._config.reflection:
            reflection.enable_server_reflection((*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME), server)
        if credentials is None:
            return server.add_insecure_port(self._config.address)
        return server.add_secure_port(self._config.address, credentials)

    def add_handler(self, handler: grpc.GenericRpcHandler) -> None:  # type: ignore[type-arg]  # generic in its stubs only
        """Serves further methods beside Sojourn's own."""
        self._server.add_generic_rpc_handlers((handler,))

    def start(self) -> None:
        """Serves."""
        self._carrier.do(self._server.start())

    def drain(self) -> None:
        """Says NOT_SERVING, refuses new calls, waits for those in flight up to the configured time."""
        self._carrier.do(self._stop())
        self._carrier.close()

    async def _stop(self) -> None:
        self._health.drain()
        await self._server.stop(self._config.drain_ms / 1000)
