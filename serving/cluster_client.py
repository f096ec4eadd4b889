"""The online state on a cluster, for the event loop: the library's client, made to learn from every failure.

No operation is repeated here: whoever asks has a deadline, or asks again by itself. A failed operation makes
the client ask the cluster anew who holds what before the next one, which is all that a failover takes.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Self

from redis.asyncio import Redis, RedisCluster
from redis.asyncio.client import Pipeline
from redis.asyncio.cluster import ClusterNode, ClusterPipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.exceptions import RedisClusterException, RedisError, WatchError

from recsys.store_url import node_urls

STORE_ERRORS = (RedisError, RedisClusterException, OSError)
"""What the clients raise when the store does not do what it was asked."""


class LearningCluster(RedisCluster):
    """A cluster's client that looks for the nodes anew after whatever failed."""

    def __init__(self, url: str, seconds: float) -> None:
        """Know the nodes that a URL names; connections come with the first command.

        Args:
            url: See ``recsys.store_url``.
            seconds: Longest that one node is waited for.

        Raises:
            ValueError: The URL is wrong.
        """
        options = cluster_options(url, seconds)
        nodes = [ClusterNode(host, port) for host, port in options.pop("nodes")]
        self._options = {name: value for name, value in options.items() if name != "require_full_coverage"}
        self._clients: dict[str, Redis] = {}
        # Zero steps: a slot that has moved is noted, where the library would close every connection in use.
        super().__init__(startup_nodes=nodes, retry=Retry(NoBackoff(), 0), reinitialize_steps=0, **options)

    async def execute_command(self, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the library's
        """Send a command to the node of its key; without knowing the nodes the library would ask any."""
        await self.initialize()
        return await super().execute_command(*args, **kwargs)

    async def __aenter__(self) -> Self:
        await self.initialize()
        return self

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:  # noqa: ANN401  # the library's
        """Commands that go to each node together; ``transaction`` is for those that are one."""
        assert not transaction, "of one node, see the function of this name"
        del shard_hint  # the library knows none
        return _LearningPipeline(self)  # type: ignore[abstract]  # of an attribute that it does without

    async def client_of(self, key: str) -> Redis:
        """A client of the node alone that holds a key; it stays this one's to close."""
        await self.initialize()
        node = self.get_node_from_key(key)
        if node is None:
            raise RedisClusterException("no node holds the key's slot")
        if node.name not in self._clients:
            self._clients[node.name] = Redis(
                host=str(node.host), port=int(node.port), retry=Retry(NoBackoff(), 0), **self._options
            )
        return self._clients[node.name]

    @asynccontextmanager
    async def learning(self) -> AsyncIterator[None]:
        """Should something in the block fail, the nodes are looked for before the next operation."""
        try:
            yield
        except WatchError:
            raise
        except STORE_ERRORS:
            self._initialize = True
            raise

    async def aclose(self) -> None:
        """Close all connections; the next command opens what it needs."""
        await super().aclose()
        for client in self._clients.values():
            await client.aclose()


StoreClient = Redis | LearningCluster
"""A client of one server or of a cluster."""


class _LearningPipeline(ClusterPipeline):
    async def execute(
        self,
        raise_on_error: bool = True,  # the library's signature
        allow_redirections: bool = True,
    ) -> list[Any]:
        cluster = self.cluster_client
        assert isinstance(cluster, LearningCluster)  # which made it
        async with cluster.learning():
            return await super().execute(raise_on_error, allow_redirections)


@asynccontextmanager
async def transaction(client: StoreClient, key: str) -> AsyncIterator[Pipeline]:
    """A transaction of keys that all lie in the slot of one, on the node that holds it.

    The library's own for a cluster would start a thread and an event loop for each command.
    """
    if not isinstance(client, LearningCluster):
        async with client.pipeline(transaction=True) as pipe:
            yield pipe
        return
    async with client.learning():
        node = await client.client_of(key)
        async with node.pipeline(transaction=True) as pipe:
            yield pipe


def cluster_options(url: str, seconds: float) -> dict[str, Any]:
    """What either kind of cluster client is made with, and ``nodes``: pairs of host and port.

    Raises:
        ValueError: The URL is wrong.
    """
    parsed = [dict(parse_url(node)) for node in node_urls(url)]  # type: ignore[no-untyped-call]
    nodes = [(str(one.pop("host", "localhost")), int(one.pop("port", 6379))) for one in parsed]
    options = parsed[0]
    connection = options.pop("connection_class", None)
    return {
        **options,
        **({} if connection is None else {"ssl": True}),
        "nodes": nodes,
        "socket_timeout": seconds,
        "socket_connect_timeout": seconds,
        "require_full_coverage": False,  # some users' states are better than nobody's
    }
