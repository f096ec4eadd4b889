"""The topic's latest events in a server's memory, for its models to count: all partitions, in no group.

A model has counted the log when it is loaded; what lies behind the log's last offsets comes from here. The
online states are not this module's: ``recsys consume`` keeps them for all servers.
"""

import asyncio
import threading
from collections import deque

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, TopicPartition

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.workspace import Workspace
from serving.event_buffer import SqliteEventBuffer
from serving.kafka_offsets import next_offsets
from serving.kafka_options import Options, client_options, refused
from serving.kafka_record import decode, is_of
from serving.kafka_states import REMEMBER_MS
from serving.settings import Settings
from serving.state_updater import EventCounter

_log = structlog.get_logger(__name__)

_AT_ONCE = 1000  # records
_WAIT_SECONDS = 0.1
_COUNT_SECONDS = 0.2
_TRIM_SECONDS = 10.0
_ASK_SECONDS = 1.0
_MOST = 200_000  # records in memory
_OWN: Options = {
    "group.id": "recsys-tail",  # librdkafka wants one; nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
}


class KafkaTail:
    """What the log does not have yet, as far as this process has read it."""

    def __init__(self, workspace: Workspace, settings: Settings, counter: EventCounter) -> None:
        """Begin to read behind the log; its lock is held, so that nothing moves into it meanwhile.

        Args:
            workspace: Whose log the models have counted.
            settings: Name brokers, topic and tenant.
            counter: Counts the events.

        Raises:
            ConfigError: librdkafka does not take the options.
        """
        self._topic, self._tenant, self._counter = settings.kafka_topic, settings.tenant, counter
        self._event_log = EventLog(workspace.events)
        self._starts = next_offsets(self._event_log, self._topic)
        self.buffer = SqliteEventBuffer(workspace.state / "tail", in_memory=True, remember_ms=REMEMBER_MS)
        """The events; their sequence numbers are this process's own."""
        self._places: deque[tuple[int, int, int]] = deque()  # sequence number, partition, offset
        options = client_options(settings, {"fetch.wait.max.ms": 100}, _OWN)
        try:
            self._consumer = Consumer({**options, "error_cb": lambda _: None})  # the producer says it
        except KafkaException as error:
            raise refused(error, options) from None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._read_on, name="kafka-tail", daemon=True)
        self._thread.start()

    async def run(self) -> None:
        """Count what comes, and forget what is in the log, until cancelled."""
        loop, trimmed = asyncio.get_running_loop(), 0.0
        while True:
            while events := self.buffer.since(self._counter.counted, _AT_ONCE):
                self._counter.count(events)
                await asyncio.sleep(0)
            if loop.time() > trimmed + _TRIM_SECONDS:
                await asyncio.to_thread(self._trim, self._counter.counted)
                trimmed = loop.time()
            await asyncio.sleep(_COUNT_SECONDS)

    def close(self) -> None:
        """Stop reading, and forget everything."""
        self._closed.set()
        self._thread.join()
        self._consumer.close()
        self.buffer.close()

    def _read_on(self) -> None:
        """Read until ``close``; the thread's whole life."""
        while not self._closed.is_set() and not self._assign():
            self._closed.wait(_ASK_SECONDS)
        while not self._closed.is_set():
            try:
                self._read()
            except KafkaException as error:
                _log.warning("events are not counted for now", reason=error.args[0].name())
                self._closed.wait(_ASK_SECONDS)

    def _assign(self) -> bool:
        """Ask which partitions there are, and begin with all of them; whether a broker answered."""
        try:
            found = self._consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
        except KafkaException:
            return False
        self._consumer.assign(
            [
                TopicPartition(self._topic, number, self._starts.get(number, OFFSET_BEGINNING))
                for number in found.partitions
            ]
        )
        return bool(found.partitions)

    def _read(self) -> None:
        for message in self._consumer.consume(_AT_ONCE, _WAIT_SECONDS):
            if message.error() is not None or not is_of(self._tenant, message.key()):
                continue
            try:
                [sequence] = self.buffer.append([decode(message.value())]).result()
            except DataError:  # the consumer says it
                continue
            if sequence is not None:
                self._places.append((sequence, message.partition(), message.offset()))

    def _trim(self, counted: int) -> None:
        """Forget what every model has counted and the log has, or the oldest of too many."""
        logged, last = next_offsets(self._event_log, self._topic), 0
        while self._places:
            sequence, partition, offset = self._places[0]
            is_logged = sequence <= counted and offset < logged.get(partition, 0)
            if not is_logged and len(self._places) <= _MOST:
                break
            last = sequence
            self._places.popleft()
        if last:
            self.buffer.release(last)
