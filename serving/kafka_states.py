"""The online states of a log that several consumers carry on, and their fillings from it.

A filling has a number, see ``serving.fillings``, and takes place where the store is empty or not the one that
the last filling was written to, as after a failover that may have lost the latest writes: nobody can tell
what is missing from a state that was given later events since then. Where the store itself says up to which
offsets it has everything (``serving.offset_notes``), only the states of those concerned by later records are
made anew from the log (``serving.losses``); else all. Each consumer builds on the number that it finds:
another one, and it applies again all that it has and the log has not (see ``serving.kafka_partition``), which
changes nothing in states that were left alone. Nothing moves into the log but what was applied since the
filling.

Who moves events into the log holds its lock. Should that one be stopped in its tracks, the log stands still,
and the states go on: whoever fills waits for the lock ``_LOG_SECONDS``, then reads without it, and notes
which log it read. As soon as the lock is free somebody looks whether the log is still that one, before
anything else moves into it; if not, for the one that was stopped has finished, the filling was in vain.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import polars as pl
import structlog

from recsys.errors import IntakeError
from recsys.event_log import EventLog
from recsys.file_lock import within
from recsys.remote.people import word_of_erasures
from recsys.schema import EVENT_ID, MERGE_TIME, RECEIVED_TIME, TIMESTAMP
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.brought_back import brought_back
from serving.compaction import COMPACTION_LOCK
from serving.event import Merge
from serving.event_buffer import SqliteEventBuffer
from serving.fillings import Filling, Fillings, Footing, were_begun
from serving.kafka_offsets import next_offsets
from serving.losses import TopicRecord, concerned
from serving.origins import origins_in
from serving.state_store import StateStore
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

REMEMBER_MS = 60 * 60 * 1000
"""How long a partition's reader knows the id of an event that is in the log already, in milliseconds; the log
itself takes an id once, however old."""
_LOG_SECONDS = 10.0
_RENEW_SECONDS = 1.0
_READINGS = 5
_PEOPLE_AT_ONCE = 500


@dataclass(frozen=True)
class Past:
    """What the log says that a partition's reader has to know."""

    merges: tuple[Merge, ...]
    """Who each visitor turned out to be."""
    ids: tuple[tuple[str, int], ...]
    """Ids of its latest events, each with the time it was received, milliseconds since the epoch."""
    erased_ms: Callable[[str], int] = lambda _: -1
    """Who was erased by then, see ``Tombstones.erased_ms``; that is left out."""
    starts: Mapping[int, int] = field(default_factory=dict)
    """Of each partition of which it has something, the first offset that it lacks."""


class BusyLogError(IntakeError):
    """Somebody has the lock of the log, and keeps it."""


class StatesOfLog(Protocol):
    """The states of a log; ``serving.loading.LoggedStates``."""

    def __iter__(self) -> Iterator[tuple[str, UserState]]:
        """All of them."""
        ...

    def of(self, user_ids: Sequence[str]) -> Iterable[tuple[str, UserState]]:
        """Those of some users."""
        ...


class ReadsTopic(Protocol):
    """Reads a topic; ``serving.topic_reading.TopicReading``. Methods raise ``IntakeError``."""

    def spans(self) -> Mapping[int, tuple[int, int]]:
        """Of each partition, its first offset and the one behind its last."""
        ...

    def since(self, starts: Mapping[int, int]) -> Iterable[TopicRecord]:
        """The records of partitions from offsets on."""
        ...


class Notes(Protocol):
    """A partition's reader; ``serving.kafka_partition.KafkaPartition``."""

    async def note(self, footing: Footing, is_server: Callable[[str], bool]) -> None:
        """Write down how far the states have come."""
        ...


def have_consumers(workspace: Workspace) -> bool:
    """Whether consumers keep the log and the states of a workspace, or once did."""
    return were_begun(workspace.state)


