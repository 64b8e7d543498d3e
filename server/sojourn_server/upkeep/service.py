"""AdminService: parses, calls, formats.

Below it stand the checks on its requests. Each collects all mistakes of a request and names them with their fields, as
`validation` does for the hot path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from sojourn.v1 import admin_pb2 as admin
from sojourn.v1 import admin_pb2_grpc, types_pb2
from sojourn_server.rpc.edge import current_call
from sojourn_server.rpc.validation import Mistakes, check_enum, check_terms
from sojourn_server.security.carrier import Context
from sojourn_server.upkeep.administration import Administration

Evaluate = Callable[[admin.EvaluatePolicyRequest, Context], admin.EvaluatePolicyResponse]
CHUNK_BYTES = 32 * 1024
MAX_SNAPSHOT_BYTES = 256 * 1024 * 1024
_PAGE_TOKEN = re.compile(r"[0-9]{1,18}\Z")


def chunks(file: bytes) -> Iterator[bytes]:
    """A file in pieces that fit into messages; an empty one is a piece too."""
    for start in range(0, len(file) or 1, CHUNK_BYTES):
        yield file[start : start + CHUNK_BYTES]


class AdminService(admin_pb2_grpc.AdminServiceServicer):
    """AdminService over an Administration; `evaluate` answers EvaluatePolicy."""

    def __init__(self, administration: Administration, evaluate: Evaluate) -> None:
        self._administration = administration
        self._evaluate = evaluate

    def ListModels(self, request: admin.ListModelsRequest, context: Context) -> admin.ListModelsResponse:
        return admin.ListModelsResponse(models=self._administration.models())

    def PutModel(self, request: admin.PutModelRequest, context: Context) -> admin.PutModelResponse:
        _check_put_model(request)
        return admin.PutModelResponse(model=self._administration.put_model(request.model, current_call()))

    def RemoveModel(self, request: admin.RemoveModelRequest, context: Context) -> admin.RemoveModelResponse:
        _check_names(name=request.name)
        self._administration.remove_model(request.name, current_call())
        return admin.RemoveModelResponse()

    def DrainModel(self, request: admin.DrainModelRequest, context: Context) -> admin.DrainModelResponse:
        _check_names(name=request.name)
        drained = request.drained if request.HasField("drained") else True
        model = self._administration.drain_model(request.name, drained, current_call())
        return admin.DrainModelResponse(model=model)

    def GetPolicy(self, request: admin.GetPolicyRequest, context: Context) -> admin.GetPolicyResponse:
        _check_names(policy=request.policy)
        return self._administration.policy(request.policy)

    def SetPolicyMode(self, request: admin.SetPolicyModeRequest, context: Context) -> admin.SetPolicyModeResponse:
        _check_names(policy=request.policy)
        _check_mode(request)
        self._administration.set_mode(request.policy, request.mode, current_call())
        return admin.SetPolicyModeResponse()

    def SetLiveShare(self, request: admin.SetLiveShareRequest, context: Context) -> admin.SetLiveShareResponse:
        _check_names(policy=request.policy)
        _check_live_share(request)
        self._administration.set_live_share(request.policy, request.live_share, current_call())
        return admin.SetLiveShareResponse()

    def ListSnapshots(self, request: admin.ListSnapshotsRequest, context: Context) -> admin.ListSnapshotsResponse:
        _check_names(policy=request.policy)
        summaries = [
            admin.SnapshotSummary(policy_version=s.version, created_at_ms=s.created_at_ms, size_bytes=s.size_bytes)
            for s in self._administration.snapshots(request.policy)
        ]
        return admin.ListSnapshotsResponse(snapshots=summaries)

    def RollBackPolicy(self, request: admin.RollBackPolicyRequest, context: Context) -> admin.RollBackPolicyResponse:
        _check_names(policy=request.policy)
        _check_roll_back(request)
        position = self._administration.roll_back(request.policy, request.policy_version, current_call())
        return admin.RollBackPolicyResponse(position=position)

    def UndoReporter(self, request: admin.UndoReporterRequest, context: Context) -> admin.UndoReporterResponse:
        _check_undo(request)
        return admin.UndoReporterResponse(position=self._administration.undo_reporter(request, current_call()))

    def ExportSnapshot(
        self, request: admin.ExportSnapshotRequest, context: Context
    ) -> Iterator[admin.ExportSnapshotResponse]:
        _check_names(policy=request.policy)
        version = request.policy_version if request.HasField("policy_version") else None
        file = self._administration.snapshot_file(request.policy, version)
        for chunk in chunks(file):
            yield admin.ExportSnapshotResponse(chunk=chunk)

    def ImportSnapshot(
        self, requests: Iterator[admin.ImportSnapshotRequest], context: Context
    ) -> admin.ImportSnapshotResponse:
        first = next(requests)
        _check_names(policy=first.policy)
        file = bytearray(first.chunk)
        for request in requests:
            file += request.chunk
            _check_size(file)
        position = self._administration.import_snapshot(first.policy, bytes(file), current_call())
        return admin.ImportSnapshotResponse(position=position)

    def EraseEpisode(self, request: admin.EraseEpisodeRequest, context: Context) -> admin.EraseEpisodeResponse:
        _check_names(policy=request.policy, episode_id=request.episode_id)
        return admin.EraseEpisodeResponse(records=self._administration.erase_episode(request, current_call()))

    def GetEpisode(self, request: admin.GetEpisodeRequest, context: Context) -> admin.GetEpisodeResponse:
        _check_names(policy=request.policy, episode_id=request.episode_id)
        records = self._administration.episode(request.policy, request.episode_id)
        return admin.GetEpisodeResponse(records=records, registries=self._administration.registries(records))

    def ListEpisodes(self, request: admin.ListEpisodesRequest, context: Context) -> admin.ListEpisodesResponse:
        _check_names(policy=request.policy)
        before, size = _page_of(request)
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

    def EvaluatePolicy(self, request: admin.EvaluatePolicyRequest, context: Context) -> admin.EvaluatePolicyResponse:
        _check_names(policy=request.policy)
        return self._evaluate(request, context)

    def ExportJournal(
        self, request: admin.ExportJournalRequest, context: Context
    ) -> Iterator[admin.ExportJournalResponse]:
        _check_export(request)
        for record in self._administration.journal(request.after_position):
            yield admin.ExportJournalResponse(record=record)


def _check_put_model(request: admin.PutModelRequest) -> None:
    """Raises InvalidField naming every malformed field of a PutModelRequest."""
    mistakes = Mistakes()
    check_terms(mistakes, "model", request.model)
    mistakes.settle()


def _check_mode(request: admin.SetPolicyModeRequest) -> None:
    """Raises InvalidField if the mode is missing or unknown."""
    mistakes = Mistakes()
    if not request.mode:
        mistakes.add("mode", "is required")
    check_enum(mistakes, "mode", request.mode, types_pb2.Mode)
    mistakes.settle()


def _check_live_share(request: admin.SetLiveShareRequest) -> None:
    """Raises InvalidField if the share is missing or outside [0, 1]."""
    mistakes = Mistakes()
    if not request.HasField("live_share"):
        mistakes.add("live_share", "is required")
    mistakes.at_least_zero("live_share", request.live_share, most=1.0)
    mistakes.settle()


def _check_roll_back(request: admin.RollBackPolicyRequest) -> None:
    """Raises InvalidField if the version is missing or negative."""
    mistakes = Mistakes()
    if not request.HasField("policy_version"):
        mistakes.add("policy_version", "is required; 0 is the untaught prior")
    mistakes.optional(request, "", (("policy_version", None),))
    mistakes.settle()


def _check_undo(request: admin.UndoReporterRequest) -> None:
    """Raises InvalidField naming every malformed field of an UndoReporterRequest."""
    mistakes = Mistakes()
    mistakes.name("policy", request.policy)
    mistakes.name("reporter", request.reporter, required=True)
    mistakes.name("because", request.because)
    mistakes.at_least_zero("after_position", request.after_position)
    mistakes.settle()


def _check_size(file: bytearray) -> None:
    """Raises InvalidField if the file is larger than any snapshot should be."""
    mistakes = Mistakes()
    if len(file) > MAX_SNAPSHOT_BYTES:
        mistakes.add("chunk", f"all together must have at most {MAX_SNAPSHOT_BYTES} bytes")
    mistakes.settle()


def _check_names(**names: str) -> None:
    """Raises InvalidField naming every field (such as policy=...) whose value is no proper name."""
    mistakes = Mistakes()
    for field, value in names.items():
        mistakes.name(field, value)
    mistakes.settle()


def _check_export(request: admin.ExportJournalRequest) -> None:
    """Raises InvalidField if the position is negative."""
    mistakes = Mistakes()
    mistakes.at_least_zero("after_position", request.after_position)
    mistakes.settle()


def _page_of(request: admin.ListEpisodesRequest) -> tuple[int | None, int]:
    """(position below which to list or None for the newest, episodes per page). Raises InvalidField."""
    mistakes = Mistakes()
    if not 0 <= request.page_size <= 1000:
        mistakes.add("page_size", f"must lie between 1 and 1000, is {request.page_size}")
    if request.page_token and not _PAGE_TOKEN.match(request.page_token):
        mistakes.add("page_token", "must be the next_page_token of the page before")
    mistakes.settle()
    return (int(request.page_token) if request.page_token else None), request.page_size or 50
