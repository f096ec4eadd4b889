"""Makes events durable in a Kafka topic: acknowledged is what every in-sync replica of the brokers has.

A call waits for the delivery reports of all its records. When one fails or is late nothing is acknowledged;
what the brokers have nevertheless counts once, however often it is sent again with the same ``event_id``.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial

import structlog
from confluent_kafka import KafkaError, KafkaException, Message, Producer

from recsys.errors import IntakeError
from recsys.fault_point import reach
from serving.errors import OverloadError
from serving.event import Event, Merge
from serving.event_intake import ELSEWHERE
from serving.kafka_options import Options, client_options, refused
from serving.kafka_record import encode, key_of
from serving.settings import Settings

_log = structlog.get_logger(__name__)

_POLL_SECONDS = 0.05
_RETRY_SECONDS = 1.0
_MOST_WAITING = 100_000  # records
_DEFAULTS: Options = {
    "linger.ms": 1,
    "retry.backoff.ms": 50,
    "reconnect.backoff.ms": 50,
    "reconnect.backoff.max.ms": 1000,
}


class KafkaIntake:
    """A producer, and the thread that its delivery reports come in."""

    def __init__(self, settings: Settings) -> None:
        """Make a producer; brokers that do not answer are no error here.

        Raises:
            ConfigError: librdkafka does not take the options.
        """
        self._topic, self._tenant = settings.kafka_topic, settings.tenant
        self._seconds = settings.kafka_timeout_ms / 1000
        self._options = client_options(settings, _DEFAULTS, _own(settings.kafka_timeout_ms))
        self._lock = threading.Lock()
        self._pending: deque[_Batch] = deque()
        self._is_away = False
        self._producer = self._make()
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._serve_reports, name="kafka-reports", daemon=True)
        self._thread.start()

    @property
    def has_failed(self) -> bool:
        """Never: brokers that are away may come back."""
        return False

    def append(self, records: Sequence[Event | Merge]) -> Future[list[int | None]]:
        """Send records; the future ends with their delivery reports, see ``EventIntake.append``.

        It raises ``OverloadError`` when too many wait to be sent.
        """
        batch = _Batch(len(records), time.monotonic() + self._seconds)
        self._pending.append(batch)
        if self._closed.is_set():
            batch.end(IntakeError("the producer of events is closed; the server is stopping"))
            return batch.future
        for record in records:
            try:
                with self._lock:
                    producer = self._producer
                producer.produce(
                    self._topic,
                    encode(record),
                    key_of(self._tenant, record),
                    on_delivery=partial(self._report, batch),
                )
            except BufferError:
                batch.end(OverloadError(_RETRY_SECONDS))
                break
            except KafkaException as error:
                batch.end(IntakeError(f"an event cannot be sent: {_code(error.args[0])}"))
                break
        reach("events-sent")
        return batch.future

    def close(self) -> None:
        """Wait for what was sent, for as long as a call would, and refuse the rest."""
        if self._closed.is_set():
            return
        self._closed.set()
        self._thread.join()
        self._producer.flush(self._seconds)
        for batch in self._pending:
            batch.end(IntakeError("the server stopped before a broker acknowledged an event"))

    def _report(self, batch: "_Batch", error: KafkaError | None, _message: Message) -> None:
        self._is_away = self._is_away and error is not None
        batch.report(error)

    def _serve_reports(self) -> None:
        while not self._closed.is_set():
            self._producer.poll(_POLL_SECONDS)
            self._expire()

    def _expire(self) -> None:
        """Fail the calls that have waited too long; librdkafka itself looks once a second only."""
        now = time.monotonic()
        while self._pending and (self._pending[0].future.done() or self._pending[0].due < now):
            self._pending.popleft().end(
                IntakeError(f"no broker acknowledged an event in {self._seconds:g} s")
            )

    def _make(self) -> Producer:
        try:
            return Producer({**self._options, "error_cb": self._note})
        except KafkaException as error:
            raise refused(error, self._options) from None

    def _note(self, error: KafkaError) -> None:
        """Say that brokers are away, and begin anew after an error that a producer does not survive."""
        if not self._is_away:
            _log.warning("the brokers do not answer", reason=_code(error))
        self._is_away = True
        if error.fatal():
            with self._lock:
                self._producer = self._make()


class _Batch:
    """The records of one call, and what became of them so far."""

    def __init__(self, size: int, due: float) -> None:
        self.future: Future[list[int | None]] = Future()
        self.future.set_running_or_notify_cancel()  # a caller that gives up cannot take its events back
        self.due = due
        """When to give up, on the monotonic clock."""
        self._size = self._left = size
        self._lock = threading.Lock()

    def report(self, error: KafkaError | None) -> None:
        """Take note of what became of one record."""
        if error is not None:
            self.end(IntakeError(f"an event was not acknowledged: {_code(error)}"))
            return
        with self._lock:
            self._left -= 1
            if self._left or self.future.done():
                return
            reach("events-delivered")
            self.future.set_result([ELSEWHERE] * self._size)

    def end(self, error: Exception) -> None:
        """Fail the call, unless it has ended already."""
        with self._lock:
            if not self.future.done():
                self.future.set_exception(error)


def _own(timeout_ms: int) -> Options:
    return {
        "acks": "all",
        "enable.idempotence": True,
        "message.timeout.ms": timeout_ms,
        "partitioner": "murmur2_random",
        "queue.buffering.max.messages": _MOST_WAITING,
    }


def _code(error: KafkaError) -> str:
    """The name of an error; its words may hold addresses."""
    name: Callable[[], str] = error.name
    return name()