class KafkaStates:
    """The states of one log, in a store that several consumers write to."""

    def __init__(
        self,
        workspace: Workspace,
        store: StateStore,
        topic: str,
        states: Callable[[], StatesOfLog],
        reading: ReadsTopic,
    ) -> None:
        """Look after the states.

        Args:
            workspace: Whose log it is.
            store: The store, for a source that no partition stands for.
            topic: The topic that comes after the log.
            states: The states of the log, read anew at each call.
            reading: Reads the topic once more, to find who is concerned by a failover.
        """
        self._root, self._state = workspace.root, workspace.state
        self._store, self._states = store, states
        self._reading = reading
        self._event_log = EventLog(workspace.events)
        self._tombstones, self._topic = Tombstones(workspace.root), topic
        self._fillings = Fillings(workspace.state)

    @property
    def filling(self) -> int:
        """Number of the filling that the store has; 0 while one is under way, and before the first."""
        return self._fillings.complete

    async def ensure(self) -> None:
        """Fill the store, unless it has all that was written to it since, or somebody else is at it.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        if self._fillings.doubt:
            with within(self._state / COMPACTION_LOCK, 0.0, is_shared=True) as is_at_rest:
                if is_at_rest:
                    await asyncio.to_thread(self._clear_up)
        if (word := word_of_erasures(self._root)).exists():
            self._fillings.renounce()  # the next filling is of the whole log, which has nothing of the erased
            word.unlink(missing_ok=True)
        if await self._is_filled():
            return
        before = None if self._fillings.doubt else self._fillings.footing()
        if before is not None and not await self._store.is_loaded(self._marker(before.number)):
            before = None
        if (filling := self._fillings.begin()) is None:
            return
        renewing = asyncio.create_task(_renew(filling))
        try:
            await self._fill(filling, before)
        finally:
            filling.give_up()  # which does nothing to a complete one
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[int]:
        """Nobody else changes the log meanwhile; yields the number of the filling, 0 where it is void.

        Raises:
            BusyLogError: Somebody has the lock of the log, and keeps it.
        """
        with ExitStack() as held:
            lock = within(self._state / COMPACTION_LOCK, _RENEW_SECONDS)
            if not await asyncio.to_thread(held.enter_context, lock):
                raise BusyLogError(
                    "another process has the lock of the log: it moves events, fills the states or loads a "
                    "model; if it is stopped in its tracks, end it"
                )
            await asyncio.to_thread(self._clear_up)
            yield self.filling if await self._is_filled() else 0

    def past(self) -> Past:
        """What the log says that a partition's reader has to know.

        Raises:
            IntakeError: The log keeps changing.
        """
        with within(self._state / COMPACTION_LOCK, _LOG_SECONDS, is_shared=True):
            for _ in range(_READINGS):
                log = self._describe_log()
                past = self._past()
                if log == self._describe_log():
                    return past
        raise IntakeError("the log keeps changing while it is read")

    def _past(self) -> Past:
        erased_ms = self._tombstones.as_of_now()  # first: who is erased meanwhile is found again
        since_ms = (self._event_log.end_ms() or 0) - REMEMBER_MS
        recent = (
            self._event_log.scan()
            .filter(pl.col(RECEIVED_TIME) >= pl.lit(since_ms).cast(TIMESTAMP))
            .select(EVENT_ID, pl.col(RECEIVED_TIME).dt.epoch("ms"))
            .collect()
        )
        starts = next_offsets(self._event_log, self._topic)
        return Past(tuple(self._merges()), tuple(recent.rows()), erased_ms, starts)

    async def note(self, partitions: Iterable[Notes]) -> None:
        """Write down in the store how far it has come in partitions, if it is the one that was filled.

        Raises:
            StoreError: The store did not answer, or is another one.
        """
        footing = self._fillings.footing()
        if footing is None or _word(await self._store.server_id()) != footing.server:
            return
        for partition in partitions:
            await partition.note(footing, lambda server: _word(server) == footing.server)

    async def _is_filled(self) -> bool:
        server = _word(await self._store.server_id())
        footing = self._fillings.footing()
        if footing is None or footing.server != server:
            return False
        return await self._store.is_loaded(self._marker(footing.number))

    async def _fill(self, filling: Filling, before: Footing | None) -> None:
        """Fill the store from the log; whatever happens to either meanwhile makes the filling void.

        Args:
            filling: Begun.
            before: The filling before, if the store has at least that.
        """
        if before is not None and before.number != filling.number - 1:
            before = None  # another filling began, and may have cleared the states, since it was looked at
        self._store.writes.footing = filling.footing
        server = _word(await self._store.server_id())
        num_erasures, erased_ms = len(self._tombstones), self._tombstones.as_of_now()
        noted = None if before is None else await self._noted(before.number)
        with ExitStack() as held:
            lock = within(self._state / COMPACTION_LOCK, _LOG_SECONDS, is_shared=True)
            is_at_rest = await asyncio.to_thread(held.enter_context, lock)
            log = await asyncio.to_thread(self._describe_log)
            marker = self._marker(filling.number)
            if before is not None and noted is not None:
                base, num_users = before.base, await self._mend(noted)
                await self._store.mark(marker)
            else:
                links = await asyncio.to_thread(self._links)
                base, num_users = filling.number, await self._store.load(self._states(), marker, links)
                await self._store.learn_origins(await asyncio.to_thread(origins_in, self._event_log))
            await self._forget_erased(num_erasures, erased_ms)
            if server != _word(await self._store.server_id()):
                raise IntakeError("another store answers than the one that the filling began with")
            if log != await asyncio.to_thread(self._describe_log):
                raise IntakeError("the log changed while the states were filled from it")
            filling.finish(base, server, doubt="" if is_at_rest else log)
        _log.info("user states loaded" if noted is None else "user states mended", num_users=num_users)

    async def _noted(self, number: int) -> dict[int, int] | None:
        """By partition, the first offset that the store may lack; ``None`` when it does not say."""
        noted: dict[int, int] = {}
        try:
            for partition, (low, _) in (await asyncio.to_thread(self._reading.spans)).items():
                note = await self._store.offsets(f"{self._topic}/{partition}").read(number)
                if note is None or note < low:
                    return None
                noted[partition] = note
        except IntakeError as error:
            _log.warning("all states are made anew", reason=str(error))
            return None
        return noted or None

    async def _mend(self, noted: dict[int, int]) -> int:
        """Write the log's states of those whose latest events may be lost; how many they are."""
        logged = await asyncio.to_thread(next_offsets, self._event_log, self._topic)
        starts = {partition: min(offset, logged.get(partition, 0)) for partition, offset in noted.items()}
        lying = await asyncio.to_thread(lambda: list(self._reading.since(starts)))
        erased = await brought_back(self._store, self._tombstones)
        people = sorted(await asyncio.to_thread(lambda: concerned(lying, noted, self._merges())) | erased)
        links = dict(await asyncio.to_thread(self._links))
        states = dict(await asyncio.to_thread(lambda: list(self._states().of(people))))
        found = [(person, links.get(person) or _known(states.get(person))) for person in people]
        for start in range(0, len(found), _PEOPLE_AT_ONCE):
            await self._store.rewrite(found[start : start + _PEOPLE_AT_ONCE])
        return len(people)

    async def _forget_erased(self, num_erasures: int, erased_ms: Callable[[str], int]) -> None:
        """Let the store forget who was erased while it was filled; the rest is what was known before."""
        while len(self._tombstones) != num_erasures:
            num_erasures, now_ms = len(self._tombstones), self._tombstones.as_of_now()
            newly = partial(_is_later, now_ms, erased_ms)
            await self._store.forget_origins(newly)
            async for person in self._store.people():
                if newly(person):
                    await self._store.erase_state(person, now_ms(person))

    def _clear_up(self) -> None:
        """See whether a filling that was made without the lock is of this log; under the lock."""
        if not (doubt := self._fillings.doubt):
            return
        if doubt == self._describe_log():
            self._fillings.remove_doubt()
        else:
            self._fillings.renounce()

    def _describe_log(self) -> str:
        names = sorted(self._event_log.names())
        return hashlib.sha256("\n".join(names).encode()).hexdigest()

    def _marker(self, filling: int) -> str:
        return f"kafka {self._topic} {filling}"

    def _merges(self) -> Iterable[Merge]:
        merges = self._event_log.merges().with_columns(pl.col(MERGE_TIME).dt.epoch("ms"))
        return (Merge(**row) for row in merges.iter_rows(named=True))

    def _links(self) -> list[tuple[str, VisitorLink]]:
        with closing(SqliteEventBuffer(self._state / "links", in_memory=True)) as buffer:
            buffer.learn(list(self._merges()))
            return buffer.links()


def _word(server_id: str) -> str:
    return hashlib.sha256(server_id.encode()).hexdigest()[:16]


def _is_later(now_ms: Callable[[str], int], before_ms: Callable[[str], int], person: str) -> bool:
    return now_ms(person) > before_ms(person)


def _known(state: UserState | None) -> UserState | None:
    return state if state is not None and state.num_rows else None


async def _renew(filling: Filling) -> None:
    while True:
        filling.renew()
        await asyncio.sleep(_RENEW_SECONDS)
