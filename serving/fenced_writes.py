"""Writes to the store, which stop where another process makes the states anew.

Where there is a ``Footing``, keys are written in transactions, on a cluster one for each slot, and only while
it stands: a writer that was overtaken in the middle leaves nothing behind that looks newer than it is.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from itertools import islice
from typing import TypeVar

from redis.asyncio.client import Pipeline
from redis.crc import key_slot
from redis.exceptions import WatchError

from recsys.errors import StoreError
from serving.cluster_client import STORE_ERRORS, LearningCluster, StoreClient, transaction
from serving.fillings import Footing

_T = TypeVar("_T")
_MAX_ATTEMPTS = 10  # of an optimistic transaction
_AT_ONCE = 16  # transactions of a cluster


class FencedWrites:
    """Writes to one store; all methods raise a ``StoreError`` where it does not answer."""

    def __init__(self, client: StoreClient, ttl_seconds: int) -> None:
        """Write through a client, which stays the caller's to close; keys expire after ``ttl_seconds``."""
        self._client, self.ttl_seconds = client, ttl_seconds
        self.footing: Footing | None = None
        """The filling to build on, where several processes write; whoever sets it does before each step."""

    async def change(self, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool = False) -> None:
        """Set keys, or remove those without a value; where there is a footing, only while it stands.

        Args:
            changes: Keys and their values; an empty value removes a key so that whoever has read it, even
                that it is not there, cannot write it any more.
            only_new: Whether keys that are there stay as they are.
        """
        if not changes:
            return
        if self.footing is None:
            async with self._client.pipeline(transaction=False) as pipe:
                self._queue(pipe, changes, only_new=only_new)
                await answered(pipe.execute())
            return
        groups = iter(_transactions(changes) if isinstance(self._client, LearningCluster) else [changes])
        while some := list(islice(groups, _AT_ONCE)):
            attempts = (partial(self._try_change, group, only_new=only_new) for group in some)
            await all_of(map(retried, attempts))

    async def _try_change(self, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool) -> None:
        async with transaction(self._client, changes[0][0]) as pipe:
            await pipe.watch(*(key for key, _ in changes))
            self.begin(pipe)
            self._queue(pipe, changes, only_new=only_new)
            await pipe.execute()

    def begin(self, pipe: Pipeline) -> None:
        """End what a transaction reads and begin what it writes.

        Raises:
            StoreError: Another process was faster; what was read does not count.
        """
        self.require_footing()
        pipe.multi()  # type: ignore[no-untyped-call]  # redis-py leaves it unannotated

    def require_footing(self) -> None:
        """Stop a writer that was overtaken.

        Raises:
            StoreError: It was.
        """
        if self.footing is not None:
            self.footing.require()

    def _queue(self, pipe: Pipeline, changes: Sequence[tuple[str, bytes | None]], *, only_new: bool) -> None:
        for key, value in changes:
            if value == b"":  # gone for those, too, who have read that it is not there
                pipe.set(key, value)
            if not value:
                pipe.delete(key)  # a cluster's pipeline would have to await unlink
            else:
                pipe.set(key, value, ex=self.ttl_seconds, nx=only_new)


def _transactions(changes: Sequence[tuple[str, bytes | None]]) -> Iterable[list[tuple[str, bytes | None]]]:
    """Changes by the slot of their keys; a transaction of a cluster touches one."""
    found: dict[int, list[tuple[str, bytes | None]]] = {}
    for change in changes:
        found.setdefault(int(key_slot(change[0].encode())), []).append(change)
    return found.values()


async def all_of(operations: Iterable[Awaitable[None]]) -> None:
    """Await operations together, all of them also when one fails: none may write on after this has raised."""
    for outcome in await asyncio.gather(*operations, return_exceptions=True):
        if isinstance(outcome, BaseException):
            raise outcome


async def retried(attempt: Callable[[], Awaitable[None]]) -> None:
    """Make an optimistic transaction until nobody else wrote between its reading and its writing.

    Raises:
        StoreError: The store did not answer, or other writers kept winning.
    """
    for _ in range(_MAX_ATTEMPTS):
        try:
            await answered(attempt())
        except WatchError:
            continue
        return
    raise StoreError(f"a state changed under {_MAX_ATTEMPTS} attempts to update it; it is retried later")


async def answered(operation: Awaitable[_T]) -> _T:
    """What an operation on the store gives.

    Raises:
        StoreError: The store did not answer.
        WatchError: Somebody else wrote what a transaction had read.
    """
    try:
        return await operation
    except WatchError:
        raise
    except STORE_ERRORS as error:
        raise StoreError(f"the store did not answer: {type(error).__name__}") from error
