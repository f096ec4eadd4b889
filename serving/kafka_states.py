"""The online states of a log that several consumers carry on, and their fillings from it.

A filling writes all states anew from the log, and has a number, see ``serving.fillings``. It takes place
where the store is empty or not the one that the last filling was written to, as after a failover that may
have lost the latest writes: nobody can tell what is missing from a state that was given later events since
then. Each consumer builds on the number that it finds: another one, and it applies again all that it has and the log has not (see
``serving.kafka_partition``). Nothing moves into the log but what was applied since the filling.

Who moves events into the log holds its lock. Should that one be stopped in its tracks, the log stands still,
and the states go on: whoever fills waits for the lock ``_LOG_SECONDS``, then reads without it, and notes
which log it read. As soon as the lock is free somebody looks whether the log is still that one, before
anything else moves into it; if not, for the one that was stopped has finished, the filling was in vain.
"""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from contextlib import ExitStack, asynccontextmanager, closing, suppress
from dataclasses import dataclass, field

import polars as pl
import structlog

from recsys.errors import IntakeError
from recsys.event_log import EventLog
from recsys.file_lock import within
from recsys.schema import EVENT_ID, MERGE_TIME, RECEIVED_TIME, TIMESTAMP
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.event import Merge
from serving.event_buffer import SqliteEventBuffer
from serving.fillings import Filling, Fillings, were_begun
from serving.kafka_offsets import next_offsets
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
        states: Callable[[], Iterable[tuple[str, UserState]]],
    ) -> None:
        """Look after the states.

        Args:
            workspace: Whose log it is.
            store: The store, for a source that no partition stands for.
            topic: The topic that comes after the log.
            states: All states of the log, read anew at each call.
        """
        self._state, self._store, self._states = workspace.state, store, states
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
        if await self._is_filled() or (filling := self._fillings.begin()) is None:
            return
        renewing = asyncio.create_task(_renew(filling))
        try:
            await self._fill(filling)
        finally:
            filling.give_up()  # which does nothing to a complete one
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[int]:
        """Nobody else changes the log meanwhile; yields the number of the filling, 0 where it is void.

        Raises:
            IntakeError: Somebody has the lock of the log, and keeps it.
        """
        with ExitStack() as held:
            lock = within(self._state / COMPACTION_LOCK, _RENEW_SECONDS)
            if not await asyncio.to_thread(held.enter_context, lock):
                raise IntakeError("another process has the lock of the log; if it is stopped, end it")
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

    async def _is_filled(self) -> bool:
        server_id = await self._store.server_id()
        return bool(number := self.filling) and await self._store.is_loaded(self._marker(server_id, number))

    async def _fill(self, filling: Filling) -> None:
        """Fill the store from the log; whatever happens to either meanwhile makes the filling void."""
        self._store.footing = filling.footing
        server_id = await self._store.server_id()
        with ExitStack() as held:
            lock = within(self._state / COMPACTION_LOCK, _LOG_SECONDS, is_shared=True)
            is_at_rest = await asyncio.to_thread(held.enter_context, lock)
            log = await asyncio.to_thread(self._describe_log)
            links = await asyncio.to_thread(self._links)
            marker = self._marker(server_id, filling.number)
            num_users = await self._store.load(self._states(), marker, links)
            await self._store.learn_origins(await asyncio.to_thread(origins_in, self._event_log))
            if log != await asyncio.to_thread(self._describe_log):
                raise IntakeError("the log changed while the states were filled from it")
            filling.finish(base=filling.number, doubt="" if is_at_rest else log)
        _log.info("user states loaded", num_users=num_users)

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

    def _marker(self, server_id: str, filling: int) -> str:
        return f"kafka {self._topic} {server_id} {filling}"

    def _merges(self) -> Iterable[Merge]:
        merges = self._event_log.merges().with_columns(pl.col(MERGE_TIME).dt.epoch("ms"))
        return (Merge(**row) for row in merges.iter_rows(named=True))

    def _links(self) -> list[tuple[str, VisitorLink]]:
        with closing(SqliteEventBuffer(self._state / "links", in_memory=True)) as buffer:
            buffer.learn(list(self._merges()))
            return buffer.links()


async def _renew(filling: Filling) -> None:
    while True:
        filling.renew()
        await asyncio.sleep(_RENEW_SECONDS)
