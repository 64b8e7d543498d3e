"""Where commands read from: a running router over gRPC, or a journal (a directory, or in PostgreSQL) without one.

Both are asked through AdminService: over a channel, or the same service in this process, over a journal that is opened
for reading only. So a journal can be read beside its router, and both answer alike.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sojourn.v1 import admin_pb2, admin_pb2_grpc, journal_pb2, types_pb2
from sojourn_server.cli.channel import TOKEN_VARIABLE, metadata, open_channel
from sojourn_server.cli.health import DEFAULT_ADDRESS
from sojourn_server.cli.output import fail, progress

if TYPE_CHECKING:
    from sojourn_server.journal.journal import Journal
    from sojourn_server.learner.snapshot import Published, Snapshots
    from sojourn_server.upkeep.service import AdminService

TIMEOUT_S = 10.0
TAKE_THEIR_TIME = ("ExportJournal", "EvaluatePolicy", "ExportSnapshot", "ImportSnapshot")

Address = Annotated[
    str | None, typer.Option(help=f"A running router; {DEFAULT_ADDRESS} unless given.", metavar="HOST:PORT")
]
Place = Annotated[
    str, typer.Option("--journal", help="The journal's directory, or its PostgreSQL URL.", metavar="PLACE")
]
PlaceIfAny = Annotated[
    str | None,
    typer.Option("--journal", help="A journal's directory or PostgreSQL URL, read without a router.", metavar="PLACE"),
]
Policy = Annotated[str, typer.Option(help="Name of the policy.", metavar="NAME")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


class Source:
    """What is asked of a router or of its journal, in the contract's messages."""

    def __init__(self, call: Callable[[str, Any], Any]) -> None:
        """`call(rpc, request)` calls a method of AdminService."""
        self._call = call

    def models(self) -> Sequence[types_pb2.Model]:
        """The registry by name."""
        found: admin_pb2.ListModelsResponse = self._call("ListModels", admin_pb2.ListModelsRequest())
        return found.models

    def policy(self, policy: str) -> admin_pb2.GetPolicyResponse:
        """A policy as it stands."""
        found: admin_pb2.GetPolicyResponse = self._call("GetPolicy", admin_pb2.GetPolicyRequest(policy=policy))
        return found

    def episode(self, policy: str, episode_id: str) -> admin_pb2.GetEpisodeResponse:
        """An episode's records in journal order, and the registries that they name."""
        request = admin_pb2.GetEpisodeRequest(policy=policy, episode_id=episode_id)
        found: admin_pb2.GetEpisodeResponse = self._call("GetEpisode", request)
        return found

    def episodes(self, policy: str, limit: int) -> Sequence[admin_pb2.EpisodeSummary]:
        """The newest episodes, newest first."""
        request = admin_pb2.ListEpisodesRequest(policy=policy, page_size=limit)
        found: admin_pb2.ListEpisodesResponse = self._call("ListEpisodes", request)
        return found.episodes

    def decision(self, decision_id: str) -> journal_pb2.JournalRecord | None:
        """The record of a decision. The contract finds decisions by episode only, so this reads the whole journal."""
        return next((r for r in self.records(0) if r.decision.answer.decision_id == decision_id), None)

    def undo(self, request: admin_pb2.UndoReporterRequest) -> int:
        """Leaves a reporter's outcomes out; position of the record."""
        found: admin_pb2.UndoReporterResponse = self._call("UndoReporter", request)
        return found.position

    def snapshots(self, policy: str) -> Sequence[admin_pb2.SnapshotSummary]:
        """The stored versions, newest first."""
        found: admin_pb2.ListSnapshotsResponse = self._call(
            "ListSnapshots", admin_pb2.ListSnapshotsRequest(policy=policy)
        )
        return found.snapshots

    def roll_back(self, policy: str, version: int) -> int:
        """Takes a policy back to a version; position of the record."""
        request = admin_pb2.RollBackPolicyRequest(policy=policy, policy_version=version)
        found: admin_pb2.RollBackPolicyResponse = self._call("RollBackPolicy", request)
        return found.position

    def snapshot_file(self, policy: str, version: int | None) -> bytes:
        """A stored snapshot as a file; None = the newest."""
        request = admin_pb2.ExportSnapshotRequest(policy=policy, policy_version=version)
        return b"".join(response.chunk for response in self._call("ExportSnapshot", request))

    def import_snapshot(self, policy: str, file: bytes) -> int:
        """Goes on from a snapshot's file; position of the record."""
        from sojourn_server.upkeep.service import chunks

        pieces = (admin_pb2.ImportSnapshotRequest(policy=policy, chunk=chunk) for chunk in chunks(file))
        found: admin_pb2.ImportSnapshotResponse = self._call("ImportSnapshot", pieces)
        return found.position

    def erase(self, request: admin_pb2.EraseEpisodeRequest) -> int:
        """Erases an episode; how many records."""
        found: admin_pb2.EraseEpisodeResponse = self._call("EraseEpisode", request)
        return found.records

    def evaluate(self, request: admin_pb2.EvaluatePolicyRequest) -> admin_pb2.EvaluatePolicyResponse:
        """Off-policy estimates."""
        found: admin_pb2.EvaluatePolicyResponse = self._call("EvaluatePolicy", request)
        return found

    def records(self, after: int) -> Iterator[journal_pb2.JournalRecord]:
        """All records after a position, in order."""
        stream = self._call("ExportJournal", admin_pb2.ExportJournalRequest(after_position=after))
        return (response.record for response in stream)


