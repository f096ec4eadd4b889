"""A real cluster for the online state: three primaries and three replicas on the loopback address."""

import shutil
import signal
import subprocess
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import redis
from redis.crc import REDIS_CLUSTER_HASH_SLOTS, key_slot

from serving.embedded_store import _find_binary
from tests.serving.running import free_port

NUM_PRIMARIES = 3
NODE_TIMEOUT_MS = 1000
_PATIENCE_SECONDS = 60.0


@dataclass
class Node:
    """One server of a cluster."""

    port: int
    bus_port: int
    directory: Path
    options: Mapping[str, str]
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)

    def start(self) -> None:
        self.directory.mkdir(exist_ok=True)
        options = {
            "port": str(self.port),
            "cluster-port": str(self.bus_port),
            "bind": "127.0.0.1",
            "dir": str(self.directory),
            "cluster-enabled": "yes",
            "cluster-config-file": "nodes.conf",
            "cluster-node-timeout": str(NODE_TIMEOUT_MS),
            "cluster-require-full-coverage": "no",
            "cluster-allow-reads-when-down": "yes",
            "save": "",
            "appendonly": "no",
            **self.options,
        }
        command = [str(_find_binary()), *(word for name in options for word in (f"--{name}", options[name]))]
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, process_group=0
            )

    def ask(self, *words: str | int) -> Any:
        with redis.Redis(port=self.port, socket_timeout=10) as client:
            return client.execute_command(*words)

    def answers(self) -> bool:
        try:
            self.ask("PING")
        except redis.RedisError:
            return False
        return True

    def send(self, number: signal.Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def kill(self) -> None:
        """End it at once, as a machine does that loses its power."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None


@dataclass
class StoreCluster:
    """Its nodes; the first ``NUM_PRIMARIES`` were the primaries at the start."""

    nodes: list[Node]

    @property
    def url(self) -> str:
        return "redis+cluster://" + ",".join(f"127.0.0.1:{node.port}" for node in self.nodes[:2])

    def client(self) -> redis.RedisCluster:
        alive = [node for node in self.nodes if node.process is not None and node.answers()]
        return redis.RedisCluster(host="127.0.0.1", port=alive[0].port)

    def primary_of(self, key: str) -> Node:
        """Who holds a key now."""
        with self.client() as client:
            found = client.get_node_from_key(key)
        assert found is not None
        return next(node for node in self.nodes if node.port == found.port)

    def errors(self) -> dict[str, int]:
        """How often a node answered with which error, of all nodes that run."""
        found: Counter[str] = Counter()
        for node in self.nodes:
            if node.process is not None:
                stats = node.ask("INFO", "errorstats")
                found.update({name.removeprefix("errorstat_"): one["count"] for name, one in stats.items()})
        return dict(found)

    def refused(self) -> list[object]:
        """What users had no right to, of all nodes that run."""
        return [entry for node in self.nodes if node.process is not None for entry in node.ask("ACL", "LOG")]

    def keys_with(self, word: bytes) -> list[bytes]:
        """Keys of any node, replicas too, with a word in their name or value."""
        found = []
        for node in self.nodes:
            with redis.Redis(port=node.port, socket_timeout=10) as client:
                client.execute_command("READONLY")
                keys = list(client.scan_iter(count=1000))
                found += [key for key in keys if word in key or word in (client.dump(key) or b"")]
        return found

    def is_whole(self) -> bool:
        """Whether every node that runs knows that all slots are served."""
        running = [node for node in self.nodes if node.process is not None]
        return all(b"cluster_state:ok" in _info(node) for node in running)


def _info(node: Node) -> bytes:
    with redis.Redis(port=node.port, socket_timeout=10) as client:
        client.set_response_callback("CLUSTER INFO", lambda raw: raw)
        return bytes(client.execute_command("CLUSTER INFO"))


@contextmanager
def store_cluster(**options: str) -> Iterator[StoreCluster]:
    """Run a cluster; option names have ``_`` for ``-``."""
    directory = Path(tempfile.mkdtemp(prefix="recsys-cluster-"))
    named = {name.replace("_", "-"): value for name, value in options.items()}
    nodes = [Node(free_port(), free_port(), directory / str(i), named) for i in range(2 * NUM_PRIMARIES)]
    try:
        for node in nodes:
            node.start()
        _join(nodes)
        yield StoreCluster(nodes)
    finally:
        for node in nodes:
            node.kill()
        shutil.rmtree(directory, ignore_errors=True)


def _join(nodes: list[Node]) -> None:
    """Make one cluster of servers that know nothing of each other."""
    _until(lambda: all(node.answers() for node in nodes), "the start of all nodes")
    primaries, replicas = nodes[:NUM_PRIMARIES], nodes[NUM_PRIMARIES:]
    for number, node in enumerate(nodes):
        node.ask("CLUSTER SET-CONFIG-EPOCH", number + 1)
    for node in nodes[1:]:
        node.ask("CLUSTER MEET", "127.0.0.1", nodes[0].port, nodes[0].bus_port)
    width = REDIS_CLUSTER_HASH_SLOTS // NUM_PRIMARIES
    for number, node in enumerate(primaries):
        last = REDIS_CLUSTER_HASH_SLOTS - 1 if node is primaries[-1] else (number + 1) * width - 1
        node.ask("CLUSTER ADDSLOTSRANGE", number * width, last)
    _until(lambda: all(_known(node) == len(nodes) for node in nodes), "all nodes' knowing each other")
    for primary, replica in zip(primaries, replicas, strict=True):
        replica.ask("CLUSTER REPLICATE", primary.ask("CLUSTER MYID").decode())
    _until(lambda: StoreCluster(nodes).is_whole(), "the cluster")
    _until(lambda: all(_is_linked(node) for node in replicas), "the replicas")


def _known(node: Node) -> int:
    return int(_info(node).split(b"cluster_known_nodes:")[1].split()[0])


def _is_linked(node: Node) -> bool:
    found: dict[str, object] = node.ask("INFO", "replication")
    return found.get("master_link_status") == "up"


def _until(condition: Any, what: str) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"{what} did not happen within {_PATIENCE_SECONDS:g} s"
        time.sleep(0.02)


def slot_of(key: str | bytes) -> int:
    """The slot of a key, by CRC16 of its hash tag."""
    return int(key_slot(key.encode() if isinstance(key, str) else key))
