"""What is remembered of every user, in a RESP server that may be lost and rebuilt at any time.

Every key expires ``max_age_days`` and one day after its last change.
"""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import cast

from redis.exceptions import ResponseError

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.user_state import UserState
from serving.cluster_client import StoreClient
from serving.discretion import Discretion
from serving.event import VISITOR_PREFIX, BufferedEvent
from serving.fenced_writes import FencedWrites, answered
from serving.lineage import lineage
from serving.offset_notes import OffsetNotes
from serving.origin_sweep import forget_origins
from serving.shard_notes import ShardNotes
from serving.state_changes import StateChanges
from serving.state_keys import StateKeys, person_of
from serving.state_records import StateRecords, link_in
from serving.visitor_link import VisitorLink

_CHUNK = 500  # states in one pipeline
_LAYOUT = "3"  # of the keys; states under another one are not recognised, and loaded anew


class StateStore:
    """Reads and updates user states. What cannot be read is treated as absent and counted."""

    def __init__(
        self,
        client: StoreClient,
        tenant: str,
        config: StateConfig,
        discretion: Discretion | None = None,
        *,
        source: str = "",
    ) -> None:
        """Open a store.

        Args:
            client: The connection.
            tenant: Whose states they are.
            config: What a state remembers.
            discretion: Of whom nothing is remembered.
            source: Where the events come from, when several sources number theirs each by itself; a state
                then knows of each how far it has come, see ``StateKeys.marks``.
        """
        self._client, self._config, self._discretion, self._source = client, config, discretion, source
        self.keys = StateKeys(tenant)
        """Where what lies."""
        self.writes = FencedWrites(client, math.ceil((config.max_age_days + 1) * 24 * 60 * 60))
        """By what it is written; where several processes write, its ``footing`` stops who was overtaken."""
        self.records = StateRecords(config)
        """By what it is read."""
        self._changes = StateChanges(client, self.keys, config, self.records, self.writes, source=source)
        self._loaded = ShardNotes(client, self.keys.loaded)
        self._progress = ShardNotes(client, self.keys.progress(source))

    async def get(self, user_id: str) -> UserState | None:
        """The user's state, or ``None`` for somebody unknown; a visitor who logged in has the user's.

        Raises:
            StoreError: The store did not answer.
        """
        raw = await answered(self._client.get(self.keys.state(user_id)))
        if (link := link_in(raw)) is not None:
            raw = await answered(self._client.get(self.keys.state(link.user_id)))
        return self.records.state(raw, user_id)

    async def apply(self, user_id: str, events: Sequence[BufferedEvent]) -> None:
        """Bring a state up to date with one user's events, ascending by sequence number.

        Events that were applied before, by this process or another, change nothing. Only the event types of
        ``StateConfig.remembered`` are.

        Raises:
            StoreError: The store did not answer, or other writers kept winning.
        """
        kept = self._config.remembered
        remembered = [e for e in events if e.event.event_type in kept and self._may_remember(user_id, e)]
        if not remembered:
            return
        await self._changes.apply(user_id, remembered)

    async def merge(self, visitor: str, link: VisitorLink) -> None:
        """Add a visitor's state to a user's, and leave a link in its place.

        Both are in one transaction each, since they may lie on different nodes: the user's state remembers
        that it holds the merge, so whatever happens between them, repeating it counts nothing twice.

        Args:
            visitor: The marked visitor's id, see ``serving.event.subject``.
            link: The user, and the merge's sequence number; every event below it must have been applied.

        Raises:
            StoreError: The store did not answer, or other writers kept winning.
        """
        raw = await answered(self._client.get(self.keys.state(visitor)))
        if self.writes.footing is not None:
            link = replace(link, filling=self.writes.footing.number)
        if (known := self._changes.counted_link(raw)) is None:
            await self._note_origin(link.user_id, visitor)
        if known is None and (state := self._changes.counted(raw)) is not None:
            await self._changes.add(link.user_id, state, link.sequence)
        await self._changes.link(visitor, link)

    async def origin(self, user_id: str) -> tuple[str | None, bool]:
        """Whom a user is assigned as, the visitor of before or the user, if known; whether there is a state.

        Raises:
            StoreError: The store did not answer.
        """
        keys = self.keys.origin(user_id), self.keys.state(user_id)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.get(keys[0])
            pipe.exists(keys[1])
            raw, known = await answered(pipe.execute())
        return (raw.decode() if isinstance(raw, bytes) else None), bool(known)

    async def marks(self, user_id: str) -> dict[str, int]:
        """How far a user's state has come in each source.

        Raises:
            StoreError: The store did not answer.
        """
        found = await answered(
            cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(self.keys.marks(user_id)))
        )
        return {source.decode(): int(sequence) for source, sequence in found.items()}

    async def learn_origins(self, origins: Iterable[tuple[str, str]]) -> None:
        """Remember which visitors users were, or that they were none, where nothing is known of it yet.

        Raises:
            StoreError: The store did not answer.
        """
        iterator = iter(origins)
        while chunk := list(islice(iterator, _CHUNK)):
            found = [(self.keys.origin(user_id), visitor.encode()) for user_id, visitor in chunk]
            await self.writes.change(found, only_new=True)

    async def erase(self, subjects: Sequence[str], through_ms: int) -> None:
        """Forget people; a state of the same id stays when nothing in it is so old.

        A visitor is forgotten by the users who were it, too.

        Args:
            subjects: Users, and visitors with their mark.
            through_ms: Everything up to this moment goes, in milliseconds since the epoch.

        Raises:
            StoreError: The store did not answer, or other writers kept winning.
        """
        for subject in subjects:
            await self._changes.remove(self.keys.origin(subject))
            await self.erase_state(subject, through_ms)
        if visitors := {subject.encode() for subject in subjects if subject.startswith(VISITOR_PREFIX)}:
            await answered(
                forget_origins(self._client, self.keys.origin("*"), lambda _, value: value in visitors)
            )

    async def forget_origins(self, is_erased: Callable[[str], bool]) -> None:
        """Forget which visitors erased users were, and of users, that they were an erased visitor.

        Raises:
            StoreError: The store did not answer.
        """
        user_of = person_of(self.keys.origin)
        await answered(
            forget_origins(
                self._client,
                self.keys.origin("*"),
                lambda key, value: is_erased(user_of(key)) or is_erased(value.decode()),
            )
        )

    async def erase_state(self, subject: str, through_ms: int) -> None:
        """The same of somebody's state alone."""
        await self._changes.erase(subject, through_ms)

    async def people(self) -> AsyncIterator[str]:
        """Everybody of whom there is a state, some perhaps twice.

        Raises:
            StoreError: The store did not answer.
        """
        user_of = person_of(self.keys.state)
        keys = self._client.scan_iter(match=self.keys.state("*"), count=_CHUNK)
        while (key := await answered(anext(keys, None))) is not None:
            yield user_of(key)

    async def unlink(self, keys: Iterable[str]) -> None:
        """Remove keys of whatever kind.

        Raises:
            StoreError: The store did not answer.
        """
        for key in keys:
            await answered(self._client.unlink(key))

    async def load(
        self,
        states: Iterable[tuple[str, UserState]],
        marker: str,
        links: Sequence[tuple[str, VisitorLink]] = (),
    ) -> int:
        """Replace all states of the tenant and mark where they came from.

        No other process may write meanwhile, but for those whom ``writes`` stops.

        Args:
            states: User ids and their states.
            marker: What ``is_loaded`` will recognise.
            links: Visitors whose states are in a user's.

        Returns:
            How many states were written.

        Raises:
            StoreError: The store did not answer, or another process began to load.
        """
        await answered(self._clear())
        iterator, num_loaded = (pair for pair in states if self._may_remember(pair[0])), 0
        while chunk := await asyncio.to_thread(list, islice(iterator, _CHUNK)):
            await answered(self._write(chunk))
            num_loaded += len(chunk)
        for start in range(0, len(links), _CHUNK):
            await answered(self._write(links[start : start + _CHUNK]))
        self.writes.require_footing()
        await self.mark(marker)
        return num_loaded

    async def is_loaded(self, marker: str) -> bool:
        """Whether the states are those that ``load`` or ``mark`` was told by the same marker.

        Raises:
            StoreError: The store did not answer.
        """
        return set(await answered(self._loaded.read())) == {self._marker_value(marker)}

    async def mark(self, marker: str) -> None:
        """Say where the states came from.

        Raises:
            StoreError: The store did not answer.
        """
        await answered(self._loaded.write(self._marker_value(marker), self.writes.ttl_seconds))

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    def _may_remember(self, user_id: str, buffered: BufferedEvent | None = None) -> bool:
        if self._discretion is None:
            return True
        time_ms = None if buffered is None else buffered.event.effective_ms
        return self._discretion.may_remember(user_id, time_ms)

    async def rewrite(self, states: Sequence[tuple[str, UserState | VisitorLink | None]]) -> None:
        """Replace some states, those of nobody known, or of whom nothing may be remembered, by nothing.

        Whoever is known is so all the while.

        Raises:
            StoreError: The store did not answer.
        """
        known = [
            (user_id, state) for user_id, state in states if state is not None and self._may_remember(user_id)
        ]
        for user_id in {user_id for user_id, _ in states} - {user_id for user_id, _ in known}:
            await self.writes.change([(self.keys.state(user_id), b""), (self.keys.marks(user_id), None)])
        await answered(self._write(known))

    async def server_id(self) -> str:
        """Tells what the store holds from what another held; empty where it may not be asked.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            return await answered(lineage(self._client))
        except StoreError as error:
            if not isinstance(error.__cause__, ResponseError):  # it is not allowed to ask
                raise
            await answered(self._loaded.read())
            return ""

    async def note_progress(self, sequence: int) -> None:
        """Write down up to which event the states have come.

        Raises:
            StoreError: The store did not answer.
        """
        await answered(self._progress.write(sequence, self.writes.ttl_seconds))

    async def progress(self) -> int:
        """What ``note_progress`` wrote last, 0 for nothing; on a cluster, the least that a node knows of.

        Raises:
            StoreError: The store did not answer.
        """
        return min(int(raw or 0) for raw in await answered(self._progress.read()))

    def offsets(self, source: str = "") -> OffsetNotes:
        """Where it lies how far the states have come in a source, this one's when absent."""
        assert source or self._source, "nobody numbers these events"
        name = self.keys.progress(source or self._source)
        return OffsetNotes(self._client, name, self.writes.ttl_seconds)

    async def _note_origin(self, user_id: str, visitor: str) -> None:
        """A user whom nobody knew until now was the visitor; it has to come before the user's state does."""
        if not await answered(self._client.exists(self.keys.state(user_id))):
            await self.learn_origins([(user_id, visitor)])

    def _marker_value(self, marker: str) -> bytes:
        return (
            hashlib.sha256(f"{_LAYOUT}\n{marker}\n{self._config.model_dump_json()}".encode())
            .hexdigest()
            .encode()
        )

    async def _write(self, states: Sequence[tuple[str, UserState | VisitorLink]]) -> None:
        changes: list[tuple[str, bytes | None]] = []
        for user_id, state in states:
            changes.append((self.keys.state(user_id), self._marked(state).to_bytes()))
            if self._source:
                changes.append((self.keys.marks(user_id), None))
        await self.writes.change(changes)

    def _marked(self, state: UserState | VisitorLink) -> UserState | VisitorLink:
        """With the number of the filling that it is of."""
        if self.writes.footing is None:
            return state
        if isinstance(state, VisitorLink):
            return replace(state, filling=self.writes.footing.number)
        state.applied_sequence = self.writes.footing.number
        return state

    async def _clear(self) -> None:
        for pattern in self.keys.patterns:
            found = self._client.scan_iter(match=pattern, count=_CHUNK)
            keys = [key.decode() async for key in found]
            for start in range(0, len(keys), _CHUNK):
                await self.writes.change([(key, None) for key in keys[start : start + _CHUNK]])
        await self._loaded.remove()
