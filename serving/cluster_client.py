"""The online state on a cluster, for the event loop: the library's client, made to learn from every failure.

No operation is repeated here: whoever asks has a deadline, or asks again by itself. A failed operation makes
the client ask the cluster anew who holds what before the next one, which is all that a failover takes.
"""

from collections.abc import Awaitable
from typing import Any, TypeVar

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
StoreClient = Redis | RedisCluster
"""A client of one server or of a cluster."""

_T = TypeVar("_T")


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
        super().__init__(startup_nodes=nodes, retry=Retry(NoBackoff(), 0), reinitialize_steps=1, **options)

    def pipeline(self, transaction: Any = None, shard_hint: Any = None) -> Any:  # noqa: ANN401  # the library's
        """Commands that go to each node together; a transaction is one of the keys of one slot."""
        del shard_hint  # the library knows none
        if transaction:
            return SlotTransaction(self)
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

    async def learning(self, operation: Awaitable[_T]) -> _T:
        """Await an operation; should it fail, the nodes are looked for before the next one."""
        try:
            return await operation
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


class SlotTransaction:
    """An optimistic transaction of the keys of one slot, on the node that holds the key that is watched.

    The library's own would start a thread and an event loop for each of its commands.
    """

    def __init__(self, cluster: LearningCluster) -> None:
        self._cluster = cluster
        self._pipe: Pipeline | None = None

    async def __aenter__(self) -> "SlotTransaction":
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._pipe is not None:
            await self._pipe.reset()  # type: ignore[no-untyped-call]

    @property
    def _there(self) -> Pipeline:
        assert self._pipe is not None, "a transaction begins with what it watches"
        return self._pipe

    async def watch(self, key: str) -> None:
        """Notice whoever writes the key until ``execute``."""
        client = await self._cluster.learning(self._cluster.client_of(key))
        self._pipe = client.pipeline(transaction=True)
        await self._cluster.learning(self._pipe.watch(key))

    async def get(self, key: str) -> bytes | str | None:
        """What lies under a watched key."""
        return await self._cluster.learning(self._there.get(key))

    def multi(self) -> None:
        """Begin what is done together."""
        self._there.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated

    def set(self, key: str, value: bytes, *, ex: int) -> None:
        """Write a key, for so many seconds."""
        self._there.set(key, value, ex=ex)

    def unlink(self, key: str) -> None:
        """Remove a key."""
        self._there.unlink(key)

    async def execute(self) -> list[Any]:
        """Do it.

        Raises:
            WatchError: Somebody wrote meanwhile.
        """
        return list(await self._cluster.learning(self._there.execute()))


class _LearningPipeline(ClusterPipeline):
    async def execute(
        self,
        raise_on_error: bool = True,  # the library's signature
        allow_redirections: bool = True,
    ) -> list[Any]:
        cluster = self.cluster_client
        assert isinstance(cluster, LearningCluster)  # which made it
        return await cluster.learning(super().execute(raise_on_error, allow_redirections))


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


async def lineage(client: RedisCluster) -> str:
    """Tells the data that the primaries hold from data of another past, as after a failover or a restart.

    Raises:
        RedisError: A primary did not answer.
        RedisClusterException: None did.
    """
    found = await client.info("replication", target_nodes=RedisCluster.PRIMARIES)
    answers = [found] if "role" in found else list(found.values())
    return " ".join(sorted(f"{one['role']}:{one['master_replid']}" for one in answers))
