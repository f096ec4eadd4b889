"""Follows the catalogue's changes: takes out at once what is withdrawn, and puts in what is new.

Every process looks a few times a second. What was withdrawn is struck from the pipelines that serve, in
place. Anything else makes a new pipeline beside the old one, which is warmed up and then swapped in. When the
changes cannot be read any more, this process does not know what is for sale, and after a while it says so: it
fails closed.
"""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from functools import partial
from typing import Protocol, TypeVar

import structlog

from recsys.errors import CatalogueError, RecsysError
from recsys.item_changes import ItemChanges
from recsys.live_parts import TextVectors
from serving.ranking_pipeline import RankingPipeline
from serving.text_vectors import TextVectorSource

_A = TypeVar("_A")
_B = TypeVar("_B")
_log = structlog.get_logger(__name__)

_EVERY = timedelta(milliseconds=200)
_AGAIN = timedelta(milliseconds=50)
_AFTER_FAILURE = timedelta(seconds=5)
_MOST_CHANGES = 1000
_MOST_UNREAD = 256


class Pipelines(Protocol):
    """The pipelines of this process; methods are called on the event loop's thread."""

    def all(self) -> Sequence[RankingPipeline]:
        """Every pipeline that answers, or may again."""
        ...

    def replace(self, old: RankingPipeline, new: RankingPipeline) -> bool:
        """Let one answer instead of another; false when that one is not there any more."""
        ...


class LiveCatalogue:
    """Keeps the pipelines of one process up to date."""

    def __init__(
        self,
        changes: ItemChanges,
        texts: TextVectorSource,
        pipelines: Pipelines,
        warm: Callable[[RankingPipeline], None],
        *,
        stale_after: timedelta,
    ) -> None:
        """Follow changes, from the next ``run`` on.

        Args:
            changes: The durable changes.
            texts: Vectors of new texts.
            pipelines: What to keep up to date.
            warm: Called with a new pipeline before it serves.
            stale_after: How long not to know of changes before saying so.
        """
        self._changes, self._texts, self._pipelines, self._warm = changes, texts, pipelines, warm
        self._stale_after_seconds = stale_after.total_seconds()
        self._looked = time.monotonic()
        self._wake = asyncio.Event()
        self._behind = asyncio.Event()
        self._failing = False
        self._thread = ThreadPoolExecutor(1, "catalogue-renewal")  # one, so that memory is used again

    def is_current(self) -> bool:
        """Whether what was withdrawn is known, up to the bound."""
        return time.monotonic() - self._looked <= self._stale_after_seconds

    def require_current(self) -> None:
        """Refuse to vouch for a list.

        Raises:
            CatalogueError: What was withdrawn lately is not known.
        """
        if not self.is_current():
            raise CatalogueError(
                "the catalogue's changes cannot be read, so nobody can tell what is for sale"
            )

    def wake(self) -> None:
        """Look now: something was changed here."""
        self._wake.set()

    async def watch(self) -> None:
        """Withdraw what is withdrawn, until cancelled."""
        while True:
            await self.look()
            try:
                async with asyncio.timeout(_EVERY.total_seconds()):
                    await self._wake.wait()
            except TimeoutError:
                pass
            self._wake.clear()

    async def look(self) -> None:
        """Withdraw from every pipeline what was withdrawn since it was looked at last."""
        started = time.monotonic()
        try:
            latest = await asyncio.to_thread(self._changes.latest)
            for pipeline in self._pipelines.all():
                if pipeline.withdrawn_through < latest:
                    since = await asyncio.to_thread(self._changes.since, pipeline.withdrawn_through)
                    pipeline.withdraw(since)
                    self._behind.set()
        except CatalogueError as error:
            if not self._failing:
                _log.error("nobody can tell what is for sale", reason=str(error))
            self._failing = True
            return
        if self._failing:
            _log.info("the catalogue's changes can be read again")
        self._failing, self._looked = False, started

    async def renew(self) -> None:
        """Put changes into pipelines, until cancelled."""
        self._behind.set()
        while True:
            await self._behind.wait()
            self._behind.clear()
            wait = timedelta(0)
            for pipeline in self._pipelines.all():
                wait = max(wait, await self._attempt(pipeline))
            if wait:
                self._behind.set()
                await asyncio.sleep(wait.total_seconds())

    async def prepare(self) -> None:
        """Load the encoders ahead of the first new text; what fails is tried again when they are needed."""
        for pipeline in self._pipelines.all()[:1]:
            try:
                await self._aside(self._texts.prepare, pipeline.version)
            except RecsysError as error:
                _log.warning("new items will have to wait for the text encoder", reason=str(error))

    async def vectors(self, version: str, texts: Sequence[str]) -> dict[str, TextVectors]:
        """Vectors of texts that are no item's, some at a time; see ``TextVectorSource.find``."""
        return await self._aside(partial(self._texts.find, version), texts)

    def close(self) -> None:
        """Let the step that is under way come to its end."""
        self._thread.shutdown(cancel_futures=True)

    async def _aside(self, work: Callable[[_A], _B], argument: _A) -> _B:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, argument)

    async def _attempt(self, pipeline: RankingPipeline) -> timedelta:
        """Take one step with a pipeline; how long to wait until the next, 0 when there is none to take."""
        try:
            new = await self._aside(self._renewed, pipeline)
        except RecsysError as error:
            _log.error("changes of the catalogue wait", version=pipeline.version, reason=str(error))
            return _AFTER_FAILURE
        if new is pipeline:
            return timedelta(0)
        if new is not None and self._pipelines.replace(pipeline, new):
            _log.info("the catalogue changed", version=new.version, sequence=new.changed_through)
        return _AGAIN

    def _renewed(self, old: RankingPipeline) -> RankingPipeline | None:
        """A pipeline with the next changes, the old one if there are none, ``None`` while texts are read."""
        changes = self._changes.since(old.changed_through)[:_MOST_CHANGES]
        if not changes:
            return old
        texts = old.unread_texts(changes)
        if len(texts) > _MOST_UNREAD:
            changes = changes[:_MOST_UNREAD]
            texts = old.unread_texts(changes)
        vectors = self._texts.find(old.version, texts) if texts else {}
        if len(vectors) < len(texts):
            return None
        started, cpu = time.monotonic(), time.thread_time()
        new = old.with_changes(changes, vectors)
        self._warm(new)
        new.withdraw(self._changes.since(new.withdrawn_through))
        _log.debug(
            "a pipeline with changes",
            num_changes=len(changes),
            seconds=round(time.monotonic() - started, 3),
            cpu_seconds=round(time.thread_time() - cpu, 3),
        )
        return new
