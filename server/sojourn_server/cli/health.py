"""`sojourn health`: asks a router how it is, over the standard health protocol. The image's health check."""

from __future__ import annotations

from typing import Annotated

import typer

from sojourn_server.cli.channel import open_channel

DEFAULT_ADDRESS = "127.0.0.1:50051"
SERVICE = "sojourn.v1.RouterService"


def health(
    address: Annotated[str, typer.Option(help="Where the router listens.")] = DEFAULT_ADDRESS,
    timeout: Annotated[float, typer.Option(min=0.001, help="Seconds to wait for an answer.")] = 3.0,
) -> None:
    """Ask a router whether it takes calls.

    \b
    Examples:
      sojourn health
      sojourn health --address router.internal:50051 --timeout 1

    Exit code 0 if it is serving, 1 if it drains, does not answer in time, or is no router.
    """
    import grpc
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    with open_channel(address) as channel:
        request = health_pb2.HealthCheckRequest(service=SERVICE)
        try:
            answer = health_pb2_grpc.HealthStub(channel).Check(request, timeout=timeout)
        except grpc.RpcError as error:
            typer.echo(f"{address}: {error.code().name}: {error.details()}", err=True)
            raise typer.Exit(1) from None
    typer.echo(health_pb2.HealthCheckResponse.ServingStatus.Name(answer.status))
    if answer.status != health_pb2.HealthCheckResponse.SERVING:
        raise typer.Exit(1)
