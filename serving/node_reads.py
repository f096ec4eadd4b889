"""Reads of a cluster's nodes, one after the other until one of them answers.

The connections serve nothing else: whatever looks for the cluster's nodes, or writes, closes and delays its
own only. A node that failed five times is skipped, see ``serving.breaker``.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode
from redis.exceptions import ClusterDownError
from redis.retry import Retry

from serving.breaker import Breaker

_AWAY = (redis.ConnectionError, redis.TimeoutError, ClusterDownError, OSError)
"""What a node raises that another may do better than."""


class NodeReads:
    """Clients of single nodes; several threads may use them."""

    def __init__(self, options: Mapping[str, Any], seconds: float, failed: Callable[[], None]) -> None:
        """Make clients as they are needed.

        Args:
            options: Of a client of one node.
            seconds: Longest that all nodes together are waited for. Each has half of it, so that a primary
                that hangs leaves its replica the other half.
            failed: Called whenever a node did not answer, or is skipped.
        """
        limits = {"socket_timeout": seconds / 2, "socket_connect_timeout": seconds / 2}
        self._options = {**options, **limits, "redis_connect_func": _may_ask_replicas}
        self._seconds, self._failed = seconds, failed
        self._clients: dict[str, redis.Redis] = {}
        self._breakers: dict[str, Breaker] = {}

    def ask(self, nodes: Iterable[ClusterNode], command: str, *keys: str) -> Any:  # noqa: ANN401  # of the command
        """What the first node says that answers.

        Args:
            nodes: Who holds the keys, the primary first.
            command: Its name.
            *keys: All of one slot.

        Raises:
            AskError: The slot is another node's, or will be.
            RedisError: Nobody answered in time.
        """
        until = time.monotonic() + self._seconds * 3 / 4  # beyond it, another half would be too long
        failure: Exception = redis.ConnectionError("no node holds the key's slot")
        for node in nodes:
            breaker = self._breakers.setdefault(node.name, Breaker())
            if breaker.is_open():
                self._failed()
                continue
            try:
                found = self._client(node).execute_command(command, *keys)  # type: ignore[no-untyped-call]
            except _AWAY as error:
                failure = error
                breaker.failed()
                self._failed()
                if time.monotonic() > until:
                    break
            else:
                breaker.succeeded()
                return found
        raise failure

    def close(self) -> None:
        """Close the connections."""
        for client in self._clients.values():
            client.close()

    def _client(self, node: ClusterNode) -> redis.Redis:
        known = self._clients.get(node.name)
        if known is not None:
            return known
        made = redis.Redis(
            host=str(node.host), port=int(node.port), retry=Retry(NoBackoff(), 0), **self._options
        )
        return self._clients.setdefault(node.name, made)


def _may_ask_replicas(connection: redis.Connection) -> None:
    connection.on_connect()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
    connection.send_command("READONLY")  # type: ignore[no-untyped-call]
    connection.read_response()
