"""Looks at the store's blurbs about once a second: has anything changed, what is off, what is hidden.

So what is revoked is gone from this process within the time of two looks, and within ``blurb_reader.
TRUSTED_SECONDS`` where the store does not answer any more. What lists lacked is written down here too.
"""

import asyncio
import time
from collections.abc import Callable

import structlog

from recsys.blurbs.wanted import WantedBlurbs
from recsys.errors import BlurbError, StoreError
from serving.blurb_reports import BlurbReports
from serving.blurb_store import BlurbStore
from serving.blurb_wishes import BlurbWishes
from serving.blurbs import Blurbs

EVERY_SECONDS = 1.0
"""Time between two looks."""
_log = structlog.get_logger(__name__)


class BlurbWatch:
    """Keeps the blurbs of one process up to date; for the event loop."""

    def __init__(
        self,
        store: BlurbStore,
        reports: BlurbReports,
        blurbs: Blurbs,
        wishes: BlurbWishes,
        wanted: Callable[[], WantedBlurbs],
    ) -> None:
        """Say what to look at.

        Args:
            store: The published blurbs.
            reports: Says what is hidden.
            blurbs: What is kept up to date.
            wishes: What lists lacked.
            wanted: Opens the file where that is written down; called in a thread, when there is something.
        """
        self._store, self._reports, self._blurbs = store, reports, blurbs
        self._wishes, self._open = wishes, wanted
        self._wanted: WantedBlurbs | None = None
        self._names: set[str] = set()
        self._is_away = self._fails = False
        self._changed = asyncio.Event()

    async def run(self) -> None:
        """Look until cancelled."""
        try:
            while True:
                await self.look()
                await asyncio.to_thread(self._write_down)
                await asyncio.sleep(EVERY_SECONDS)
        finally:
            if self._wanted is not None:
                self._wanted.close()

    async def look(self) -> None:
        """Take over what the store says; while it says nothing, what is kept grows old, see ``trust``."""
        looked = time.monotonic()
        try:
            self._names |= self._blurbs.new_names()
            await self._store.announce(self._names)
            self._names.clear()
            version, off = await self._store.state()
            if version != self._blurbs.reader.version:
                self._blurbs.use(off, await self._reports.hidden(), await self._store.withdrawn())
        except StoreError as error:
            if not self._is_away:
                _log.warning("blurbs cannot be watched", reason=str(error))
            self._is_away = True
            return
        self._is_away = False
        if self._blurbs.reader.trust(version, looked):
            changed, self._changed = self._changed, asyncio.Event()
            changed.set()

    async def change(self, seconds: float) -> bool:
        """Wait until blurbs change, at most so long; whether they did."""
        try:
            async with asyncio.timeout(seconds):
                return await self._changed.wait()
        except TimeoutError:
            return False

    def _write_down(self) -> None:
        wishes = self._wishes.take()
        if not wishes:
            return
        try:
            if self._wanted is None:
                self._wanted = self._open()
            self._wanted.add(wishes)
            self._fails = False
        except BlurbError as error:
            if not self._fails:
                _log.warning("nobody will know what blurbs are wanted", reason=str(error))
            self._fails = True
