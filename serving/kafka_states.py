"""Fills the online store from the log when it lacks what the log has; one of all consumers does it.

Each consumer applies again what it has not moved into the log yet, once it sees that the store lost it (see
``serving.kafka_partition``). While the store is filled nobody moves anything, so together they miss nothing.
"""

import asyncio
from collections.abc import Callable, Iterable
from contextlib import ExitStack, closing

import polars as pl
import structlog

from recsys.event_log import EventLog
from recsys.file_lock import exclusive, shared
from recsys.schema import EVENT_ID, MERGE_TIME, RECEIVED_TIME, TIMESTAMP
from recsys.user_state import UserState
from recsys.workspace import Workspace
from serving.compaction import COMPACTION_LOCK
from serving.event import Merge
from serving.event_buffer import SqliteEventBuffer
from serving.kafka_partition import REMEMBER_MS, Past
from serving.origins import origins_in
from serving.state_store import StateStore
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

STATES_LOCK = "states.lock"
"""Name of the file in ``Workspace.state`` that whoever fills the store holds."""


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
        self._workspace, self._store, self._states = workspace, store, states
        self._event_log = EventLog(workspace.events)
        self._marker = f"kafka {topic}"

    async def ensure(self) -> None:
        """Fill the store, unless it has the log's states.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        if await self._store.is_loaded(self._marker):
            return
        state = self._workspace.state
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, exclusive(state / STATES_LOCK))
            if await self._store.is_loaded(self._marker):
                return
            await asyncio.to_thread(held.enter_context, shared(state / COMPACTION_LOCK))
            links = await asyncio.to_thread(self._links)
            num_users = await self._store.load(self._states(), self._marker, links)
            await self._store.learn_origins(await asyncio.to_thread(origins_in, self._event_log))
            _log.info("user states loaded", num_users=num_users)

    def past(self) -> Past:
        """What the log says that a partition's reader has to know; under the lock of the log."""
        since_ms = (self._event_log.end_ms() or 0) - REMEMBER_MS
        recent = (
            self._event_log.scan()
            .filter(pl.col(RECEIVED_TIME) >= pl.lit(since_ms).cast(TIMESTAMP))
            .select(EVENT_ID, pl.col(RECEIVED_TIME).dt.epoch("ms"))
            .collect()
        )
        return Past(tuple(self._merges()), tuple(recent.rows()))

    def _merges(self) -> Iterable[Merge]:
        merges = self._event_log.merges().with_columns(pl.col(MERGE_TIME).dt.epoch("ms"))
        return (Merge(**row) for row in merges.iter_rows(named=True))

    def _links(self) -> list[tuple[str, VisitorLink]]:
        with closing(SqliteEventBuffer(self._workspace.state / "links", in_memory=True)) as buffer:
            buffer.learn(list(self._merges()))
            return buffer.links()
