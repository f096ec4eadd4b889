"""Clients of the online store, one server or a cluster of them."""

import redis
import redis.retry
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from recsys.errors import StoreError
from recsys.store_url import is_cluster
from serving.blocking_cluster import BlockingClient, BlockingCluster
from serving.cluster_client import LearningCluster, StoreClient


def connect(url: str, timeout_ms: int) -> StoreClient:
    """A client of a server or a cluster, see ``recsys.store_url``, which waits ``timeout_ms`` for a server.

    Its own retries, up to 5 s by default, are off.

    Raises:
        StoreError: The URL is not one of a RESP server. It is not repeated, it may hold a password.
    """
    seconds = timeout_ms / 1000
    try:
        if is_cluster(url):
            return LearningCluster(url, seconds)
        return Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise StoreError(f"the store's URL is wrong: {error}") from None


def connect_blocking(url: str, timeout_ms: int) -> BlockingClient:
    """The same as ``connect``, for threads."""
    seconds = timeout_ms / 1000
    try:
        if is_cluster(url):
            return BlockingCluster(url, seconds)
        return redis.Redis.from_url(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=redis.retry.Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise StoreError(f"the store's URL is wrong: {error}") from None
