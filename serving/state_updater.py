"""Carries durable events, in their order, into the user states and the models' item aggregates.

Start-up and running are one loop: read what lies above the last sequence number that was applied, apply it,
wait for more. Nothing above an event is applied before the event itself, so a store that was away misses
nothing, and the sequence number kept in each state makes repetition harmless. Of several worker processes
each counts every event for its own models; the store they share, so what one has applied the others skip.
"""

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice
from typing import Protocol

import structlog

from recsys.errors import IntakeError, StoreError
from recsys.fault_point import reach
from serving.event import BufferedEvent
from serving.event_buffer import SqliteEventBuffer
from serving.fenced_writes import all_of
from serving.progress_board import ProgressBoard
from serving.state_store import StateStore
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

_BATCH = 1000  # events read at once
_USERS_AT_ONCE = 8
_RETRY = timedelta(milliseconds=500)
_POLL = timedelta(seconds=1)  # finds what a caller that gave up, or another process, appended


class EventCounter(Protocol):
    """Keeps item aggregates; ``serving.models.Models``."""

    @property
    def counted(self) -> int:
        """Sequence number of the last event that is counted; all below it are."""
        ...

    def count(self, events: Sequence[BufferedEvent]) -> None:
        """Count those of some events, ascending by sequence number, that are not counted yet."""
        ...


class StateUpdater:
    """One task that follows the buffer."""

    def __init__(
        self,
        buffer: SqliteEventBuffer,
        store: StateStore,
        counter: EventCounter,
        board: ProgressBoard | None = None,
        worker: int = 0,
    ) -> None:
        """Follow a buffer.

        Args:
            buffer: The durable events.
            store: The user states.
            counter: The item aggregates.
            board: Where the workers tell each other how far they are; absent for one that is alone.
            worker: This one's row on the board.
        """
        self._buffer = buffer
        self._store = store
        self._counter = counter
        self._board = ProgressBoard() if board is None else board
        self.worker = worker
        """Number of this process among those that share a port."""
        self._num_loads = self._board.num_loads
        self.turn = asyncio.Lock()
        """Held while events are applied, and by whoever loads the store anew."""
        self._progress = asyncio.Condition()
        self._wake = asyncio.Event()
        self.applied = 0
        """Highest sequence number whose event, with all below it, is in the store."""
        self.is_behind = False
        """Whether the last attempt failed; it is repeated until it succeeds."""
        self._publish()

    @property
    def settled(self) -> int:
        """Sequence number up to which nobody needs the buffer any more: no worker, and not the store."""
        return self._board.settled

    @property
    def reached(self) -> int:
        """Sequence number up to which the store is up to date."""
        return self._board.applied

    def forget_applied(self) -> None:
        """Apply the whole buffer, for the store was loaded anew."""
        self._board.forget_applied()
        self._num_loads, self.applied = self._board.num_loads, 0
        self._wake.set()

    def wake(self) -> None:
        """Look at the buffer at once; called when something was appended."""
        self._wake.set()

    async def apply_again(self, records: Sequence[BufferedEvent]) -> None:
        """Apply what was applied before to states that were made anew; the caller has the ``turn``.

        Args:
            records: All that the buffer holds of some people, in its order.

        Raises:
            StoreError: The store did not answer.
        """
        await self._apply(records)

    def leave(self) -> None:
        """Hold nobody up any more; called when this worker has stopped counting."""
        self._board.clear(self.worker)

    async def catch_up(self) -> None:
        """Apply everything that is in the buffer now, or as much as the store allows."""
        while await self.step():
            pass

    async def step(self) -> bool:
        """Apply the next events; whether there may be more at once."""
        async with self.turn:
            return await self._step_alone()

    async def run(self) -> None:
        """Follow the buffer until cancelled."""
        while True:
            self._wake.clear()
            if not await self.step():
                await self._wait()

    async def wait_applied(self, sequence: int, timeout_seconds: float) -> None:
        """Wait until an event is visible in answers; not while the store is away, nor beyond the timeout."""
        self._wake.set()
        try:
            async with asyncio.timeout(timeout_seconds), self._progress:
                await self._progress.wait_for(lambda: self.applied >= sequence or self.is_behind)
        except TimeoutError:
            _log.info("events are durable but not yet visible", sequence=sequence)

    async def _wait(self) -> None:
        """Sleep until there is news, or while behind until the next attempt."""
        if self.is_behind:
            await asyncio.sleep(_RETRY.total_seconds())
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(_POLL.total_seconds()):
                await self._wake.wait()

    async def _step_alone(self) -> bool:
        self._notice_load()
        applied = max(self.applied, self._board.applied)
        try:
            start = min(applied, self._counter.counted)
            events = await asyncio.to_thread(self._buffer.since, start, _BATCH)
            self._counter.count(events)
            await self._apply([event for event in events if event.sequence > applied])
        except (StoreError, IntakeError) as error:
            if not self.is_behind:
                _log.warning("user states fall behind", reason=str(error))
            await self._report(self.applied, is_behind=True)
            return False
        reach("state-applied")
        last = events[-1].sequence if events else 0
        if self._notice_load():
            return True
        await self._report(max(applied, last), is_behind=False)
        return bool(events)

    def _notice_load(self) -> bool:
        """Begin again where another worker has loaded the store meanwhile; whether it has."""
        if self._num_loads == self._board.num_loads:
            return False
        self._num_loads, self.applied = self._board.num_loads, 0
        return True

    async def _apply(self, records: Sequence[BufferedEvent]) -> None:
        """Apply everything up to a merge before the merge, and nothing that follows it."""
        events: list[BufferedEvent] = []
        for buffered in records:
            if (merge := buffered.merge) is None:
                events.append(buffered)
                continue
            await self._apply_events(events)
            events = []
            await self._store.merge(merge.visitor, VisitorLink(merge.user_id, buffered.sequence))
        await self._apply_events(events)

    async def _apply_events(self, events: Sequence[BufferedEvent]) -> None:
        by_user: dict[str, list[BufferedEvent]] = defaultdict(list)
        for buffered in events:
            by_user[buffered.owner].append(buffered)
        users = iter(by_user.items())
        while group := list(islice(users, _USERS_AT_ONCE)):
            await all_of(self._store.apply(user_id, own) for user_id, own in group)

    async def _report(self, applied: int, *, is_behind: bool) -> None:
        if self.is_behind and not is_behind:
            _log.info("user states caught up", sequence=applied)
        async with self._progress:
            self.applied, self.is_behind = applied, is_behind
            self._publish()
            self._progress.notify_all()

    def _publish(self) -> None:
        self._board.report(self.worker, applied=self.applied, counted=self._counter.counted)
