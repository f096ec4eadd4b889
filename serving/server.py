"""The gRPC server: its limits, its health, and the order in which it stops."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from recsys.errors import ConfigError
from serving.interceptors import AccessLog, ErrorStatus
from serving.servicer import RecommendationServicer, Servicer, service_handler
from serving.settings import Settings

_log = structlog.get_logger(__name__)

_HEALTH_SECONDS = 0.2


@asynccontextmanager
async def listening(
    settings: Settings, servicers: Sequence[Servicer], is_ready: Callable[[], bool] = lambda: True
) -> AsyncIterator[int]:
    """Serve, and yield the port that was bound.

    While ``is_ready`` says no, health is ``NOT_SERVING`` as a whole and for recommendations.

    On leaving, health turns to ``NOT_SERVING``, calls in flight get ``grace_seconds``, new ones are refused.

    Raises:
        ConfigError: The address cannot be bound.
    """
    server = grpc.aio.server(
        interceptors=(AccessLog(), ErrorStatus()),
        options=(
            ("grpc.max_receive_message_length", settings.max_message_bytes),
            ("grpc.so_reuseport", 0),  # a port in use is an error, not a shared one
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
    following = asyncio.create_task(_follow(health_servicer, is_ready), name="health")
    try:
        yield port
    finally:
        following.cancel()
        await asyncio.wait([following])
        await health_servicer.enter_graceful_shutdown()
        await server.stop(settings.grace_seconds)


async def _add_health(server: grpc.aio.Server, names: Sequence[str]) -> health.aio.HealthServicer:
    servicer = health.aio.HealthServicer()
    for name in (health.OVERALL_HEALTH, *names):
        await servicer.set(name, health_pb2.HealthCheckResponse.SERVING)
    health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
    return servicer


async def _follow(servicer: health.aio.HealthServicer, is_ready: Callable[[], bool]) -> None:
    """Let health say what ``is_ready`` says, until cancelled."""
    ready, states = True, health_pb2.HealthCheckResponse
    while True:
        if is_ready() != ready:
            ready = not ready
            for name in (health.OVERALL_HEALTH, RecommendationServicer.descriptor.full_name):
                await servicer.set(name, states.SERVING if ready else states.NOT_SERVING)
        await asyncio.sleep(_HEALTH_SECONDS)


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
