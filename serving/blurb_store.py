"""Approved blurbs in the RESP server, for every server process to read.

::

    recsys:<tenant>:{<tenant>:blurbs}:b:<item id>:<policy>:<segment>:<language>:<length>    one blurb
    recsys:<tenant>:{<tenant>:blurbs}:version      counts up with every change
    recsys:<tenant>:{<tenant>:blurbs}:off          the off switches
    recsys:<tenant>:{<tenant>:blurbs}:withdrawn    what no line may say, see ``recsys.blurbs.withdrawn``
    recsys:<tenant>:{<tenant>:blurbs}:id:<blurb id>    there while the blurb may be reported
    recsys:<tenant>:{<tenant>:blurbs}:hidden       ids of blurbs that shoppers reported
    recsys:<tenant>:{<tenant>:blurbs}:reports:<blurb id>   who reported it, as hashes
    recsys:<tenant>:{<tenant>:blurbs}:marker       which book was published, and how far

The braces are a hash tag: on a cluster all of a tenant's blurbs lie in one slot, for a change, the version
that tells of it and the marker that fences it are one transaction. Every process keeps in memory what it
read, so this slot is not hot; but one node holds them all.

The book in the workspace is the truth (``recsys.blurbs.book``); all this may be lost and is written again. A
process that keeps blurbs in memory forgets them as soon as the version changes: what it keeps is worth
something only under the version that it knew *before* it read.
"""

import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import astuple, dataclass, replace

import structlog
from redis.client import Pipeline
from redis.exceptions import WatchError

from recsys.blurbs.row import BlurbRow, BlurbSlot
from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.withdrawn import Withdrawn
from recsys.errors import StoreError
from recsys.schema import DAY_MS
from serving.blocking_cluster import BlockingClient, blocking_transaction
from serving.cluster_client import STORE_ERRORS, StoreClient

_CHUNK = 500  # keys in one transaction
_REPORTABLE_MS = 90 * DAY_MS  # how long a blurb may be reported after it was published
_log = structlog.get_logger(__name__)


class OvertakenError(StoreError):
    """Another process has published meanwhile, so that nothing was written."""


@dataclass(frozen=True)
class BlurbMark:
    """How far a book was published."""

    book_id: str
    published: int = 0
    """The audit's line up to which every slot was written."""
    looked: int = 0
    """The line up to which what must not wait was written."""
    nonce: str = ""
    """Different after each write, so that a writer notices that it was overtaken."""

    @classmethod
    def of(cls, raw: bytes) -> "BlurbMark":
        """Read ``text``; of anything else, the mark of no book."""
        book_id, *rest = raw.decode(errors="replace").split(":")
        if len(rest) != 3 or not (rest[0].isdecimal() and rest[1].isdecimal()):
            return cls("", nonce=raw.decode(errors="replace"))
        return cls(book_id, int(rest[0]), int(rest[1]), rest[2])

    @property
    def text(self) -> str:
        """What the store holds."""
        return ":".join(map(str, astuple(self))) if self.book_id else self.nonce


@dataclass(frozen=True)
class BlurbKeys:
    """Where a tenant's blurbs lie."""

    tenant: str

    def blurb(self, slot: BlurbSlot) -> str:
        """Key of a slot."""
        place = f"{slot.item_id}:{slot.policy}:{slot.segment}:{slot.language}:{slot.length}"
        return f"{self._prefix}:b:{place}"

    @property
    def _prefix(self) -> str:
        return f"recsys:{self.tenant}:{{{self.tenant}:blurbs}}"

    @property
    def version(self) -> str:
        """The counter of changes."""
        return f"{self._prefix}:version"

    @property
    def off(self) -> str:
        """The off switches."""
        return f"{self._prefix}:off"

    @property
    def withdrawn(self) -> str:
        """What no line may say."""
        return f"{self._prefix}:withdrawn"

    def known(self, blurb_id: str) -> str:
        """There while a blurb may be reported."""
        return f"{self._prefix}:id:{blurb_id}"

    @property
    def hidden(self) -> str:
        """The set of ids of blurbs that were reported too often, see ``serving.blurb_reports``."""
        return f"{self._prefix}:hidden"

    def reports(self, blurb_id: str) -> str:
        """The set of those who reported a blurb."""
        return f"{self._prefix}:reports:{blurb_id}"

    @property
    def marker(self) -> str:
        """What was published."""
        return f"{self._prefix}:marker"


