"""One partition of the topic on its way into the log and the online states.

Its records wait in a buffer in memory: what is lost with the process is read again, from the offset behind
the last one that the log names. A record's sequence number is its offset and one, so whoever reads the
partition gives it the same number, and a state that has it already is left alone.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import structlog

from recsys.errors import DataError
from recsys.event_log import EventLog
from recsys.log_layout import log_for_appends
from recsys.tombstones import Tombstones
from recsys.workspace import Workspace
from serving.compaction import compact
from serving.event import BufferedEvent, Event, Merge
from serving.event_buffer import SqliteEventBuffer
from serving.fillings import Fillings, Footing
from serving.kafka_offsets import append_name, next_offset
from serving.kafka_record import decode, is_of
from serving.kafka_states import REMEMBER_MS, Past
from serving.progress_board import ABSENT
from serving.state_store import StateStore
from serving.state_updater import StateUpdater

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Record:
    """One message of the topic."""

    offset: int
    key: bytes | None
    value: bytes | None


class _NoModels:
    """A reader of the topic has no models that count events."""

    counted = ABSENT

    def count(self, events: Sequence[BufferedEvent]) -> None:
        """Count nothing."""


class KafkaPartition:
    """The records of one partition that are not in the log yet; one method at a time may be called."""

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
        self._workspace, self._topic, self._tenant, self._store = workspace, topic, tenant, store
        self._tombstones = Tombstones(workspace.root)
        self._erased_ms, self._num_erasures = past.erased_ms, -1
        self._erased: dict[str, int] = {}  # whose states still stand; and until when they are erased
        self._buffer = SqliteEventBuffer(workspace.state / "kafka", in_memory=True, remember_ms=REMEMBER_MS)
        self._buffer.learn(past.merges)
        self._buffer.remember(past.ids)
        self.start = past.starts.get(number)
        """Offset to read from; ``None`` for the first that there is."""
        self._updater = StateUpdater(self._buffer, store, _NoModels())
        self._logged = self.start or 0  # the last sequence number of the log, when last asked for
        self._fillings, self._filling = Fillings(workspace.state), 0
        self._noted = 0, 0
        self._rests = True
        self.num_foreign = 0
        """Records that no server of ours wrote, since the start."""

    @property
    def num_waiting(self) -> int:
        """About how many records are not in the log yet."""
        first, last = self._buffer.span()
        return last - first + 1

    def take(self, records: Sequence[Record]) -> None:
        """Take records in, ascending by offset, to be applied."""
        self._heed_erasures()
        ours = [record for record in records if is_of(self._tenant, record.key)]
        numbered = [(record.offset + 1, event) for record in ours if (event := self._decoded(record))]
        if numbered:
            self._buffer.append_numbered(numbered).result()
            if numbered[0][0] <= self._logged:  # read late; ids and logins count all the same
                self._buffer.release(self._logged)
            self._rests = False

    def is_due(self, filling: int) -> bool:
        """Whether ``apply`` has something to do, given the number of the filling, 0 where there is none."""
        has_news = filling != self._filling or len(self._tombstones) != self._num_erasures
        return filling > 0 and (has_news or bool(self._erased) or not self._rests)

    async def apply(self, filling: int) -> None:
        """Let some records become visible in the states; what the store does not take is tried again.

        Args:
            filling: Number of the filling that the store has.

        Raises:
            StoreError: The store did not forget somebody who was erased; it is tried again.
        """
        self._store.writes.footing = self._fillings.footing(self._knows_the_erased)
        if self._store.writes.footing is None or self._store.writes.footing.number != filling:
            return
        if filling != self._filling:
            await asyncio.to_thread(self._begin_again, filling)
        await asyncio.to_thread(self._heed_erasures)
        await self._forget_erased()
        self._rests = not await self._updater.step() and not self._updater.is_behind

    def move(self, filling: int) -> int | None:
        """Move into the log what the states have; under its lock.

        Args:
            filling: Number of the filling that the store has, 0 for none.

        Returns:
            The offset behind what the log has now, ``None`` when nothing moved.

        Raises:
            DataError: The log is damaged.
            ConfigError: The configuration cannot be read.
            IntakeError: The buffer failed.
        """
        if not filling or filling != self._filling:  # what was applied before it may be missing
            return None
        self._release()  # another reader may have been faster
        through = self._updater.applied
        claimed = self._buffer.claim(through)
        if claimed is None or claimed[1] > through:  # of before the filling, when a write to the log failed
            return None
        compact(self._buffer, log_for_appends(self._workspace), through=through, name=self._name)
        self._release()
        return self._logged

    async def note(self, footing: Footing, is_server: Callable[[str], bool]) -> None:
        """Write down how far the states had come at the last note but this: the server was the same since.

        Args:
            footing: The filling that the store has.
            is_server: See ``OffsetNotes.write``.

        Raises:
            StoreError: The store did not answer.
        """
        before, self._noted = self._noted, (self._filling, max(self._updater.applied, self._logged))
        if before[0] == self._filling == footing.number:
            await self._store.offsets().write(footing, before[1], is_server)

    def close(self) -> None:
        """Forget what was not moved; the next reader reads it."""
        self._buffer.close()

    def _knows_the_erased(self) -> bool:
        return len(self._tombstones) == self._num_erasures

    def _begin_again(self, filling: int) -> None:
        """Apply everything that the log does not have: the states are the log's, or were just now."""
        self._release()
        self._updater.forget_applied()
        self._filling, self._rests = filling, False

    def _release(self) -> None:
        """Let go of what is in the log, whoever moved it."""
        self._logged = next_offset(EventLog(self._workspace.events), self._topic, self.number) or 0
        self._buffer.release(self._logged)

    async def _forget_erased(self) -> None:
        """Make the states of erased people anew, of what the same ids did since then.

        Such a state goes as a whole when the erasure reaches the store; now it finds nothing to take.
        """
        for subject, until_ms in list(self._erased.items()):
            await self._store.erase_state(subject, until_ms)
            later = await asyncio.to_thread(self._buffer.of, (subject,))
            await self._updater.apply_again([one for one in later if one.sequence <= self._updater.applied])
            del self._erased[subject]

    def _heed_erasures(self) -> None:
        """Forget what erased people did before, and whom they were, when somebody was erased."""
        if (num_erasures := len(self._tombstones)) == self._num_erasures:
            return
        erased_ms = self._tombstones.as_of_now()
        for subject in self._buffer.people() if num_erasures else ():
            if (until_ms := erased_ms(subject)) > self._erased_ms(subject):
                self._forget(subject, until_ms)
        self._erased_ms, self._num_erasures = erased_ms, num_erasures

    def _forget(self, subject: str, until_ms: int) -> None:
        """Forget somebody, and every visitor that this was as nobody but the buffer knows."""
        logins = (record.merge for record in self._buffer.of((subject,)))
        was = {login.visitor for login in logins if login is not None and login.merge_time <= until_ms}
        unknown = {visitor for visitor in was - {subject} if self._tombstones.erased_ms(visitor) < until_ms}
        if unknown:
            self._tombstones.add(sorted(unknown), until_ms)
        forgotten = (subject, *unknown)
        self._buffer.erase(forgotten, until_ms)
        self._erased |= dict.fromkeys(forgotten, until_ms)

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
