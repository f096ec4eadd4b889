"""One partition of the topic on its way into the log and the online states.

Its records wait in a buffer in memory: what is lost with the process is read again, from the offset behind
the last one that the log names. A record's sequence number is its offset and one, so whoever reads the
partition gives it the same number, and a state that has it already is left alone.
"""

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass

import structlog

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.file_lock import exclusive
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK, compact
from serving.event import BufferedEvent, Event, Merge
from serving.event_buffer import SqliteEventBuffer
from serving.kafka_offsets import append_name, next_offset
from serving.kafka_record import decode, is_of
from serving.progress_board import ABSENT
from serving.state_store import StateStore
from serving.state_updater import StateUpdater

_log = structlog.get_logger(__name__)

REMEMBER_MS = 60 * 60 * 1000
"""How long a partition's reader knows the id of an event that is in the log already, in milliseconds; the log
itself takes an id once, however old."""


@dataclass(frozen=True)
class Record:
    """One message of the topic."""

    offset: int
    key: bytes | None
    value: bytes | None


@dataclass(frozen=True)
class Past:
    """What the log says that a partition's reader has to know."""

    merges: tuple[Merge, ...]
    """Who each visitor turned out to be."""
    ids: tuple[tuple[str, int], ...]
    """Ids of its latest events, each with the time it was received, milliseconds since the epoch."""


class _NoModels:
    """A reader of the topic has no models that count events."""

    counted = ABSENT

    def count(self, events: Sequence[BufferedEvent]) -> None:
        """Count nothing."""


class KafkaPartition:
    """The records of one partition that are not in the log yet; for the event loop's thread."""

    def __init__(
        self, workspace: Workspace, topic: str, number: int, *, tenant: str, store: StateStore, past: Past
    ) -> None:
        """Take a partition over.

        Args:
            workspace: Whose log it goes to.
            topic: The topic.
            number: Number of the partition.
            tenant: Whose records count; a topic may hold others'.
            store: The online states, for whose source this partition stands.
            past: What the log says.
        """
        self.number = number
        self._topic, self._tenant, self._store = topic, tenant, store
        self._event_log = EventLog(workspace.events)
        self._lock = workspace.state / COMPACTION_LOCK
        self._buffer = SqliteEventBuffer(workspace.state / "kafka", in_memory=True, remember_ms=REMEMBER_MS)
        self._buffer.learn(past.merges)
        self._buffer.remember(past.ids)
        self.start = next_offset(self._event_log, self._topic, self.number)
        """Offset to read from; ``None`` for the first that there is."""
        self._moved = self.start or 0
        self._noted = 0
        self.updater = StateUpdater(self._buffer, store, _NoModels())
        self.num_foreign = 0
        """Records that no server of ours wrote, since the start."""

    @property
    def num_waiting(self) -> int:
        """About how many records are not in the log yet."""
        first, last = self._buffer.span()
        return last - first + 1

    def take(self, records: Sequence[Record]) -> None:
        """Let records, ascending by offset, become visible in the states."""
        ours = [record for record in records if is_of(self._tenant, record.key)]
        numbered = [(record.offset + 1, event) for record in ours if (event := self._decoded(record))]
        if numbered:
            self._buffer.append_numbered(numbered).result()

    async def look(self) -> bool:
        """Compare what the store has with what it was given; whether nothing is missing.

        Raises:
            StoreError: The store did not answer.
        """
        there = await self._store.progress()
        if there < self._noted:
            _log.warning("the store has lost events, so they are applied again", partition=self.number)
            if there < self._moved:
                await self._store.mark("incomplete")  # only the log has the rest
            self._noted = 0
            self.updater.forget_applied()
            return False
        applied = max(self.updater.applied, self._moved)
        if applied > there:  # another reader of the partition may be further
            await self._store.note_progress(applied)
        self._noted = applied
        return True

    async def move(self) -> int | None:
        """Move what the states have into the log; the offset behind it, ``None`` when nothing moved.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
            IntakeError: The buffer failed.
        """
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, exclusive(self._lock))
            if not await self.look():  # under the lock: the store is not loaded meanwhile
                return None
            return await asyncio.to_thread(self._move, self._noted)

    def close(self) -> None:
        """Forget what was not moved; the next reader reads it."""
        self._buffer.close()

    def _move(self, through: int) -> int | None:
        moved = next_offset(self._event_log, self._topic, self.number) or 0
        if moved > self._moved:  # another reader was faster
            self._buffer.release(moved)
            self._moved = moved
        if not compact(self._buffer, self._event_log, through=through, name=self._name):
            return None
        self._moved = next_offset(self._event_log, self._topic, self.number) or 0
        return self._moved

    def _name(self, first: int, last: int) -> str:
        return append_name(self._topic, self.number, first - 1, last - 1)

    def _decoded(self, record: Record) -> Event | Merge | None:
        try:
            return decode(record.value)
        except DataError as error:
            if not self.num_foreign:
                _log.error(
                    "a record that no server wrote is left out", reason=str(error), offset=record.offset
                )
            self.num_foreign += 1
            return None
