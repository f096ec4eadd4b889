"""The gRPC server: its limits, its health, and the order in which it stops."""

import asyncio
import ipaddress
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from serving.access import Access
from serving.interceptors import Admission, ErrorStatus, Recording
from serving.overload import Overload
from serving.servicer import Edge, EventServicer, RecommendationServicer, Servicer, service_handler
from serving.settings import Settings, cannot_listen
from serving.tls import Certificates

_log = structlog.get_logger(__name__)

LIVENESS = "liveness"
"""Health name: the process answers; it stays up while the server drains."""
READINESS = "readiness"
"""Health name: the server wants calls, all of them; the same as the empty name."""
_HEALTH_SECONDS = 0.2
_RECOMMENDING = (health.OVERALL_HEALTH, READINESS, RecommendationServicer.descriptor.full_name)
_TAKING_EVENTS = (EventServicer.descriptor.full_name,)


@asynccontextmanager
async def listening(
    settings: Settings,
    servicers: Sequence[Servicer],
    recording: Recording,
    is_ready: Callable[[], bool] = lambda: True,
    edge: Edge | None = None,
    *,
    overload: Overload | None = None,
    takes_events: Callable[[], bool] = lambda: True,
) -> AsyncIterator[int]:
    """Serve, and yield the port that was bound.

    ``edge`` changes requests before anything else sees them. While ``is_ready`` says no, health is
    ``NOT_SERVING`` as a whole and for recommendations; while ``takes_events`` does, for events.

    On leaving, health but for ``LIVENESS`` turns to ``NOT_SERVING``; ``drain_seconds`` later new calls are
    refused, and calls in flight get ``grace_seconds``.

    Raises:
        ConfigError: The address cannot be bound, or a file of tokens or certificates does not load.
    """
    server = grpc.aio.server(
        interceptors=(*([overload] if overload else ()), recording, ErrorStatus(), *_admission(settings)),
        options=_options(settings),
        maximum_concurrent_rpcs=settings.max_concurrent_requests,
    )
    server.add_generic_rpc_handlers([service_handler(servicer, edge) for servicer in servicers])
    names = [servicer.descriptor.full_name for servicer in servicers]
    health_servicer = health.aio.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(health_servicer, server)
    if settings.reflection:
        reflection.enable_server_reflection([*names, health.SERVICE_NAME, reflection.SERVICE_NAME], server)
    port = _bind(server, settings)
    ready = (health.OVERALL_HEALTH, READINESS, *names)
    await _set_health(health_servicer, (LIVENESS, *ready), serving=True)
    await server.start()
    following = [
        asyncio.create_task(_follow(health_servicer, *one), name="health")
        for one in ((_RECOMMENDING, is_ready), (_TAKING_EVENTS, takes_events))
    ]
    try:
        yield port
    finally:
        for task in following:
            task.cancel()
        await asyncio.wait(following)
        await _set_health(health_servicer, ready, serving=False)
        await asyncio.sleep(settings.drain_seconds)
        await server.stop(settings.grace_seconds)


async def _set_health(servicer: health.aio.HealthServicer, names: Sequence[str], *, serving: bool) -> None:
    states = health_pb2.HealthCheckResponse
    for name in names:
        await servicer.set(name, states.SERVING if serving else states.NOT_SERVING)


def _admission(settings: Settings) -> tuple[Admission, ...]:
    if settings.tokens_file is None:
        return ()
    return (Admission(Access(settings.tokens_file, settings.tenant)),)


def _options(settings: Settings) -> tuple[tuple[str, int], ...]:
    keepalive_ms = int(settings.keepalive_seconds * 1000)
    options = (
        ("grpc.max_receive_message_length", settings.max_message_bytes),
        # a port in use is an error, not a shared one; of several workers the supervisor sees to that
        ("grpc.so_reuseport", int(settings.workers > 1)),
        # what is too much waits, and expires, where it costs the server nothing
        ("grpc.max_concurrent_streams", settings.max_connection_requests),
        ("grpc.keepalive_time_ms", keepalive_ms),
        ("grpc.keepalive_timeout_ms", keepalive_ms),
        ("grpc.keepalive_permit_without_calls", 1),
    )
    if settings.max_connection_age_seconds is None:
        return options
    return (
        *options,
        ("grpc.max_connection_age_ms", int(settings.max_connection_age_seconds * 1000)),
        ("grpc.max_connection_age_grace_ms", int(settings.grace_seconds * 1000)),
    )


async def _follow(
    servicer: health.aio.HealthServicer, names: Sequence[str], is_ready: Callable[[], bool]
) -> None:
    """Let health say what ``is_ready`` says, until cancelled."""
    ready = True
    while True:
        if is_ready() != ready:
            ready = not ready
            await _set_health(servicer, names, serving=ready)
        await asyncio.sleep(_HEALTH_SECONDS)


def _bind(server: grpc.aio.Server, settings: Settings) -> int:
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    certificates = _certificates(settings)
    if certificates is None and not _is_loopback(settings.host):
        _log.warning("the server is reachable from outside, without encryption", host=settings.host)
    try:
        if certificates is None:
            return server.add_insecure_port(f"{host}:{settings.port}")
        return server.add_secure_port(f"{host}:{settings.port}", certificates.credentials())
    except RuntimeError as error:
        raise cannot_listen(settings) from error


def _certificates(settings: Settings) -> Certificates | None:
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    return Certificates(settings.tls_cert, settings.tls_key, settings.tls_client_ca)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
