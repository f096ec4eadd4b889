"""What is remembered of every user, in a RESP server that may be lost and rebuilt at any time.

Keys are ``recsys:<tenant>:u:{<tenant>:<user id>}``: the braces are a hash tag of a cluster, so that all keys
of one user lie in one slot, and no operation touches two. Every key expires ``max_age_days`` and one day
after its last change.
"""

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from typing import TypeVar, cast

import redis
import redis.retry
import structlog
from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.crc import key_slot
from redis.exceptions import ResponseError, WatchError

from recsys.config import StateConfig
from recsys.errors import StoreError
from recsys.store_url import is_cluster
from recsys.user_state import UserState
from serving.blocking_cluster import BlockingClient, BlockingCluster
from serving.cluster_client import STORE_ERRORS, LearningCluster, StoreClient, lineage, transaction
from serving.discretion import Discretion
from serving.event import VISITOR_PREFIX, BufferedEvent
from serving.fillings import Footing
from serving.offset_notes import OffsetNotes
from serving.origin_sweep import forget_origins
from serving.shard_notes import ShardNotes
from serving.visitor_link import VisitorLink

_log = structlog.get_logger(__name__)
_T = TypeVar("_T")

_MAX_ATTEMPTS = 10  # of an optimistic transaction
_CHUNK = 500  # states in one pipeline
_AT_ONCE = 16  # transactions of a cluster
_MOST_DAMAGED = 1000  # that are made anew at once
_LAYOUT = "3"  # of the keys; states under another one are not recognised, and loaded anew


def connect(url: str, timeout_ms: int) -> StoreClient:
    """A client of a server or a cluster, see ``recsys.store_url``, which waits ``timeout_ms`` for a server.

    Its own retries, up to 5 s by default, are off.

    Raises:
        StoreError: The URL is not one of a RESP server. It is not repeated, it may hold a password.
    """
    seconds = timeout_ms / 1000
    try:
        if is_cluster(url):
            return LearningCluster(url, seconds)
        return Redis.from_url(
            url, socket_timeout=seconds, socket_connect_timeout=seconds, retry=Retry(NoBackoff(), 0)
        )
    except ValueError as error:
        raise StoreError(f"the store's URL is wrong: {error}") from None


