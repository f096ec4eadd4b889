"""Brokers to test against: librdkafka's mock cluster, which speaks the protocol over TCP, or real ones.

The mock cluster runs in a process of its own, which can be stopped and go on: brokers that are away.
"""

import multiprocessing
import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.connection import Connection

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

REAL = os.environ.get("RECSYS_TEST_KAFKA", "")
"""``host:port`` of real brokers."""
WITHOUT_REAL = (
    "NOT RUN AGAINST REAL BROKERS: no package of PyPI, Debian or npm has Apache Kafka's server; "
    "set RECSYS_TEST_KAFKA=host:port to run it against one that is there"
)
_NUM_PARTITIONS = 4
_SECONDS = 30.0
_context = multiprocessing.get_context("forkserver")


@dataclass(frozen=True)
class Brokers:
    """A cluster, and a new topic on it."""

    servers: str
    topic: str
    pid: int | None = None
    """The mock cluster's process; ``None`` for real brokers."""

    def stop(self) -> None:
        """Answer nobody, while connections stay open."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Be there again."""
        assert self.pid is not None
        os.kill(self.pid, signal.SIGCONT)


@contextmanager
def brokers(servers: str = "") -> Iterator[Brokers]:
    """A new topic on real brokers, or on three of a mock cluster that ends with the block."""
    topic = f"events-{uuid.uuid4().hex[:12]}"
    if servers:
        admin = AdminClient({"bootstrap.servers": servers})
        admin.create_topics([NewTopic(topic, _NUM_PARTITIONS)])[topic].result(_SECONDS)
        yield Brokers(servers, topic)
        admin.delete_topics([topic])[topic].result(_SECONDS)
        return
    ours, theirs = _context.Pipe()
    process = _context.Process(target=_mock, args=(topic, theirs))
    process.start()
    try:
        assert ours.poll(_SECONDS), "the mock cluster did not start"
        yield Brokers(ours.recv(), topic, process.pid)
    finally:
        process.kill()
        process.join()


def _mock(topic: str, pipe: Connection) -> None:
    cluster = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "mock", "log_level": 0})
    found = cluster.list_topics(topic, timeout=_SECONDS).brokers.values()  # asking for a topic makes it
    pipe.send(",".join(f"{broker.host}:{broker.port}" for broker in found))
    signal.pause()
