"""Changes of what is held of one user, each in a transaction: what others write meanwhile is not lost.

A change is repeated until it was made from what stands there, and it knows of each source of events how far
the state has come: to make it twice counts nothing twice.
"""

from collections.abc import Awaitable, Sequence
from functools import partial
from typing import cast

from redis.asyncio.client import Pipeline

from recsys.config import StateConfig
from recsys.user_state import UserState
from serving.cluster_client import StoreClient, transaction
from serving.event import BufferedEvent
from serving.fenced_writes import FencedWrites, answered, retried
from serving.state_keys import StateKeys
from serving.state_records import StateRecords, link_in
from serving.visitor_link import VisitorLink


class StateChanges:
    """Changes states of one tenant.

    All that await the store raise a ``StoreError`` where it does not answer, or other writers keep winning.
    """

    def __init__(
        self,
        client: StoreClient,
        keys: StateKeys,
        config: StateConfig,
        records: StateRecords,
        writes: FencedWrites,
        *,
        source: str,
    ) -> None:
        """Put the parts of a ``StateStore`` together; ``source`` is the store's."""
        self._client, self._keys, self._config = client, keys, config
        self._records, self._writes, self._source = records, writes, source

    async def apply(self, user_id: str, events: Sequence[BufferedEvent]) -> None:
        """Bring a state up to date with one user's events, ascending by sequence number."""
        await retried(partial(self._try_apply, user_id, events))

    async def add(self, user_id: str, other: UserState, sequence: int) -> None:
        """Add a visitor's state to a user's, once: ``sequence`` is the merge's."""
        await retried(partial(self._try_add, user_id, other, sequence))

    async def link(self, visitor: str, link: VisitorLink) -> None:
        """Leave a link in the place of a visitor's state."""
        await retried(partial(self._try_link, self._keys.state(visitor), link))

    async def erase(self, user_id: str, through_ms: int) -> None:
        """Forget a state unless nothing in it is so old; ``through_ms`` are milliseconds since the epoch."""
        await retried(partial(self._try_erase, user_id, through_ms))

    async def remove(self, key: str) -> None:
        """Remove a key so that whoever has read it, even that it is not there, cannot write it any more."""
        await answered(self._remove(key))

    def counted(self, raw: bytes | str | None) -> UserState | None:
        """A state, unless it was built on a filling that does not count any more."""
        state, footing = self._records.state(raw), self._writes.footing
        return None if state is not None and footing and state.applied_sequence < footing.base else state

    def counted_link(self, raw: bytes | str | None) -> VisitorLink | None:
        """The same of a link."""
        link, footing = link_in(raw), self._writes.footing
        return None if link is not None and footing and link.filling < footing.base else link

    async def _try_apply(self, user_id: str, events: Sequence[BufferedEvent]) -> None:
        async with transaction(self._client, self._keys.state(user_id)) as pipe:
            raw = await self._watched(pipe, user_id)
            if self.counted_link(raw) is not None:  # the merge, above these events, was applied already
                return
            state = self.counted(raw) or UserState(self._config.half_lives_days)
            applied = await self._applied(pipe, user_id, state)
            news = [buffered for buffered in events if buffered.sequence > applied]
            if not news:
                return
            for buffered in news:
                event = buffered.event
                state.apply(
                    event.item_id,
                    event.type_code,
                    event.effective_ms,
                    is_purchase=event.event_type == "purchase",
                    max_rows=self._config.max_rows_per_user,
                )
            await self._put(pipe, user_id, state, news[-1].sequence)

    async def _try_add(self, user_id: str, other: UserState, sequence: int) -> None:
        async with transaction(self._client, self._keys.state(user_id)) as pipe:
            state = self.counted(await self._watched(pipe, user_id))
            state = state or UserState(self._config.half_lives_days)
            if await self._applied(pipe, user_id, state) >= sequence:
                return
            merged = state.merged_with(other).capped(self._config.max_rows_per_user)
            merged.applied_sequence = state.applied_sequence
            await self._put(pipe, user_id, merged, sequence)

    async def _try_link(self, key: str, link: VisitorLink) -> None:
        async with transaction(self._client, key) as pipe:
            await pipe.watch(key)
            known = self.counted_link(await pipe.get(key))
            if known is not None and known.sequence >= link.sequence:
                return
            self._writes.begin(pipe)
            pipe.set(key, link.to_bytes(), ex=self._writes.ttl_seconds)
            await pipe.execute()

    async def _try_erase(self, user_id: str, through_ms: int) -> None:
        key = self._keys.state(user_id)
        async with transaction(self._client, key) as pipe:
            await pipe.watch(key)
            raw = await pipe.get(key)
            state = None if link_in(raw) is not None else self._records.state(raw)
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.set(key, raw or b"", keepttl=True)  # whoever has read it cannot write it any more
            if state is None or not state.num_rows or state.first_ms.min() <= through_ms:
                pipe.unlink(key, self._keys.marks(user_id))  # a state that was lost leaves marks behind
            await pipe.execute()

    async def _remove(self, key: str) -> None:
        async with transaction(self._client, key) as pipe:
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.set(key, b"")
            pipe.unlink(key)
            await pipe.execute()

    async def _watched(self, pipe: Pipeline, user_id: str) -> bytes | str | None:
        """What stands under a user's key, for the pipe to write it only while nobody else does."""
        keys = [self._keys.state(user_id), *([self._keys.marks(user_id)] if self._source else [])]
        await pipe.watch(*keys)
        found: bytes | str | None = await pipe.get(keys[0])
        return found

    async def _applied(self, pipe: Pipeline, user_id: str, state: UserState) -> int:
        """Sequence number up to which a state has the events of this source."""
        if not self._source:
            return state.applied_sequence
        if self._writes.footing is not None and not state.applied_sequence:
            return 0  # the state is nobody's yet, whatever the marks say
        mark = pipe.hget(self._keys.marks(user_id), self._source)
        return int(await cast("Awaitable[bytes | None]", mark) or 0)

    async def _put(self, pipe: Pipeline, user_id: str, state: UserState, sequence: int) -> None:
        """Write a state and how far it has come, or nothing when another was faster."""
        self._writes.begin(pipe)
        marks, footing = self._keys.marks(user_id), self._writes.footing
        if footing is not None:
            if not state.applied_sequence:
                pipe.unlink(marks)
            state.applied_sequence = footing.number
        if self._source:
            pipe.hset(marks, self._source, sequence)
            pipe.expire(marks, self._writes.ttl_seconds)
        else:
            state.applied_sequence = sequence
        pipe.set(self._keys.state(user_id), state.to_bytes(), ex=self._writes.ttl_seconds)
        await pipe.execute()
