"""Takes the later pages of erased people's lists out of the store; every server does so for its own lists.

Whoever carries an erasure out knows the lists of its own machine. The others learn of it by the tombstones
alone, within half a second. The list log keeps the ids of lists that are given up for as long as their pages
could live, and the pages are removed again and again meanwhile: a process may have written one late.
"""

import asyncio
from collections.abc import Callable
from datetime import timedelta

import structlog

from recsys.errors import RecsysError
from recsys.tombstones import Tombstones
from serving.list_log import ListLog
from serving.page_store import PageStore

_log = structlog.get_logger(__name__)
_LOOK = timedelta(milliseconds=500)
_LOOKS_BETWEEN = 20


class ErasedPages:
    """Looks after the pages of one server's lists; of several worker processes only one does."""

    def __init__(
        self,
        tombstones: Tombstones,
        list_log: ListLog,
        pages: PageStore,
        now_ms: Callable[[], int],
        time_to_live: timedelta,
    ) -> None:
        """Args: the clock that lists are served by, and how long later pages stay in the store."""
        self._tombstones, self._list_log, self._pages = tombstones, list_log, pages
        self._now_ms, self._time_to_live = now_ms, time_to_live
        self._num_erasures = self._num_looks = 0
        self._removed: set[str] = set()

    async def look(self) -> None:
        """Look once.

        Raises:
            RecsysError: The list log or the store failed; it is tried again with the next look.
        """
        num_erasures, age_ms = len(self._tombstones), round(self._time_to_live.total_seconds() * 1000)
        if num_erasures != self._num_erasures:
            await asyncio.to_thread(self._list_log.give_up, self._now_ms() - age_ms)
            self._num_erasures = num_erasures
        gone = set(await asyncio.to_thread(self._list_log.given_up, self._time_to_live))
        self._num_looks += 1
        if gone - self._removed or (gone and not self._num_looks % _LOOKS_BETWEEN):
            await self._pages.erase(sorted(gone))
        self._removed = gone

    async def run(self) -> None:
        """Look again and again until cancelled."""
        fails = False
        while True:
            try:
                await self.look()
                fails = False
            except (RecsysError, OSError) as error:
                if not fails:
                    _log.warning("later pages of erased people wait", reason=str(error))
                fails = True
            await asyncio.sleep(_LOOK.total_seconds())