class BlurbStore:
    """Reads blurbs; what cannot be read is treated as absent and counted."""

    def __init__(self, client: StoreClient, tenant: str) -> None:
        """Read through a client that stays the caller's to close."""
        self._client = client
        self._keys = BlurbKeys(tenant)
        self.num_unreadable = 0
        """Blurbs that were damaged or of another version, since the start."""

    async def read(self, slots: Sequence[BlurbSlot]) -> list[BlurbRow | None]:
        """The blurbs of several slots in one round trip, in their order; ``None`` where there is none.

        Raises:
            StoreError: The store did not answer.
        """
        if not slots:
            return []
        try:
            found = await self._client.mget([self._keys.blurb(slot) for slot in slots])
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        return [self.decoded(raw) for raw in found]

    async def state(self) -> tuple[int, OffSwitches]:
        """The version, 0 before the first change, and the off switches.

        Raises:
            StoreError: The store did not answer, or the switches cannot be read.
        """
        try:
            version, off = await self._client.mget([self._keys.version, self._keys.off])
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        assert off is None or isinstance(off, bytes)  # the client does not decode
        return int(version or 0), OffSwitches() if off is None else OffSwitches.from_bytes(off)

    async def withdrawn(self) -> Withdrawn:
        """What no line may say.

        Raises:
            StoreError: The store did not answer, or it cannot be read.
        """
        try:
            raw = await self._client.get(self._keys.withdrawn)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        assert raw is None or isinstance(raw, bytes)  # the client does not decode
        return Withdrawn() if raw is None else Withdrawn.from_bytes(raw)

    async def announce(self, blurb_ids: Collection[str]) -> None:
        """Let blurbs be reported that are in no book.

        Raises:
            StoreError: The store did not answer.
        """
        if not blurb_ids:
            return
        async with self._client.pipeline(transaction=False) as pipe:
            for blurb_id in blurb_ids:
                pipe.set(self._keys.known(blurb_id), b"", px=_REPORTABLE_MS)
            try:
                await pipe.execute()
            except STORE_ERRORS as error:
                raise _no_answer(error) from error

    def decoded(self, raw: bytes | str | None) -> BlurbRow | None:
        """The blurb that was published, or ``None`` where there is none that can be read."""
        if raw is None:
            return None
        assert isinstance(raw, bytes)  # the client does not decode
        try:
            return BlurbRow.from_bytes(raw)
        except StoreError as error:
            if not self.num_unreadable:
                _log.warning("unreadable blurb is treated as absent", reason=str(error))
            self.num_unreadable += 1
            return None


