"""Keeps the event log, the buffer and the store in step.

The store is loaded from the log, and the buffer is emptied into the log. A marker in the store names the log
that its states came from, so that a start on a store that outlived the server loads nothing that is there.
"""

import asyncio
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import ExitStack
from datetime import timedelta
from functools import partial
from pathlib import Path

import polars as pl
import structlog

from recsys.errors import RecsysError
from recsys.event_log import EventLog
from recsys.file_lock import exclusive, shared
from recsys.remote.people import word_of_erasures
from recsys.schema import MERGE_TIME
from recsys.tombstones import Tombstones
from recsys.user_state import UserState
from serving.brought_back import brought_back
from serving.compaction import compact
from serving.event import BufferedEvent, Merge
from serving.event_buffer import SqliteEventBuffer
from serving.origins import origins_in
from serving.state_store import StateStore
from serving.state_updater import StateUpdater
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)

_PEOPLE_AT_ONCE = 500
_RECORDS_AT_ONCE = 1000


class LogSync:
    """What passes between one log, one buffer and one store."""

    def __init__(
        self,
        event_log: EventLog,
        buffer: SqliteEventBuffer,
        store: StateStore,
        updater: StateUpdater,
        lock: Path,
        *,
        prune: Callable[[], int] = lambda: 0,
    ) -> None:
        """Keep three things in step; of several worker processes only one does.

        Args:
            event_log: The log.
            buffer: What is not in the log yet.
            store: The user states.
            updater: Carries the buffer into the store.
            lock: File that whoever reads log and buffer together holds shared, see ``serving.compaction``.
            prune: Removes from the log, under the lock, what nobody may keep any longer; how many events.
        """
        self._event_log, self._tombstones = event_log, Tombstones(event_log.path.parent)
        self._buffer = buffer
        self._store = store
        self._updater = updater
        self._lock = lock
        self._prune = prune
        self._marker = ""
        self._word = word_of_erasures(event_log.path.parent)

    async def load(self, states: Iterable[tuple[str, UserState]]) -> None:
        """Fill the store with the log's states, unless it has them, and then apply the buffer.

        Args:
            states: User ids and their states, of the whole log; read only when they are needed.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        self._marker = await asyncio.to_thread(self._describe)
        links = await asyncio.to_thread(self._links)
        if not await self._store.is_loaded(self._marker):
            await self._load(states, links)
        await self._updater.catch_up()

    async def is_loaded(self) -> bool:
        """Whether the store has the log's states.

        Raises:
            StoreError: The store did not answer.
        """
        return await self._store.is_loaded(self._marker)

    async def reload(self, states: Callable[[], Iterable[tuple[str, UserState]]]) -> None:
        """Fill a store that has lost the log's states while the server runs.

        Args:
            states: User ids and their states, of the whole log.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, shared(self._lock))
            self._marker = await asyncio.to_thread(self._describe)
            links = await asyncio.to_thread(self._links)
            async with self._updater.turn:
                await self._load(states(), links)

    async def rewrite(
        self, states: Callable[[Sequence[str]], Iterable[tuple[str, UserState]]], user_ids: Sequence[str]
    ) -> None:
        """Make the states of some users anew.

        Args:
            states: Makes the log's states of users.
            user_ids: Whose states.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
        """
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, shared(self._lock))
            async with self._updater.turn:
                await self._rewrite(states, user_ids)
                self._updater.forget_applied()

    async def rewrite_since(
        self, states: Callable[[Sequence[str]], Iterable[tuple[str, UserState]]], sequence: int
    ) -> int:
        """Make the states anew of everybody of whom the buffer holds something above a place.

        Those of people who were erased go with them, which the store may have lost too. Applying it again
        would not do: a state that lost an event and was given a later one since then takes the lost one for
        applied.

        Args:
            states: Makes the log's states of users.
            sequence: The place; the store has what is up to it.

        Returns:
            How many users they were.

        Raises:
            StoreError: The store did not answer.
            DataError: The log is damaged.
            IntakeError: The buffer failed.
        """
        return await self._make_anew(states, partial(self._people_since, sequence))

    async def forget_erased(self, states: Callable[[Sequence[str]], Iterable[tuple[str, UserState]]]) -> bool:
        """Make the store forget whom a pull said to be erased; whether there was word of any.

        Args:
            states: Makes the log's states of users.

        Raises:
            StoreError: The store did not answer; it is tried again with the next call.
            DataError: The log is damaged.
        """
        taken = self._word.with_suffix(".taken")
        if self._word.exists():
            self._word.replace(taken)  # another one may come meanwhile
        if not taken.exists():
            return False
        await self._make_anew(states, list)
        taken.unlink()
        return True

    async def _make_anew(
        self,
        states: Callable[[Sequence[str]], Iterable[tuple[str, UserState]]],
        people_concerned: Callable[[], list[str]],
    ) -> int:
        """Make the states anew of whoever is concerned, and of the erased; how many they are."""
        with ExitStack() as held:
            await asyncio.to_thread(held.enter_context, shared(self._lock))
            async with self._updater.turn:
                erased = await brought_back(self._store, self._tombstones)
                people = sorted({*await asyncio.to_thread(people_concerned), *erased})
                for start in range(0, len(people), _PEOPLE_AT_ONCE):
                    await self._rewrite(states, people[start : start + _PEOPLE_AT_ONCE], erased)
                await self._updater.apply_again(await asyncio.to_thread(self._records_of, people))
        return len(people)

    async def _rewrite(
        self,
        states: Callable[[Sequence[str]], Iterable[tuple[str, UserState]]],
        user_ids: Sequence[str],
        erased: Collection[str] = (),
    ) -> None:
        read = await asyncio.to_thread(lambda: list(states(user_ids)))
        found = {user_id: state for user_id, state in read if state.num_rows or user_id not in erased}
        await self._store.rewrite([(user_id, found.get(user_id)) for user_id in user_ids])

    def _people_since(self, sequence: int) -> list[str]:
        """Who did something above a place, with those whom the buffer's logins join with them."""
        people = set[str]()
        while records := self._buffer.since(sequence, _RECORDS_AT_ONCE):
            people |= _involved(records)
            sequence = records[-1].sequence
        while not (joined := _involved(self._records_of(sorted(people)), only_merges=True)) <= people:
            people |= joined
        return sorted(people - {visitor for visitor, _ in self._buffer.links()})  # their links are old enough

    def _records_of(self, people: Sequence[str]) -> list[BufferedEvent]:
        """What the buffer holds of people, in its order."""
        found = dict[int, BufferedEvent]()
        for start in range(0, len(people), _PEOPLE_AT_ONCE):
            chunk = people[start : start + _PEOPLE_AT_ONCE]
            found |= {record.sequence: record for record in self._buffer.of(chunk)}
        return [found[sequence] for sequence in sorted(found)]

    async def _load(
        self, states: Iterable[tuple[str, UserState]], links: Sequence[tuple[str, VisitorLink]]
    ) -> None:
        num_users = await self._store.load(states, self._marker, links)
        await self._store.learn_origins(await asyncio.to_thread(origins_in, self._event_log))
        self._updater.forget_applied()
        _log.info("user states loaded", num_users=num_users)

    async def compact(self) -> None:
        """Move the events that the store has into the log; a failure is logged and tried again next time."""
        try:
            before = await asyncio.to_thread(self._describe)
            num_events, num_pruned = await asyncio.to_thread(self._move)
            ours = before == self._marker and await self._store.is_loaded(before)
            if (num_events or num_pruned) and ours:  # else somebody changed the log, or emptied the store
                self._marker = await asyncio.to_thread(self._describe)
                await self._store.mark(self._marker)
        except (RecsysError, OSError) as error:
            _log.warning("events stay in the buffer", reason=str(error))
        else:
            _log.info("events moved into the log", num_events=num_events, num_pruned=num_pruned)

    async def run(self, every: timedelta) -> None:
        """Compact again and again until cancelled."""
        while True:
            await asyncio.sleep(every.total_seconds())
            await self.compact()

    def _links(self) -> list[tuple[str, VisitorLink]]:
        merges = self._event_log.merges().with_columns(pl.col(MERGE_TIME).dt.epoch("ms"))
        self._buffer.learn([Merge(**row) for row in merges.iter_rows(named=True)])
        return self._buffer.links()

    def _move(self) -> tuple[int, int]:
        with exclusive(self._lock):  # first: whoever held it may have taken a place in the buffer meanwhile
            num_events = compact(self._buffer, self._event_log, through=self._updater.settled)
            return num_events, self._prune()

    def _describe(self) -> str:
        num_events = self._event_log.scan().select(pl.len()).collect().item()
        return f"{self._buffer.buffer_id} {num_events} {self._event_log.end_ms()}"


def _involved(records: Iterable[BufferedEvent], *, only_merges: bool = False) -> set[str]:
    """Whose states some records change."""
    people = set[str]()
    for record in records:
        if (merge := record.merge) is not None:
            people |= {merge.user_id, merge.visitor}
        elif not only_merges:
            people.add(record.owner)
    return people
