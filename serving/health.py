"""The verb ``recsys health``: asks a server how it is, for container probes and people."""

from pathlib import Path
from typing import Annotated

import typer

from recsys.errors import ConfigError


def health(
    address: Annotated[str, typer.Option(help="host:port of the server.")] = "127.0.0.1:50051",
    service: Annotated[str, typer.Option(help="readiness, liveness, or a full name.")] = "readiness",
    *,
    timeout: Annotated[float, typer.Option(min=0.01, help="Seconds to wait for an answer.")] = 2.0,
    tls_ca: Annotated[
        Path | None, typer.Option(metavar="FILE", help="PEM authorities of the server's certificate.")
    ] = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="Own certificate, for mTLS.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="Key of --tls-cert.")] = None,
) -> None:
    """Exit with 0 when a server serves, and with 1 when it does not or does not answer."""
    typer.echo(
        check(address, service, timeout_seconds=timeout, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    )


def check(
    address: str,
    service: str,
    *,
    timeout_seconds: float = 2.0,
    tls_ca: Path | None = None,
    tls_cert: Path | None = None,
    tls_key: Path | None = None,
) -> str:
    """Ask a server for its health, and return ``SERVING``.

    Args:
        address: ``host:port``.
        service: A health name, see ``serving.server``.
        timeout_seconds: Longest wait.
        tls_ca: PEM authorities; none asks without TLS.
        tls_cert: Own certificate chain.
        tls_key: Its key.

    Raises:
        ConfigError: It does not serve, does not answer, or knows no such service.
    """
    import grpc
    from grpc_health.v1.health_pb2 import HealthCheckRequest, HealthCheckResponse

    from serving.client import Connection

    connection = Connection(address, tls_ca=tls_ca, tls_cert=tls_cert, tls_key=tls_key)
    with connection.channel() as channel:
        ask: grpc.UnaryUnaryMultiCallable[HealthCheckRequest, HealthCheckResponse] = channel.unary_unary(
            "/grpc.health.v1.Health/Check",
            HealthCheckRequest.SerializeToString,
            HealthCheckResponse.FromString,
        )
        try:
            answer = ask(HealthCheckRequest(service=service), timeout=timeout_seconds)
        except grpc.RpcError as error:
            raise ConfigError(f"{address} does not tell its health: {error.code().name}") from error
    status = HealthCheckResponse.ServingStatus.Name(answer.status)
    if status != "SERVING":
        raise ConfigError(f"{address} says {status} for {service or 'everything'}")
    return status
