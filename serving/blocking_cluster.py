"""The online state on a cluster, for the threads that answer: one read costs one round trip, or one more.

A read asks the node that holds the key. Where that node does not answer in its time, it asks a replica, which
is behind by milliseconds; where nobody answers, the caller does without. It never waits for the cluster to
find itself: a thread of its own looks for the nodes, at the start and after every failure, again and again
until they are found.
"""

import threading
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from contextlib import contextmanager
from typing import Any, Literal

import redis
import structlog
from redis.backoff import NoBackoff
from redis.client import Pipeline
from redis.cluster import ClusterNode, ClusterPipeline
from redis.exceptions import AskError
from redis.retry import Retry

from serving.cluster_client import STORE_ERRORS, cluster_options
from serving.node_reads import NodeReads

_FIRST_DELAY_SECONDS = 0.25  # a look takes milliseconds of computing
_LONGEST_DELAY_SECONDS = 1.0
_LEAST_SECONDS = 1.0  # that a node is waited for by what no answer waits for
_log = structlog.get_logger(__name__)


class BlockingCluster:
    """A cluster's client; several threads may use it."""

    def __init__(self, url: str, seconds: float) -> None:
        """Begin to look for the nodes.

        Args:
            url: See ``recsys.store_url``.
            seconds: Longest that a read waits; whatever else is asked waits a second at least.

        Raises:
            ValueError: The URL is wrong.
        """
        self._options = cluster_options(url, max(seconds, _LEAST_SECONDS))
        self._nodes = self._options.pop("nodes")
        self._cluster: redis.RedisCluster | None = None
        self._news, self._closed = threading.Event(), threading.Event()
        of_one = {name: value for name, value in self._options.items() if name != "require_full_coverage"}
        self._reads = NodeReads(of_one, seconds, self._news.set)
        self._news.set()
        self._thread = threading.Thread(target=self._look, name="cluster-nodes", daemon=True)
        self._thread.start()

    def get(self, key: str) -> bytes | None:
        """What lies under a key.

        Raises:
            RedisError: Nobody who has it answered in time.
        """
        found = self._read("GET", key)
        assert found is None or isinstance(found, bytes)  # the client does not decode
        return found

    def mget(self, keys: Sequence[str]) -> list[bytes | None]:
        """What lies under several keys of one slot; see ``get``."""
        return list(self._read("MGET", *keys))

    def set(self, key: str, value: bytes | str, *, ex: int | None = None) -> None:
        """Write a key, for so many seconds.

        Raises:
            RedisError: The node did not answer.
        """
        with self._learning():
            self._known().set(key, value, ex=ex)

    def smembers(self, key: str) -> AbstractSet[bytes | str]:
        """The members of a set.

        Raises:
            RedisError: The node did not answer.
        """
        with self._learning():
            return self._known().smembers(key)

    @contextmanager
    def pipeline(self, *, transaction: Literal[False]) -> Iterator[ClusterPipeline]:
        """Commands that go to each node together; see ``blocking_transaction`` for those that are one.

        Raises:
            RedisError: The nodes are not known yet, or one did not answer.
        """
        with self._learning(), self._known().pipeline(transaction=transaction) as pipe:  # type: ignore[no-untyped-call]
            yield pipe

    @contextmanager
    def transaction(self, key: str) -> Iterator[Pipeline]:
        """A transaction on the node that holds a key; see ``blocking_transaction``."""
        with self._learning():
            cluster = self._known()
            node = cluster.get_redis_connection(cluster.get_node_from_key(key))  # type: ignore[no-untyped-call]
            with node.pipeline(transaction=True) as pipe:
                yield pipe

    def scan_iter(self, match: str, *, count: int) -> Iterator[bytes]:
        """Keys of all nodes.

        Raises:
            RedisError: A node did not answer.
        """
        with self._learning():
            yield from self._known().scan_iter(match, count=count)

    def close(self) -> None:
        """Stop looking, and close the connections."""
        self._closed.set()
        self._news.set()
        self._thread.join()
        self._reads.close()
        if self._cluster is not None:
            self._cluster.close()

    @contextmanager
    def _learning(self) -> Iterator[None]:
        """Should something in the block fail, the nodes are looked for."""
        try:
            yield
        except redis.WatchError:
            raise
        except STORE_ERRORS:
            self._news.set()
            raise

    def _known(self) -> redis.RedisCluster:
        if self._cluster is None:
            raise redis.ConnectionError("the cluster's nodes are not known yet")
        return self._cluster

    def _read(self, command: str, *keys: str) -> Any:  # noqa: ANN401  # of the command
        cluster = self._known()
        nodes = cluster.nodes_manager.slots_cache.get(cluster.keyslot(keys[0]), ())  # type: ignore[no-untyped-call]
        try:
            return self._reads.ask(nodes, command, *keys)
        except AskError:  # or MOVED: the slot is on its way, which the library follows
            self._news.set()
            return cluster.execute_command(command, *keys)  # type: ignore[no-untyped-call]

    def _look(self) -> None:
        """Look for the nodes whenever there is reason to; the thread's whole life."""
        delay = _FIRST_DELAY_SECONDS
        while self._news.wait() and not self._closed.is_set():
            self._news.clear()
            try:
                self._discover()
            except Exception as error:  # noqa: BLE001  # the thread must outlive whatever a library raises
                if delay == _FIRST_DELAY_SECONDS:
                    _log.warning("the cluster's nodes are looked for", error=type(error).__name__)
                self._news.set()
                delay = min(2 * delay, _LONGEST_DELAY_SECONDS)
            else:
                delay = _FIRST_DELAY_SECONDS
            self._closed.wait(delay)

    def _discover(self) -> None:
        if self._cluster is not None:
            self._cluster.nodes_manager.initialize()
            return
        nodes = [ClusterNode(host, port) for host, port in self._nodes]  # type: ignore[no-untyped-call]
        self._cluster = redis.RedisCluster(
            startup_nodes=nodes,
            retry=Retry(NoBackoff(), 0),
            **self._options,
        )


BlockingClient = redis.Redis | BlockingCluster
"""A client of one server or of a cluster, for threads."""


@contextmanager
def blocking_transaction(client: BlockingClient, key: str) -> Iterator[Pipeline]:
    """A transaction of keys that all lie in the slot of one, on the node that holds it.

    The library's own for a cluster forgets what it watches when the slot goes to another node.

    Raises:
        RedisError: The node did not answer, or is not known yet.
    """
    if isinstance(client, BlockingCluster):
        with client.transaction(key) as pipe:
            yield pipe
        return
    with client.pipeline(transaction=True) as pipe:
        yield pipe
