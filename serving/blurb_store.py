"""Approved blurbs in the RESP server, for every server process to read.

::

    recsys:<tenant>:{<tenant>:blurbs}:b:<item id>:<policy>:<segment>:<language>:<length>    one blurb
    recsys:<tenant>:{<tenant>:blurbs}:version      counts up with every change
    recsys:<tenant>:{<tenant>:blurbs}:off          the off switches
    recsys:<tenant>:{<tenant>:blurbs}:hidden       ids of blurbs that shoppers reported
    recsys:<tenant>:{<tenant>:blurbs}:reports:<blurb id>   who reported it, as hashes
    recsys:<tenant>:{<tenant>:blurbs}:marker       which book was published, and how far

The braces are a hash tag: on a cluster all of a tenant's blurbs lie in one slot, for a change and the version
that tells of it are one transaction. Every process keeps in memory what it read, so this slot is not hot.

The book in the workspace is the truth (``recsys.blurbs.book``); all this may be lost and is written again. A
process that keeps blurbs in memory forgets them as soon as the version changes: what it keeps is worth
something only under the version that it knew *before* it read.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import structlog

from recsys.blurbs.row import BlurbRow, BlurbSlot
from recsys.blurbs.switches import OffSwitches
from recsys.errors import StoreError
from serving.blocking_cluster import BlockingClient, Transaction
from serving.cluster_client import STORE_ERRORS, StoreClient

_CHUNK = 500  # keys in one transaction
_log = structlog.get_logger(__name__)


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

    def publish(self, rows: Mapping[BlurbSlot, BlurbRow | None]) -> None:
        """Write blurbs, and take out those of slots that have none any more.

        Raises:
            StoreError: The store did not answer; some of the slots may have been written.
        """
        changes = sorted(rows.items(), key=lambda change: change[1] is not None)  # revocations come first
        for start in range(0, len(changes), _CHUNK):
            with self._client.pipeline(transaction=True) as pipe:
                for slot, row in changes[start : start + _CHUNK]:
                    if row is None:
                        pipe.delete(self._keys.blurb(slot))
                    else:
                        pipe.set(self._keys.blurb(slot), row.to_bytes(), pxat=row.stale_until)
                        pipe.srem(self._keys.hidden, row.blurb_id)  # a person found it good
                self._commit(pipe)

    def switch(self, off: OffSwitches) -> None:
        """Replace the off switches.

        Raises:
            StoreError: The store did not answer.
        """
        with self._client.pipeline(transaction=True) as pipe:
            pipe.set(self._keys.off, off.to_bytes())
            self._commit(pipe)

    def clear(self) -> None:
        """Take out every blurb of the tenant.

        Raises:
            StoreError: The store did not answer.
        """
        pattern = self._keys.blurb(BlurbSlot("*", "*", "*", "*", "*"))
        try:
            keys = list(self._client.scan_iter(pattern, count=_CHUNK))
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        for start in range(0, len(keys), _CHUNK):
            with self._client.pipeline(transaction=True) as pipe:
                pipe.delete(*keys[start : start + _CHUNK])
                self._commit(pipe)

    def marker(self) -> str | None:
        """What ``mark`` was told last.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            raw = self._client.get(self._keys.marker)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error
        return raw.decode() if isinstance(raw, bytes) else None

    def mark(self, marker: str) -> None:
        """Remember how far was published.

        Raises:
            StoreError: The store did not answer.
        """
        try:
            self._client.set(self._keys.marker, marker)
        except STORE_ERRORS as error:
            raise _no_answer(error) from error

    def _commit(self, pipe: Transaction) -> None:
        pipe.incr(self._keys.version)
        try:
            pipe.execute()
        except STORE_ERRORS as error:
            raise _no_answer(error) from error


def _no_answer(error: Exception) -> StoreError:
    return StoreError(f"the store did not answer: {type(error).__name__}")
