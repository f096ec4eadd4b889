"""Carries durable events, in their order, into the user states and the pipeline's item aggregates.

Start-up and running are one loop: read what lies above the last sequence number that was applied, apply it,
wait for more. Nothing above an event is applied before the event itself, so a store that was away misses
nothing, and the sequence number kept in each state makes repetition harmless.
"""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import timedelta
from itertools import islice

import structlog

from recsys.errors import IntakeError, StoreError
from serving.event import BufferedEvent
from serving.event_buffer import EventBuffer
from serving.state_store import StateStore
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

_BATCH = 1000  # events read at once
_USERS_AT_ONCE = 8
_RETRY = timedelta(milliseconds=500)
_POLL = timedelta(seconds=1)  # finds what a caller that gave up, or another process, appended

RecordEvent = Callable[[str, int, int], None]
"""Takes item id, event type code and effective time in milliseconds; ``RankingPipeline.record``."""


class StateUpdater:
    """One task that follows the buffer."""

    def __init__(self, buffer: EventBuffer, store: StateStore, record: RecordEvent) -> None:
        self._buffer = buffer
        self._store = store
        self._record = record
        self._recorded = 0
        self._progress = asyncio.Condition()
        self._wake = asyncio.Event()
        self.applied = 0
        """Highest sequence number whose event, with all below it, is in the store."""
        self.is_behind = False
        """Whether the last attempt failed; it is repeated until it succeeds."""

    async def catch_up(self) -> None:
        """Apply everything that is in the buffer now, or as much as the store allows."""
        while await self._step():
            pass

    async def run(self) -> None:
        """Follow the buffer until cancelled."""
        while True:
            self._wake.clear()
            if not await self._step():
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

    async def _step(self) -> bool:
        """Apply the next events; whether there may be more at once."""
        try:
            events = await asyncio.to_thread(self._buffer.since, self.applied, _BATCH)
            self._record_new(events)
            await self._apply(events)
        except (StoreError, IntakeError) as error:
            if not self.is_behind:
                _log.warning("user states fall behind", reason=str(error))
            await self._report(self.applied, is_behind=True)
            return False
        await self._report(events[-1].sequence if events else self.applied, is_behind=False)
        return bool(events)

    def _record_new(self, records: Sequence[BufferedEvent]) -> None:
        for buffered in records:
            if buffered.sequence > self._recorded and buffered.merge is None:
                event = buffered.event
                self._record(event.item_id, event.type_code, event.effective_ms)
                self._recorded = buffered.sequence

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
            await asyncio.gather(*(self._store.apply(user_id, own) for user_id, own in group))

    async def _report(self, applied: int, *, is_behind: bool) -> None:
        if self.is_behind and not is_behind:
            _log.info("user states caught up", sequence=applied)
        async with self._progress:
            self.applied, self.is_behind = applied, is_behind
            self._progress.notify_all()
