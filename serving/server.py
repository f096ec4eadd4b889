"""The gRPC server: its limits, its health, and the order in which it stops."""

import ipaddress
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from recsys.errors import ConfigError
from serving.interceptors import AccessLog, ErrorStatus
from serving.servicer import Servicer, service_handler
from serving.settings import Settings

_log = structlog.get_logger(__name__)


@asynccontextmanager
async def listening(settings: Settings, servicers: Sequence[Servicer]) -> AsyncIterator[int]:
    """Serve, and yield the port that was bound.

    On leaving, health turns to ``NOT_SERVING``, calls in flight get ``grace_seconds``, new ones are refused.

    Raises:
        ConfigError: The address cannot be bound.
    """
    server = grpc.aio.server(
        interceptors=(AccessLog(), ErrorStatus()),
        options=(
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            # a port in use is an error, not a shared one; of several workers the supervisor sees to that
            ("grpc.so_reuseport", int(settings.workers > 1)),
        ),
        maximum_concurrent_rpcs=settings.max_concurrent_requests,
    )
    server.add_generic_rpc_handlers([service_handler(servicer) for servicer in servicers])
    names = [servicer.descriptor.full_name for servicer in servicers]
    health_servicer = await _add_health(server, names)
    if settings.reflection:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _bind(server, settings)
    await server.start()
    try:
        yield port
    finally:
        await health_servicer.enter_graceful_shutdown()
        await server.stop(settings.grace_seconds)


async def _add_health(server: grpc.aio.Server, names: Sequence[str]) -> health.aio.HealthServicer:
    servicer = health.aio.HealthServicer()
    for name in (health.OVERALL_HEALTH, *names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    if not _is_loopback(settings.host):
        _log.warning("the server is reachable from outside, without encryption", host=settings.host)
    try:
        return server.add_insecure_port(f"{host}:{settings.port}")
    except RuntimeError as error:
        raise ConfigError(
            f"cannot listen on {settings.host}:{settings.port}; see that the address is this machine's and "
            "the port free, or take any free one with --port 0"
        ) from error


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