def connect_blocking(url: str, timeout_ms: int) -> BlockingClient:
    """The same as ``connect``, for threads."""
    seconds = timeout_ms / 1000
    try:
        if is_cluster(url):
            return BlockingCluster(url, seconds)
        return redis.Redis.from_url(
            url,
            socket_timeout=seconds,
            socket_connect_timeout=seconds,
            retry=redis.retry.Retry(NoBackoff(), 0),
        )
    except ValueError as error:
        raise StoreError(f"the store's URL is wrong: {error}") from None


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
                then knows of each how far it has come, see ``marks_key``.
        """
        self._client = client
        self._source = source
        self._tenant, self._prefix = tenant, f"recsys:{tenant}"
        self._loaded = ShardNotes(client, f"{self._prefix}:loaded")
        self._progress = ShardNotes(client, f"{self._prefix}:progress" + (f":{source}" if source else ""))
        self._config = config
        self._discretion = discretion
        self._ttl_seconds = math.ceil((config.max_age_days + 1) * 24 * 60 * 60)
        self.num_unreadable = 0
        """States that were damaged or of another version or configuration, since the start."""
        self.footing: Footing | None = None
        """The filling to build on, where several processes write; whoever sets it does before each step."""
        self.damaged: set[str] = set()
        """Whose they were, until they are made anew."""

    async def get(self, user_id: str) -> UserState | None:
        """The user's state, or ``None`` for somebody unknown; a visitor who logged in has the user's.

        Raises:
            StoreError: The store did not answer.
        """
        raw = await _guard(self._client.get(self.key(user_id)))
        if (link := _link(raw)) is not None:
            raw = await _guard(self._client.get(self.key(link.user_id)))
        return self.decoded(raw, user_id)

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
        await self._retried(lambda: self._try_apply(user_id, remembered))

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
        raw = await _guard(self._client.get(self.key(visitor)))
        if self.footing is not None:
            link = replace(link, filling=self.footing.number)
        if (known := self._link(raw)) is None:
            await self._note_origin(link.user_id, visitor)
        if known is None and (state := self._counted(raw)) is not None:
            await self._retried(lambda: self._try_add(link.user_id, state, link.sequence))
        await self._retried(lambda: self._try_link(self.key(visitor), link))

    async def origin(self, user_id: str) -> tuple[str | None, bool]:
        """Whom a user is assigned as, the visitor of before or the user, if known; whether there is a state.

        Raises:
            StoreError: The store did not answer.
        """
        keys = self.origin_key(user_id), self.key(user_id)
        async with self._client.pipeline(transaction=False) as pipe:
            pipe.get(keys[0])
            pipe.exists(keys[1])
            raw, known = await _guard(pipe.execute())
        return (raw.decode() if isinstance(raw, bytes) else None), bool(known)

    async def marks(self, user_id: str) -> dict[str, int]:
        """How far a user's state has come in each source.

        Raises:
            StoreError: The store did not answer.
        """
        found = await _guard(
            cast("Awaitable[dict[bytes, bytes]]", self._client.hgetall(self.marks_key(user_id)))
        )
        return {source.decode(): int(sequence) for source, sequence in found.items()}

    async def learn_origins(self, origins: Iterable[tuple[str, str]]) -> None:
        """Remember which visitors users were, or that they were none, where nothing is known of it yet.

        Raises:
            StoreError: The store did not answer.
        """
        iterator = iter(origins)
        while chunk := list(islice(iterator, _CHUNK)):
            found = [(self.origin_key(user_id), visitor.encode()) for user_id, visitor in chunk]
            await self._change(found, only_new=True)

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
            await self._retried(partial(self._try_touch, self.origin_key(subject)))
            await self.erase_state(subject, through_ms)
        if visitors := {subject.encode() for subject in subjects if subject.startswith(VISITOR_PREFIX)}:
            await _guard(
                forget_origins(self._client, self.origin_key("*"), lambda _, value: value in visitors)
            )

    async def forget_origins(self, is_erased: Callable[[str], bool]) -> None:
        """Forget which visitors erased users were, and of users, that they were an erased visitor.

        Raises:
            StoreError: The store did not answer.
        """
        user_of = self._id_in(self.origin_key)
        await _guard(
            forget_origins(
                self._client,
                self.origin_key("*"),
                lambda key, value: is_erased(user_of(key)) or is_erased(value.decode()),
            )
        )

    async def erase_state(self, subject: str, through_ms: int) -> None:
        """The same of somebody's state alone."""
        await self._retried(partial(self._try_erase, subject, through_ms))

    async def people(self) -> AsyncIterator[str]:
        """Everybody of whom there is a state, some perhaps twice.

        Raises:
            StoreError: The store did not answer.
        """
        user_of, keys = self._id_in(self.key), self._client.scan_iter(match=self.key("*"), count=_CHUNK)
        while (key := await _guard(anext(keys, None))) is not None:
            yield user_of(key)

    def _id_in(self, name: Callable[[str], str]) -> Callable[[bytes], str]:
        """The inverse of what names the keys of people."""
        start, end = (part.encode() for part in name("\0").split("\0"))
        return lambda key: key.removeprefix(start).removesuffix(end).decode()

    async def unlink(self, keys: Iterable[str]) -> None:
        """Remove keys of whatever kind.

        Raises:
            StoreError: The store did not answer.
        """
        for key in keys:
            await _guard(self._client.unlink(key))

    async def load(
        self,
        states: Iterable[tuple[str, UserState]],
        marker: str,
        links: Sequence[tuple[str, VisitorLink]] = (),
    ) -> int:
        """Replace all states of the tenant and mark where they came from.

        No other process may write meanwhile, but for those whom the ``footing`` stops.

        Args:
            states: User ids and their states.
            marker: What ``is_loaded`` will recognise.
            links: Visitors whose states are in a user's.

        Returns:
            How many states were written.

        Raises:
            StoreError: The store did not answer, or another process began to load.
        """
        await _guard(self._clear())
        iterator, num_loaded = (pair for pair in states if self._may_remember(pair[0])), 0
        while chunk := await asyncio.to_thread(list, islice(iterator, _CHUNK)):
            await _guard(self._write(chunk))
            num_loaded += len(chunk)
        for start in range(0, len(links), _CHUNK):
            await _guard(self._write(links[start : start + _CHUNK]))
        self._require_footing()
        await self.mark(marker)
        return num_loaded

    async def is_loaded(self, marker: str) -> bool:
        """Whether the states are those that ``load`` or ``mark`` was told by the same marker.

        Raises:
            StoreError: The store did not answer.
        """
        return set(await _guard(self._loaded.read())) == {self._marker_value(marker)}

    async def mark(self, marker: str) -> None:
        """Say where the states came from.

        Raises:
            StoreError: The store did not answer.
        """
        await _guard(self._loaded.write(self._marker_value(marker), self._ttl_seconds))

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
            await self._change([(self.key(user_id), b""), (self.marks_key(user_id), None)])
        await _guard(self._write(known))

    async def server_id(self) -> str:
        """Tells the server process that answers from another; empty where it does not say.

        On a cluster, tells what the primaries hold from what others held, as before a failover.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            if isinstance(self._client, LearningCluster):
                return await lineage(self._client)
            found = await self._client.info("server")
        except ResponseError:  # not allowed
            await _guard(self._loaded.read())
            return ""
        except STORE_ERRORS as error:
            raise StoreError(f"the store did not answer: {type(error).__name__}") from error
        return str(found.get("run_id", ""))

    async def note_progress(self, sequence: int) -> None:
        """Write down up to which event the states have come.

        Raises:
            StoreError: The store did not answer.
        """
        await _guard(self._progress.write(sequence, self._ttl_seconds))

    async def progress(self) -> int:
        """What ``note_progress`` wrote last, 0 for nothing; on a cluster, the least that a node knows of.

        Raises:
            StoreError: The store did not answer.
        """
        return min(int(raw or 0) for raw in await _guard(self._progress.read()))

    def offsets(self, source: str = "") -> OffsetNotes:
        """Where it lies how far the states have come in a source, this one's when absent."""
        name = f"{self._prefix}:progress:{source or self._source}"
        return OffsetNotes(self._client, name, self._ttl_seconds)

    def key(self, user_id: str) -> str:
        """Where a user's state lies."""
        return f"{self._prefix}:u:{{{self._tenant}:{user_id}}}"

    def marks_key(self, user_id: str) -> str:
        """Where it lies how far a user's state has come: source to sequence number."""
        return f"{self._prefix}:k:{{{self._tenant}:{user_id}}}"

    def origin_key(self, user_id: str) -> str:
        """Where it lies which visitor a user was."""
        return f"{self._prefix}:o:{{{self._tenant}:{user_id}}}"

    async def _note_origin(self, user_id: str, visitor: str) -> None:
        """A user whom nobody knew until now was the visitor; it has to come before the user's state does."""
        if not await _guard(self._client.exists(self.key(user_id))):
            await self.learn_origins([(user_id, visitor)])

    def _marker_value(self, marker: str) -> bytes:
        return (
            hashlib.sha256(f"{_LAYOUT}\n{marker}\n{self._config.model_dump_json()}".encode())
            .hexdigest()
            .encode()
        )

    def decoded(self, raw: bytes | str | None, user_id: str = "") -> UserState | None:
        """The state that was written, or ``None`` where there is none that can be read.

        Args:
            raw: What the store holds.
            user_id: Whose it is, to make it anew where it cannot be read.
        """
        if raw is None:
            return None
        assert isinstance(raw, bytes)  # the client does not decode
        try:
            state = UserState.from_bytes(raw)
            if state.half_lives_days != self._config.half_lives_days:
                raise StoreError("a user state has other half-lives than the configuration")
        except StoreError as error:
            if not self.num_unreadable:
                _log.warning("unreadable user state is treated as absent", reason=str(error))
            self.num_unreadable += 1
            if user_id and len(self.damaged) < _MOST_DAMAGED:
                self.damaged.add(user_id)
            return None
        return state

    async def _retried(self, attempt: Callable[[], Awaitable[None]]) -> None:
        for _ in range(_MAX_ATTEMPTS):
            try:
                await _guard(attempt())
            except WatchError:
                continue
            return
        raise StoreError(f"a state changed under {_MAX_ATTEMPTS} attempts to update it; it is retried later")

    async def _try_add(self, user_id: str, other: UserState, sequence: int) -> None:
        async with transaction(self._client, self.key(user_id)) as pipe:
            state = self._counted(await self._watched(pipe, user_id))
            state = state or UserState(self._config.half_lives_days)
            if await self._applied(pipe, user_id, state) >= sequence:
                return
            merged = state.merged_with(other).capped(self._config.max_rows_per_user)
            merged.applied_sequence = state.applied_sequence
            await self._put(pipe, user_id, merged, sequence)

    async def _try_link(self, key: str, link: VisitorLink) -> None:
        async with transaction(self._client, key) as pipe:
            await pipe.watch(key)
            known = self._link(await pipe.get(key))
            if known is not None and known.sequence >= link.sequence:
                return
            self._require_footing()
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.set(key, link.to_bytes(), ex=self._ttl_seconds)
            await pipe.execute()

    async def _try_apply(self, user_id: str, events: Sequence[BufferedEvent]) -> None:
        async with transaction(self._client, self.key(user_id)) as pipe:
            raw = await self._watched(pipe, user_id)
            if self._link(raw) is not None:  # the merge, which lies above these events, was applied already
                return
            state = self._counted(raw) or UserState(self._config.half_lives_days)
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

    async def _watched(self, pipe: Pipeline, user_id: str) -> bytes | str | None:
        """What stands under a user's key, for the pipe to write it only while nobody else does."""
        keys = [self.key(user_id), *([self.marks_key(user_id)] if self._source else [])]
        await pipe.watch(*keys)
        found: bytes | str | None = await pipe.get(keys[0])
        return found

    async def _applied(self, pipe: Pipeline, user_id: str, state: UserState) -> int:
        """Sequence number up to which a state has the events of this source."""
        if not self._source:
            return state.applied_sequence
        if self.footing is not None and not state.applied_sequence:  # nobody's, whatever the marks say
            return 0
        mark = pipe.hget(self.marks_key(user_id), self._source)
        return int(await cast("Awaitable[bytes | None]", mark) or 0)

    async def _put(self, pipe: Pipeline, user_id: str, state: UserState, sequence: int) -> None:
        """Write a state and how far it has come, or nothing when another was faster."""
        self._require_footing()
        pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
        if self.footing is not None:
            if not state.applied_sequence:
                pipe.unlink(self.marks_key(user_id))
            state.applied_sequence = self.footing.number
        if self._source:
            pipe.hset(self.marks_key(user_id), self._source, sequence)
            pipe.expire(self.marks_key(user_id), self._ttl_seconds)
        else:
            state.applied_sequence = sequence
        pipe.set(self.key(user_id), state.to_bytes(), ex=self._ttl_seconds)
        await pipe.execute()

    async def _try_erase(self, user_id: str, through_ms: int) -> None:
        key = self.key(user_id)
        async with transaction(self._client, key) as pipe:
            await pipe.watch(key)
            raw = await pipe.get(key)
            state = None if _link(raw) is not None else self.decoded(raw)
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.set(key, raw or b"", keepttl=True)  # whoever has read it cannot write it any more
            if state is None or not state.num_rows or state.first_ms.min() <= through_ms:
                pipe.unlink(key, self.marks_key(user_id))  # a state that was lost leaves marks behind
            await pipe.execute()

    async def _try_touch(self, key: str) -> None:
        """Remove a key so that whoever has read it, even that it is not there, cannot write it any more."""
        async with transaction(self._client, key) as pipe:
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            pipe.set(key, b"")
            pipe.unlink(key)
            await pipe.execute()

    async def _write(self, states: Sequence[tuple[str, UserState | VisitorLink]]) -> None:
        changes: list[tuple[str, bytes | None]] = []
        for user_id, state in states:
            changes.append((self.key(user_id), self._marked(state).to_bytes()))
            if self._source:
                changes.append((self.marks_key(user_id), None))
        await self._change(changes)

    def _marked(self, state: UserState | VisitorLink) -> UserState | VisitorLink:
        """With the number of the filling that it is of."""
        if self.footing is None:
            return state
        if isinstance(state, VisitorLink):
            return replace(state, filling=self.footing.number)
        state.applied_sequence = self.footing.number
        return state

    async def _clear(self) -> None:
        for kind in ("u", "o", "k", "progress"):
            found = self._client.scan_iter(match=f"{self._prefix}:{kind}:*", count=_CHUNK)
            keys = [key.decode() async for key in found]
            for start in range(0, len(keys), _CHUNK):
                await self._change([(key, None) for key in keys[start : start + _CHUNK]])
        await self._loaded.remove()

    async def _change(self, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool = False) -> None:
        """Set keys, or remove those without a value; where there is a footing, only while it stands."""
        if not changes:
            return
        if not changes:
            return
        if self.footing is None:
            async with self._client.pipeline(transaction=False) as pipe:
                self._queue(pipe, changes, only_new=only_new)
                await _guard(pipe.execute())
            return
        groups = iter(_transactions(changes) if isinstance(self._client, LearningCluster) else [changes])
        while some := list(islice(groups, _AT_ONCE)):
            attempts = (partial(self._try_change, group, only_new=only_new) for group in some)
            await all_of(map(self._retried, attempts))

    async def _try_change(self, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool) -> None:
        async with transaction(self._client, changes[0][0]) as pipe:
            await pipe.watch(*(key for key, _ in changes))
            self._require_footing()
            pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated
            self._queue(pipe, changes, only_new=only_new)
            await pipe.execute()

    def _queue(self, pipe: Pipeline, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool) -> None:
        for key, value in changes:
            if value == b"":  # gone for those, too, who have read that it is not there
                pipe.set(key, value)
            if not value:
                pipe.delete(key)  # a cluster's pipeline would have to await unlink
            else:
                pipe.set(key, value, ex=self._ttl_seconds, nx=only_new)

    def _require_footing(self) -> None:
        if self.footing is not None:
            self.footing.require()

    def _counted(self, raw: bytes | str | None) -> UserState | None:
        """A state, unless it was built on a filling that does not count any more."""
        state = self.decoded(raw)
        is_old = state is not None and self.footing and state.applied_sequence < self.footing.base
        return None if is_old else state

    def _link(self, raw: bytes | str | None) -> VisitorLink | None:
        """The same of a link."""
        link = _link(raw)
        is_old = link is not None and self.footing and link.filling < self.footing.base
        return None if is_old else link


def _transactions(changes: Sequence[tuple[str, bytes | None]]) -> Iterable[list[tuple[str, bytes | None]]]:
    """Changes by the slot of their keys; a transaction of a cluster touches one."""
    found: dict[int, list[tuple[str, bytes | None]]] = {}
    for change in changes:
        found.setdefault(int(key_slot(change[0].encode())), []).append(change)
    return found.values()


def _link(raw: bytes | str | None) -> VisitorLink | None:
    return VisitorLink.from_bytes(raw) if isinstance(raw, bytes) else None


async def all_of(operations: Iterable[Awaitable[None]]) -> None:
    """Await operations together, all of them also when one fails: none may write on after this has raised."""
    for outcome in await asyncio.gather(*operations, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def _guard(operation: Awaitable[_T]) -> _T:
    """Await an operation; what goes wrong in the store becomes a ``StoreError``."""
    try:
        return await operation
    except WatchError:
        raise
    except STORE_ERRORS as error:
        raise StoreError(f"the store did not answer: {type(error).__name__}") from error
