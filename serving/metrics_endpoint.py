"""The HTTP endpoint that Prometheus scrapes, on a port of its own and in a thread of its own.

Every worker process has an endpoint, because Prometheus adds series up better than processes share them.
Worker n takes the port n above the configured one, before and after a death, or the next that is free; the
metric ``recsys_worker_info`` says which worker it is that answers.
"""

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Thread
from wsgiref.simple_server import WSGIServer

import structlog
from prometheus_client import CollectorRegistry, start_http_server

from recsys.errors import ConfigError

MAX_WORKERS = 256
"""How many ports from the configured one on are tried."""

_log = structlog.get_logger(__name__)


@contextmanager
def metrics_endpoint(host: str, port: int, registry: CollectorRegistry, worker: int = 0) -> Iterator[int]:
    """Answer ``GET /metrics`` until left, and yield the port that was bound.

    Args:
        host: Address to listen on; whoever reaches it reads the metrics, without credentials.
        port: Port of worker 0; 0 takes any free one.
        registry: What to export.
        worker: Number of this process among those of its server.

    Raises:
        ConfigError: No port of the range can be bound.
    """
    server, thread, bound = _start(host, port and port + worker, registry)
    _log.info("metrics are exported", host=host, port=bound, worker=worker)
    try:
        yield bound
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _start(host: str, port: int, registry: CollectorRegistry) -> tuple[WSGIServer, Thread, int]:
    for candidate in (0,) if port == 0 else range(port, min(port + MAX_WORKERS, 1 << 16)):
        try:
            server, thread = start_http_server(candidate, host, registry)
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
            raise ConfigError(f"cannot export metrics on {host}:{candidate}: {error.strerror}") from error
        return server, thread, server.server_port
    raise ConfigError(
        f"cannot export metrics on {host}: no port from {port} on is free; choose another RECSYS_METRICS_PORT"
    )
