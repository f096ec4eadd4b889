"""Carries events from the topic into the log and the online states, as one of a group.

The group gives each partition to one of its members. Nothing rests on that: a member that was given up and
goes on changes nothing twice, see ``serving.kafka_offsets`` and ``serving.kafka_states``. The offsets that
the group commits follow the log, and only tell how far it is behind.
"""

import asyncio
import math
import time
from collections import defaultdict
from collections.abc import Callable, Iterable

import structlog
from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaError, KafkaException, Message, TopicPartition

from recsys.clock import WallClock
from recsys.config import StateConfig
from recsys.errors import DataError, IntakeError, RecsysError
from recsys.fault_point import reach
from recsys.file_lock import exclusive_if_free
from recsys.workspace import Workspace
from serving.cluster_client import StoreClient
from serving.compaction import COMPACTION_LOCK
from serving.discretion import Discretion
from serving.kafka_options import Options, client_options, refused
from serving.kafka_partition import KafkaPartition, Record
from serving.kafka_states import BusyLogError, KafkaStates, StatesOfLog
from serving.retention import prune
from serving.settings import Settings
from serving.state_store import StateStore
from serving.topic_reading import TopicReading

_log = structlog.get_logger(__name__)

_AT_ONCE = 1000  # records
_FIRST = 0  # partition
_WAIT_SECONDS = 0.05
_LOOK_SECONDS = 1.0
_NOTE_SECONDS = 2.0
_SAY_AGAIN_SECONDS = 30.0
_MOVE_AGAIN_SECONDS = 5.0
_WATERMARK_SECONDS = 5.0
_MOST_WAITING = 100_000  # records, in memory, of all partitions
_DEFAULTS: Options = {
    "session.timeout.ms": 10_000,
    "max.poll.interval.ms": 3_600_000,  # one member fills the store meanwhile
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
    "fetch.wait.max.ms": 100,
}
_OWN: Options = {
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "partition.assignment.strategy": "range,roundrobin",  # others would hand over piece by piece
}


