"""One piece of work for all who ask for the same thing at once."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Singleflight(Generic[T]):
    """Shares work by key within one event loop.

    Whoever gives up waiting does not stop the work for the others. Nothing is kept once it is done: an
    exception reaches those who waited, and the next to ask begins anew.
    """

    def __init__(self) -> None:
        self._running: dict[str, asyncio.Task[T]] = {}

    async def do(self, key: str, work: Callable[[], Awaitable[T]]) -> T:
        """Wait for the work of a key, and begin it if nobody has."""
        task = self._running.get(key)
        if task is None:
            task = asyncio.create_task(_awaited(work))
            self._running[key] = task
            task.add_done_callback(lambda done: self._forget(key, done))
        return await asyncio.shield(task)

    def _forget(self, key: str, done: "asyncio.Task[T]") -> None:
        del self._running[key]
        if not done.cancelled():
            done.exception()  # nobody may be waiting any more


async def _awaited(work: Callable[[], Awaitable[T]]) -> T:
    return await work()
