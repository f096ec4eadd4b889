"""The online states of a log that several consumers carry on, and their fillings from it.

A filling writes all states anew from the log, alone, and has a number. It takes place where the store is
empty or not the one that the last filling was written to, as after a failover that may have lost the latest
writes: nobody can tell what is missing from a state that was given later events since then. Each consumer
builds on the number that it finds: another one, and it applies again all that it has and the log has not (see
``serving.kafka_partition``). Nothing moves into the log but what was applied since the filling.
"""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import ExitStack, asynccontextmanager, closing
from dataclasses import dataclass

import polars as pl
import structlog

from recsys.event_log import EventLog
from recsys.file_lock import exclusive, shared
from recsys.schema import EVENT_ID, MERGE_TIME, RECEIVED_TIME, TIMESTAMP
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from recsys.workspace import Workspace, atomic_path
from serving.compaction import COMPACTION_LOCK
from serving.event import Merge
from serving.event_buffer import SqliteEventBuffer
from serving.origins import origins_in
from serving.state_store import StateStore
from serving.states_lock import alone, beside_others
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

REMEMBER_MS = 60 * 60 * 1000
"""How long a partition's reader knows the id of an event that is in the log already, in milliseconds; the log
itself takes an id once, however old."""
_FILLING = "states.filling"


@dataclass(frozen=True)
class Past:
    """What the log says that a partition's reader has to know."""

    merges: tuple[Merge, ...]
    """Who each visitor turned out to be."""
    ids: tuple[tuple[str, int], ...]
    """Ids of its latest events, each with the time it was received, milliseconds since the epoch."""
    erased_ms: Callable[[str], int] = lambda _: -1
    """Who was erased by then, see ``Tombstones.erased_ms``; that is left out."""


def have_consumers(workspace: Workspace) -> bool:
    """Whether consumers keep the log and the states of a workspace, or once did."""
    return (workspace.state / _FILLING).exists()


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

    @property
    def filling(self) -> int:
        """Number of the last filling; 0 before the first."""
        try:
            return int((self._state / _FILLING).read_text(encoding="ascii"))
        except FileNotFoundError:
            return 0

    async def ensure(self) -> None:
        """Fill the store, unless it has all that was written to it since the last filling.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        if await self._is_filled():
            return
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, alone(self._state))
            if not await self._is_filled():  # else another consumer was faster
                await asyncio.to_thread(held.enter_context, shared(self._state / COMPACTION_LOCK))
                await self._fill()

    @asynccontextmanager
    async def steady(self) -> AsyncIterator[int]:
        """Nobody fills the store meanwhile; yields the number of the filling to build on."""
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, beside_others(self._state))
            yield self.filling

    @asynccontextmanager
    async def moving(self) -> AsyncIterator[int]:
        """Nobody else changes the log meanwhile; yields the number of the filling, 0 where it is void."""
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, exclusive(self._state / COMPACTION_LOCK))
            yield self.filling if await self._is_filled() else 0

    def past(self) -> Past:
        """What the log says that a partition's reader has to know; under the lock of the log."""
        erased_ms = self._tombstones.as_of_now()  # first: who is erased meanwhile is found again
        since_ms = (self._event_log.end_ms() or 0) - REMEMBER_MS
        recent = (
            self._event_log.scan()
            .filter(pl.col(RECEIVED_TIME) >= pl.lit(since_ms).cast(TIMESTAMP))
            .select(EVENT_ID, pl.col(RECEIVED_TIME).dt.epoch("ms"))
            .collect()
        )
        return Past(tuple(self._merges()), tuple(recent.rows()), erased_ms)

    async def _is_filled(self) -> bool:
        return await self._store.is_loaded(self._marker(await self._store.server_id(), self.filling))

    async def _fill(self) -> None:
        server_id = await self._store.server_id()  # first: a failover meanwhile makes the filling void
        links = await asyncio.to_thread(self._links)
        filling = self.filling + 1
        with atomic_path(self._state / _FILLING) as partial:
            partial.write_text(str(filling), encoding="ascii")
        num_users = await self._store.load(self._states(), self._marker(server_id, filling), links)
        await self._store.learn_origins(await asyncio.to_thread(origins_in, self._event_log))
        _log.info("user states loaded", num_users=num_users)

    def _marker(self, server_id: str, filling: int) -> str:
        return f"kafka {self._topic} {server_id} {filling}"

    def _merges(self) -> Iterable[Merge]:
        merges = self._event_log.merges().with_columns(pl.col(MERGE_TIME).dt.epoch("ms"))
        return (Merge(**row) for row in merges.iter_rows(named=True))

    def _links(self) -> list[tuple[str, VisitorLink]]:
        with closing(SqliteEventBuffer(self._state / "links", in_memory=True)) as buffer:
            buffer.learn(list(self._merges()))
            return buffer.links()