class BlurbWriter:
    """Publishes and revokes, from a thread; each change comes together with the version that tells of it."""

    def __init__(self, client: BlockingClient, tenant: str) -> None:
        """Write through a client that stays the caller's to close."""
        self._client = client
        self._keys = BlurbKeys(tenant)

    def publish(
        self,
        rows: Mapping[BlurbSlot, BlurbRow | None],
        *,
        before: BlurbMark | None = None,
        after: BlurbMark | None = None,
        off: OffSwitches | None = None,
        withdrawn: Withdrawn | None = None,
        approved: Collection[BlurbSlot] = (),
    ) -> BlurbMark:
        """Write blurbs, and take out those of slots that have none any more.

        Args:
            rows: What the slots show.
            before: How far was published when the rows were read; ``None`` for a store without a mark.
            after: How far is published then; ``None`` writes whatever the store holds, and marks nothing.
            off: The switches, where they are to be replaced.
            withdrawn: What no line may say, where it is to be replaced.
            approved: Slots whose row is to be shown though shoppers reported it: a person found it good.

        Returns:
            The mark that the store holds now.

        Raises:
            OvertakenError: The store holds another mark than ``before``.
            StoreError: The store did not answer; some of the slots may have been written.
        """
        changes = sorted(rows.items(), key=lambda change: change[1] is not None)  # revocations come first
        chunks = [changes[start : start + _CHUNK] for start in range(0, len(changes), _CHUNK)] or [[]]
        mark = before
        for index, chunk in enumerate(chunks):
            target = after if after is None or index == len(chunks) - 1 else (before or BlurbMark(""))
            with self._change() as pipe:
                mark = self._fence(pipe, mark, target)
                if off is not None:
                    pipe.set(self._keys.off, off.to_bytes())
                if withdrawn is not None:
                    pipe.set(self._keys.withdrawn, withdrawn.to_bytes())
                self._put(pipe, chunk, approved)
        return mark or BlurbMark("")

    @contextmanager
    def _change(self) -> Iterator[Pipeline]:
        """A transaction that counts the version up when the block ends well."""
        try:
            with blocking_transaction(self._client, self._keys.version) as pipe:
                yield pipe
                pipe.incr(self._keys.version)
                pipe.execute()
        except WatchError as error:
            raise OvertakenError("another process has published blurbs meanwhile") from error
        except STORE_ERRORS as error:
            raise _no_answer(error) from error

    def _fence(self, pipe: Pipeline, before: BlurbMark | None, after: BlurbMark | None) -> BlurbMark | None:
        """Begin a transaction that fails unless the store holds a mark, and replaces it."""
        if after is None:
            return None
        pipe.watch(self._keys.marker)  # type: ignore[no-untyped-call]  # of redis
        raw = pipe.get(self._keys.marker)
        pipe.multi()
        if raw != (None if before is None else before.text.encode()):
            raise OvertakenError("another process has published blurbs meanwhile")
        mark = replace(after, nonce=uuid.uuid4().hex[:12])
        pipe.set(self._keys.marker, mark.text)
        return mark

    def _put(
        self,
        pipe: Pipeline,
        changes: Iterable[tuple[BlurbSlot, BlurbRow | None]],
        approved: Collection[BlurbSlot],
    ) -> None:
        for slot, row in changes:
            if row is None:
                pipe.delete(self._keys.blurb(slot))
                continue
            pipe.set(self._keys.blurb(slot), row.to_bytes(), pxat=row.stale_until)
            pipe.set(self._keys.known(row.blurb_id), b"", px=_REPORTABLE_MS)
            if slot in approved:
                pipe.srem(self._keys.hidden, row.blurb_id)

    def switch(self, off: OffSwitches) -> None:
        """Replace the off switches.

        Raises:
            StoreError: The store did not answer.
        """
        with self._change() as pipe:
            pipe.set(self._keys.off, off.to_bytes())

    def clear(self, mark: BlurbMark | None = None) -> BlurbMark | None:
        """Take out every blurb of the tenant.

        Args:
            mark: What the store has to hold meanwhile; ``None`` for whatever.

        Returns:
            The mark that it holds now.

        Raises:
            OvertakenError: It holds another one.
            StoreError: The store did not answer.
        """
        pattern = self._keys.blurb(BlurbSlot("*", "*", "*", "*", "*"))
        try:
            keys = list(self._client.scan_iter(pattern, count=_CHUNK))
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        for start in range(0, len(keys), _CHUNK):
            with self._change() as pipe:
                mark = self._fence(pipe, mark, mark)
                pipe.delete(*keys[start : start + _CHUNK])
        return mark

    def hidden(self) -> frozenset[str]:
        """Ids of the blurbs that shoppers' reports hide.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            found = self._client.smembers(self._keys.hidden)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        return frozenset(each.decode() for each in found if isinstance(each, bytes))

    def mark(self) -> BlurbMark | None:
        """How far was published; ``None`` where nothing was.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            raw = self._client.get(self._keys.marker)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        return BlurbMark.of(raw) if isinstance(raw, bytes) else None


def _no_answer(error: Exception) -> StoreError:
    return StoreError(f"the store did not answer: {type(error).__name__}")
