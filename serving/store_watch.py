"""Notices that the store has lost what it held, and fills it again from the log and the buffer.

A store that comes back empty, that fails over to a replica which had not everything, or that was away at the
start lacks states that nobody else will write. Each second worker 0 looks at three things: the marker of the
last load, what tells the store's data from another's (``StateStore.server_id``), and how far the states had
come when it last wrote that down. It also tells the store of erasures that a pull brought.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable

import structlog

from recsys.errors import RecsysError
from recsys.user_state import UserState
from serving.event_buffer import SqliteEventBuffer
from serving.loading import LoggedStates
from serving.log_sync import LogSync
from serving.state_store import StateStore
from serving.state_updater import StateUpdater

_log = structlog.get_logger(__name__)
_EVERY_SECONDS = 1.0
_AGAIN_SECONDS = 0.25  # while the store does not answer


class StoreWatch:
    """Looks after one store."""

    def __init__(
        self,
        store: StateStore,
        buffer: SqliteEventBuffer,
        updater: StateUpdater,
        sync: LogSync,
        states: Callable[[], Iterable[tuple[str, UserState]]],
    ) -> None:
        """Watch.

        Args:
            store: The store.
            buffer: The events that are not in the log yet.
            updater: Carries them into the store.
            sync: Loads the log into the store.
            states: All states of the log; those that tell the states of some users mend them too.
        """
        self._store, self._buffer, self._updater, self._sync = store, buffer, updater, sync
        self._states = states
        self._server: str | None = None
        self._notes: deque[int] = deque(maxlen=2)
        self._fails = False

    async def run(self) -> None:
        """Look every second, and sooner while that fails, until cancelled."""
        while True:
            try:
                await self.look()
                self._fails = False
            except (RecsysError, OSError) as error:
                if not self._fails:
                    _log.warning("the store is not looked after now", reason=str(error))
                self._fails = True
            await asyncio.sleep(_AGAIN_SECONDS if self._fails else _EVERY_SECONDS)

    async def look(self) -> None:
        """Look once, and fill what is missing.

        Raises:
            StoreError: The store did not answer.
            DataError: The event log is damaged.
            IntakeError: The buffer failed.
        """
        server = await self._store.server_id()
        is_another = self._server is not None and server != self._server
        if not await self._sync.is_loaded():
            await self._sync.reload(self._states)
        elif is_another:
            await self._fill_gap()
        await self._mend()
        await self._forget_erased()
        self._server = server
        self._notes.append(self._updater.reached)
        await self._store.note_progress(self._notes[-1])

    async def _fill_gap(self) -> None:
        """The store is another one than before: whatever was written last may be missing."""
        first, _ = await asyncio.to_thread(self._buffer.span)
        # The last note may have been written to the new one already; the one before it was not.
        progress, states = min([await self._store.progress(), *self._notes]), self._states()
        if progress < first - 1:
            await self._sync.reload(self._states)
            return
        if isinstance(states, LoggedStates):
            num_users = await self._sync.rewrite_since(states.of, progress)
            _log.warning("another store answers, so the latest states were made anew", num_users=num_users)
            return
        _log.warning("another store answers, so the latest events are applied again")
        async with self._updater.turn:
            self._updater.forget_applied()

    async def _forget_erased(self) -> None:
        """Let the store forget whom a pull said to be erased."""
        states = self._states()
        if isinstance(states, LoggedStates) and await self._sync.forget_erased(states.of):
            _log.info("the store forgot whom a pull said to be erased")

    async def _mend(self) -> None:
        """Write states anew that could not be read."""
        damaged, states = sorted(self._store.records.damaged), self._states()
        if not damaged or not isinstance(states, LoggedStates):
            return
        await self._sync.rewrite(states.of, damaged)
        self._store.records.damaged.difference_update(damaged)
        _log.warning("user states that could not be read were made anew", num_users=len(damaged))
