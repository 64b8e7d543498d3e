"""The gRPC server: two services that parse, call and format; health, reflection, and a drain that loses nothing.

Every rule lives behind the services, every error is handled around them, in the edge.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from sojourn.v1 import admin_pb2 as admin
from sojourn.v1 import admin_pb2_grpc, router_pb2, router_pb2_grpc
from sojourn_server.administration import Administration
from sojourn_server.config import ServerConfig
from sojourn_server.errors import StartRefused
from sojourn_server.router import Router
from sojourn_server.rpc import validation
from sojourn_server.rpc.edge import Edge, current_call

MAX_MESSAGE_BYTES = 64 * 1024
Context = grpc.ServicerContext
_SERVICES = (
    router_pb2.DESCRIPTOR.services_by_name["RouterService"].full_name,
    admin.DESCRIPTOR.services_by_name["AdminService"].full_name,
)


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


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """AdminService over an Administration."""

    def __init__(self, administration: Administration) -> None:
        self._administration = administration

    def ListModels(self, request: admin.ListModelsRequest, context: Context) -> admin.ListModelsResponse:
        return admin.ListModelsResponse(models=self._administration.models())

    def PutModel(self, request: admin.PutModelRequest, context: Context) -> admin.PutModelResponse:
        validation.check_put_model(request)
        return admin.PutModelResponse(model=self._administration.put_model(request.model, current_call()))

    def RemoveModel(self, request: admin.RemoveModelRequest, context: Context) -> admin.RemoveModelResponse:
        validation.check_names(name=request.name)
        self._administration.remove_model(request.name, current_call())
        return admin.RemoveModelResponse()

    def DrainModel(self, request: admin.DrainModelRequest, context: Context) -> admin.DrainModelResponse:
        validation.check_names(name=request.name)
        drained = request.drained if request.HasField("drained") else True
        model = self._administration.drain_model(request.name, drained, current_call())
        return admin.DrainModelResponse(model=model)

    def GetPolicy(self, request: admin.GetPolicyRequest, context: Context) -> admin.GetPolicyResponse:
        validation.check_names(policy=request.policy)
        return self._administration.policy(request.policy)

    def SetPolicyMode(self, request: admin.SetPolicyModeRequest, context: Context) -> admin.SetPolicyModeResponse:
        validation.check_names(policy=request.policy)
        validation.check_mode(request)
        self._administration.set_mode(request.policy, request.mode, current_call())
        return admin.SetPolicyModeResponse()

    def SetLiveShare(self, request: admin.SetLiveShareRequest, context: Context) -> admin.SetLiveShareResponse:
        validation.check_names(policy=request.policy)
        validation.check_live_share(request)
        self._administration.set_live_share(request.policy, request.live_share, current_call())
        return admin.SetLiveShareResponse()

    def ListSnapshots(self, request: admin.ListSnapshotsRequest, context: Context) -> admin.ListSnapshotsResponse:
        validation.check_names(policy=request.policy)
        summaries = [
            admin.SnapshotSummary(policy_version=s.version, created_at_ms=s.created_at_ms, size_bytes=s.size_bytes)
            for s in self._administration.snapshots(request.policy)
        ]
        return admin.ListSnapshotsResponse(snapshots=summaries)

    def RollBackPolicy(self, request: admin.RollBackPolicyRequest, context: Context) -> admin.RollBackPolicyResponse:
        validation.check_names(policy=request.policy)
        validation.check_roll_back(request)
        position = self._administration.roll_back(request.policy, request.policy_version, current_call())
        return admin.RollBackPolicyResponse(position=position)

    def GetEpisode(self, request: admin.GetEpisodeRequest, context: Context) -> admin.GetEpisodeResponse:
        validation.check_names(policy=request.policy, episode_id=request.episode_id)
        return admin.GetEpisodeResponse(records=self._administration.episode(request.policy, request.episode_id))

    def ListEpisodes(self, request: admin.ListEpisodesRequest, context: Context) -> admin.ListEpisodesResponse:
        validation.check_names(policy=request.policy)
        before, size = validation.page_of(request)
        openings = self._administration.episodes(request.policy, before=before, limit=size)
        return admin.ListEpisodesResponse(
            episodes=[
                admin.EpisodeSummary(
                    policy=r.policy, episode_id=r.episode_id, started_at_ms=r.received_at_ms, position=r.position
                )
                for r in openings
            ],
            next_page_token=str(openings[-1].position) if len(openings) == size else "",
        )

    def ExportJournal(
        self, request: admin.ExportJournalRequest, context: Context
    ) -> Iterator[admin.ExportJournalResponse]:
        validation.check_export(request)
        for record in self._administration.journal(request.after_position):
            yield admin.ExportJournalResponse(record=record)


class RpcServer:
    """A listening server. `start` serves; `drain` stops taking calls and finishes those in flight."""

    def __init__(self, config: ServerConfig, *, edge: Edge, services: tuple[RouterService, AdminService]) -> None:
        """Raises StartRefused if the address cannot be bound."""
        self._config = config
        self._server = grpc.server(
            ThreadPoolExecutor(config.threads, thread_name_prefix="rpc"),
            interceptors=[edge],
            maximum_concurrent_rpcs=config.max_calls_in_flight,
            options=(("grpc.max_receive_message_length", MAX_MESSAGE_BYTES), ("grpc.so_reuseport", 0)),
        )
        router_pb2_grpc.add_RouterServiceServicer_to_server(services[0], self._server)
        admin_pb2_grpc.add_AdminServiceServicer_to_server(services[1], self._server)
        self._health = health.HealthServicer()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        if config.reflection:
            names = (*_SERVICES, health.SERVICE_NAME, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, self._server)
        try:
            port = self._server.add_insecure_port(config.address)
        except RuntimeError as error:
            raise StartRefused(f"server.address: cannot listen on {config.address}: {error}") from error
        self.address = f"{config.address.rpartition(':')[0]}:{port}"

    def add_handler(self, handler: grpc.GenericRpcHandler) -> None:  # type: ignore[type-arg]  # generic in its stubs only
        """Serves further methods beside Sojourn's own."""
        self._server.add_generic_rpc_handlers((handler,))

    def start(self) -> None:
        """Serves, and says so to health checks."""
        self._server.start()
        self._say(health_pb2.HealthCheckResponse.SERVING)

    def drain(self) -> None:
        """Says NOT_SERVING, refuses new calls, waits for those in flight up to the configured time."""
        self._say(health_pb2.HealthCheckResponse.NOT_SERVING)
        self._server.stop(self._config.drain_ms / 1000).wait()

    def _say(self, status: health_pb2.HealthCheckResponse.ServingStatus.ValueType) -> None:
        for name in ("", *_SERVICES):
            self._health.set(name, status)
