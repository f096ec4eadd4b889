"""The end of a topic, read once: what a store that came back may lack, and what the log does not have yet."""

import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition

from recsys.errors import DataError, IntakeError
from serving.event import Event, Merge
from serving.kafka_options import Options, client_options, refused
from serving.kafka_record import decode, is_of
from serving.losses import TopicRecord
from serving.settings import Settings

_AT_ONCE = 1000  # records
_WAIT_SECONDS = 0.1
_ASK_SECONDS = 5.0
_SILENCE_SECONDS = 10.0
_OWN: Options = {
    "group.id": "recsys-tail",  # librdkafka wants one; nothing is committed
    "enable.auto.commit": False,
    "auto.offset.reset": "earliest",
    "isolation.level": "read_committed",
    "enable.partition.eof": True,
}


class TopicReading:
    """Reads the topic apart from any group."""

    def __init__(self, settings: Settings) -> None:
        """Args: the settings, which name brokers, topic and tenant."""
        self._settings, self._topic = settings, settings.kafka_topic

    def spans(self) -> dict[int, tuple[int, int]]:
        """Of each partition, the offset of the first record that is still there, and the one behind the last.

        Raises:
            IntakeError: No broker answered, or none knows the topic.
        """
        with closing(self._consumer()) as consumer:
            try:
                found = consumer.list_topics(self._topic, timeout=_ASK_SECONDS).topics[self._topic]
                if found.error is not None or not found.partitions:
                    raise IntakeError(f"the brokers do not know the topic {self._topic}: {found.error}")
                return {number: self._span(consumer, number) for number in found.partitions}
            except KafkaException as error:
                raise IntakeError(f"no broker answered: {error.args[0].name()}") from error

    def since(self, starts: Mapping[int, int]) -> Iterator[TopicRecord]:
        """The records of partitions from offsets to where they end now.

        Raises:
            IntakeError: The brokers do not answer.
        """
        ends = {number: end for number, (_, end) in self.spans().items()}
        lacking = {number: start for number, start in starts.items() if start < ends.get(number, 0)}
        with closing(self._consumer()) as consumer:
            consumer.assign([TopicPartition(self._topic, *place) for place in lacking.items()])
            heard = time.monotonic()
            while lacking:
                for message in consumer.consume(_AT_ONCE, _WAIT_SECONDS):
                    number, offset, error = message.partition(), message.offset(), message.error()
                    if error is None:
                        heard = time.monotonic()
                        yield from self._decoded(number, offset, message.key(), message.value())
                    is_end = error is not None and error.code() == KafkaError._PARTITION_EOF
                    if is_end or (error is None and offset >= ends[number] - 1):
                        lacking.pop(number, None)
                if time.monotonic() > heard + _SILENCE_SECONDS:
                    raise IntakeError("the brokers do not answer")

    def _decoded(
        self, number: int, offset: int, key: bytes | None, value: bytes | None
    ) -> Iterable[TopicRecord]:
        if not is_of(self._settings.tenant, key):
            return
        try:
            record: Event | Merge = decode(value)
        except DataError:  # the consumer says it
            return
        yield TopicRecord(number, offset, record)

    def _span(self, consumer: Consumer, number: int) -> tuple[int, int]:
        low, high = consumer.get_watermark_offsets(TopicPartition(self._topic, number), timeout=_ASK_SECONDS)
        return int(low), int(high)

    def _consumer(self) -> Consumer:
        options = client_options(self._settings, {"fetch.wait.max.ms": 100}, _OWN)
        try:
            return Consumer({**options, "error_cb": lambda _: None})
        except KafkaException as error:
            raise refused(error, options) from None