@contextmanager
def open_source(address: str | None, place: str | None) -> Iterator[Source]:
    """The source that the options name. Exits with the reason if it cannot answer."""
    if address is not None and place is not None:
        raise fail("give --address or --journal, not both")
    with _router(address or DEFAULT_ADDRESS) if place is None else _stored(place) as source:
        yield source


@contextmanager
def _router(address: str) -> Iterator[Source]:
    import grpc

    with open_channel(address) as channel:
        stub = admin_pb2_grpc.AdminServiceStub(channel)

        def call(rpc: str, request: Any) -> Any:
            timeout = None if rpc in TAKE_THEIR_TIME else TIMEOUT_S
            return getattr(stub, rpc)(request, timeout=timeout, metadata=metadata())

        try:
            yield Source(call)
        except grpc.RpcError as error:
            next_step = ""
            if error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                next_step = "start it with `sojourn serve`, name it with --address, or read its files with --journal"
            elif error.code() is grpc.StatusCode.UNAUTHENTICATED:
                next_step = f"put a token of scope admin into {TOKEN_VARIABLE} (`sojourn token --help`)"
            raise fail(f"{address}: {error.details()} ({error.code().name})", next_step=next_step) from None


@contextmanager
def open_stored(place: str) -> Iterator[tuple[Journal, Snapshots]]:
    """A journal and its snapshots for reading. Exits with the reason if they cannot be had or read."""
    from sojourn_server.errors import SojournError, StartRefused
    from sojourn_server.hosts.home import open_for_reading

    try:
        with open_for_reading(place) as opened:
            yield opened
    except StartRefused as error:
        raise fail(str(error), next_step="name what journal.directory or journal.dsn of the router names") from None
    except SojournError as error:
        raise fail(str(error)) from None


@contextmanager
def _stored(place: str) -> Iterator[Source]:
    with open_stored(place) as (journal, snapshots):
        service = _service(journal, snapshots)
        yield Source(lambda rpc, request: getattr(service, rpc)(request, None))


def _service(journal: Journal, store: Snapshots) -> AdminService:
    """AdminService for reading: each policy as its newest sound snapshot has it."""
    from sojourn_server.episodes import Episodes
    from sojourn_server.router import Router
    from sojourn_server.upkeep.administration import Administration
    from sojourn_server.upkeep.service import AdminService
    from sojourn_server.world import read_world

    world = read_world(journal)
    router = Router(journal, Episodes(journal, capacity=1), world=world, secret=b"")
    for policy in world.policies:
        router.use(policy, _newest(policy, store))
    administration = Administration(journal, router, store, _Nobody())
    return AdminService(administration, lambda request, _: _evaluate(journal, request))


def _evaluate(journal: Journal, request: admin_pb2.EvaluatePolicyRequest) -> admin_pb2.EvaluatePolicyResponse:
    from sojourn_server.evaluation.answer import answer

    with progress("replaying", journal.position()) as told:
        return answer(journal, request, told=told)


def _newest(policy: str, store: Snapshots) -> Published:
    """What the newest sound snapshot counts; nothing without one. Nobody predicts here, so its bandit stays shut."""
    from sojourn.v1 import snapshot_pb2
    from sojourn_server.errors import BrokenSnapshot
    from sojourn_server.learner.snapshot import Published
    from sojourn_server.policy.bandit import Bandit

    empty = Bandit.fresh(options="", weight_bits=10, turns_cap=2)
    for version in store.versions(policy):
        try:
            return Published(version, empty, store.load(policy, version).statistics)
        except BrokenSnapshot:  # the next older one then, as the router does
            continue
    return Published(0, empty, snapshot_pb2.Statistics())


class _Nobody:
    """Whom a service that changes nothing wakes."""

    def wake(self) -> None:
        """Never called."""