class KafkaConsumer:
    """One member of the group."""

    def __init__(
        self,
        workspace: Workspace,
        settings: Settings,
        client: StoreClient,
        rules: StateConfig,
        states: Callable[[], StatesOfLog],
    ) -> None:
        """Make a member; it joins when it runs.

        Args:
            workspace: Whose log the events go to.
            settings: Name brokers, topic and tenant.
            client: The store.
            rules: What a state remembers.
            states: The states of the log, read anew at each call.

        Raises:
            ConfigError: librdkafka does not take the options.
        """
        self._workspace, self._topic, self._tenant = workspace, settings.kafka_topic, settings.tenant
        self._every = settings.compact_every.total_seconds()
        self._client, self._rules, self._discretion = client, rules, Discretion(workspace.root)
        reading = TopicReading(settings)
        self._states = KafkaStates(workspace, self._store("none"), self._topic, states, reading)
        self._servers, self._noted_errors = settings.kafka_servers, dict[str, float]()
        group: Options = {"group.id": f"recsys-{settings.tenant}"}
        options = client_options(settings, _DEFAULTS | group, _OWN)
        try:
            self._consumer = Consumer({**options, "error_cb": self._note})
        except KafkaException as error:
            raise refused(error, options) from None
        self._partitions: dict[int, KafkaPartition] = {}
        self._looked = self._moved = self._noted = time.monotonic()
        self._is_paused = False
        self._fails = False

    async def run(self, stopped: asyncio.Event) -> None:
        """Read until told to stop; then move what there is and leave the group.

        Raises:
            DataError: The log is damaged, or the topic is not the one that the log knows.
            IntakeError: The brokers refuse this member for good.
        """
        try:
            self._consumer.subscribe([self._topic], on_assign=self._assigned, on_revoke=self._revoked)
            while not stopped.is_set():
                await self._read()
                if self._partitions:
                    await self._attend()
                    await self._apply()
            await self._move()
        finally:
            await asyncio.to_thread(self._consumer.close)
            for partition in self._partitions.values():
                partition.close()

    async def _read(self) -> None:
        """Read what there is."""
        try:
            messages = await asyncio.to_thread(self._consumer.consume, _AT_ONCE, _WAIT_SECONDS)
        except KafkaException as error:
            raise IntakeError(f"the brokers refuse this consumer: {error.args[0].name()}") from error
        for number, records in _by_partition(messages, self._note).items():
            if (partition := self._partitions.get(number)) is not None:
                await asyncio.to_thread(partition.take, records)
                reach("records-taken")

    async def _attend(self) -> None:
        """Look after the store each second, and move into the log what is due or too much."""
        now = time.monotonic()
        if now < self._looked + _LOOK_SECONDS:
            return
        self._looked = now
        num_waiting = sum(partition.num_waiting for partition in self._partitions.values())
        try:
            await self._states.ensure()
            if now >= self._noted + _NOTE_SECONDS:
                self._noted = now
                await self._states.note(self._partitions.values())
            self._fails = False
        except (RecsysError, OSError) as error:  # the records wait meanwhile
            self._say(error)
        if now >= self._moved + self._every or num_waiting >= _MOST_WAITING // 2:
            await self._move()
        self._pause(is_full=num_waiting >= _MOST_WAITING)

    async def _apply(self) -> None:
        """Let records become visible in the states, unless somebody fills the store."""
        for partition in self._partitions.values():
            filling = self._states.filling
            if not partition.is_due(filling):
                continue
            try:
                await partition.apply(filling)
            except RecsysError as error:
                self._say(error)

    async def _move(self) -> None:
        """Move into the log what the states have, and commit how far it is."""
        self._moved = time.monotonic()
        for partition in self._partitions.values():
            try:
                async with self._states.moving() as filling:
                    behind = await asyncio.to_thread(partition.move, filling)
            except (RecsysError, OSError) as error:
                self._say(error)
                self._moved = min(self._moved, time.monotonic() + _MOVE_AGAIN_SECONDS - self._every)
                if isinstance(error, BusyLogError):  # for all partitions
                    break
                continue
            if behind is not None:
                _log.info("events moved into the log", partition=partition.number, offset=behind)
                await asyncio.to_thread(self._commit, partition.number, behind)
        if _FIRST in self._partitions:
            await asyncio.to_thread(self._prune)

    def _prune(self) -> None:
        """Remove what is too old; the member that has the first partition does."""
        try:
            with exclusive_if_free(self._workspace.state / COMPACTION_LOCK) as is_ours:
                if is_ours:  # else the next time
                    prune(self._workspace, WallClock().now_ms())
        except (RecsysError, OSError) as error:
            self._say(error)

    def _commit(self, number: int, offset: int) -> None:
        reach("offsets-moved")
        try:
            self._consumer.commit(offsets=[TopicPartition(self._topic, number, offset)], asynchronous=False)
        except KafkaException as error:  # the partition is another's by now; the log knows
            _log.info("offsets are not committed", reason=error.args[0].name())

    def _pause(self, *, is_full: bool) -> None:
        """Read nothing more while too much waits, as when the store is away; the brokers keep it."""
        if is_full != self._is_paused:
            ours = [TopicPartition(self._topic, number) for number in self._partitions]
            (self._consumer.pause if is_full else self._consumer.resume)(ours)
            self._is_paused = is_full
            _log.info("reading stops" if is_full else "reading goes on")

    def _assigned(self, consumer: Consumer, given: list[TopicPartition]) -> None:
        """Take partitions over, in the thread that reads."""
        past = self._states.past()
        for one in given:
            store = self._store(f"{self._topic}/{one.partition}")
            self._partitions[one.partition] = KafkaPartition(
                self._workspace, self._topic, one.partition, tenant=self._tenant, store=store, past=past
            )
        for one in given:
            start = self._partitions[one.partition].start
            one.offset = OFFSET_BEGINNING if start is None else start
            if start is not None:
                self._check(one)
        self._is_paused = False
        consumer.assign(given)
        _log.info("partitions taken over", numbers=sorted(one.partition for one in given))

    def _check(self, at: TopicPartition) -> None:
        """See that the topic still has what comes next."""
        try:
            low, high = self._consumer.get_watermark_offsets(at, timeout=_WATERMARK_SECONDS)
        except KafkaException as error:
            self._note(error.args[0])
            return
        if at.offset > high:
            raise DataError(
                f"partition {at.partition} of {self._topic} ends at {high}, but the log has it up to "
                f"{at.offset}: it was made anew, or lost records; name a new topic with RECSYS_KAFKA_TOPIC"
            )
        if low > at.offset:
            _log.error(
                "the brokers deleted records before they were read",
                partition=at.partition,
                number=low - at.offset,
            )

    def _revoked(self, _consumer: Consumer, taken: list[TopicPartition]) -> None:
        """Give partitions up: whoever has them next reads what was not moved."""
        for one in taken:
            if (partition := self._partitions.pop(one.partition, None)) is not None:
                partition.close()

    def _store(self, source: str) -> StateStore:
        return StateStore(self._client, self._tenant, self._rules, self._discretion, source=source)

    def _note(self, error: KafkaError) -> None:
        """Say what the brokers fail with, each of it now and then: the client tries many times a second."""
        now, name = time.monotonic(), error.name()
        if now >= self._noted_errors.get(name, -math.inf) + _SAY_AGAIN_SECONDS:
            self._noted_errors[name] = now
            _log.warning("the brokers do not answer", reason=name, servers=self._servers)

    def _say(self, error: Exception) -> None:
        if not self._fails:
            _log.warning("events wait in the topic", reason=str(error))
        self._fails = True


def _by_partition(messages: Iterable[Message], note: Callable[[KafkaError], None]) -> dict[int, list[Record]]:
    found: dict[int, list[Record]] = defaultdict(list)
    for message in messages:
        if (error := message.error()) is not None:
            note(error)
            continue
        found[message.partition()].append(Record(message.offset(), message.key(), message.value()))
    return found
