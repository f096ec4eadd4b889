"""Brokers to test against: librdkafka's mock cluster, which speaks the protocol over TCP, or real ones."""

import os
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient, NewTopic

REAL = os.environ.get("RECSYS_TEST_KAFKA", "")
"""``host:port`` of real brokers."""
WITHOUT_REAL = (
    "NOT RUN AGAINST REAL BROKERS: no package of PyPI, Debian or npm has Apache Kafka's server; "
    "set RECSYS_TEST_KAFKA=host:port to run it against one that is there"
)
NUM_PARTITIONS = 4
_SECONDS = 10.0


@dataclass(frozen=True)
class Brokers:
    """A cluster, and a new topic on it."""

    servers: str
    topic: str


@contextmanager
def brokers(servers: str = "") -> Iterator[Brokers]:
    """A new topic on real brokers, or on three of a mock cluster that ends with the block."""
    topic = f"events-{uuid.uuid4().hex[:12]}"
    if servers:
        admin = AdminClient({"bootstrap.servers": servers})
        created = admin.create_topics([NewTopic(topic, NUM_PARTITIONS)])
        created[topic].result(_SECONDS)
        yield Brokers(servers, topic)
        admin.delete_topics([topic])[topic].result(_SECONDS)
        return
    cluster = Producer({"test.mock.num.brokers": 3, "bootstrap.servers": "mock", "log_level": 0})
    found = cluster.list_topics(topic, timeout=_SECONDS).brokers.values()  # asking for a topic makes it
    yield Brokers(",".join(f"{broker.host}:{broker.port}" for broker in found), topic)
    del cluster
