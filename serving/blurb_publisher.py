"""Brings what the book of blurbs says into the online store, so that every process serves it or stops to.

The book's audit is the feed: each of its lines names the slot that changed. One process of those that share a
workspace is enough; a second one writes the same.
"""

import asyncio
import time

import structlog

from recsys.blurbs.book import Book
from recsys.blurbs.row import BlurbRow, BlurbSlot
from recsys.blurbs.switches import OffSwitches
from recsys.errors import BlurbError, StoreError
from serving.blurb_store import BlurbWriter

EVERY_SECONDS = 1.0
"""How often the book is looked at. Readers look for the store's version as often, so that a blurb that is
revoked is gone within 5 s."""

_log = structlog.get_logger(__name__)


class BlurbPublisher:
    """Follows one book."""

    def __init__(self, book: Book, writer: BlurbWriter) -> None:
        """Say from where to where; both stay the caller's to close."""
        self._book, self._writer = book, writer
        self._book_id = book.file.book_id
        self._off: OffSwitches | None = None
        self._failing = False

    def publish(self) -> int:
        """Bring the store up to date; from a thread.

        A store that never saw this book, or was emptied since, gets everything.

        Returns:
            How many slots were written.

        Raises:
            BlurbError: The book cannot be read.
            StoreError: The store did not answer; the next call goes on from where this one began.
        """
        since = self._published_until()
        if since is None:
            self._writer.clear()
            self._off = None
        off = self._book.switches()
        if off != self._off:
            self._writer.switch(off)
            self._off = off
        last, slots = self._book.changes(since or 0)
        self._writer.publish({slot: self._row(slot) for slot in slots})
        if last != since:
            self._writer.mark(f"{self._book_id}:{last}")
        return len(slots)

    async def run(self, every_seconds: float = EVERY_SECONDS) -> None:
        """Publish until cancelled; failures are reported once and tried again."""
        while True:
            try:
                await asyncio.to_thread(self.publish)
                self._failing = False
            except (BlurbError, StoreError) as error:
                self._off = None  # the store may come back empty
                if not self._failing:
                    _log.warning("blurbs cannot be published; tried again", reason=str(error))
                self._failing = True
            await asyncio.sleep(every_seconds)

    def _published_until(self) -> int | None:
        marker = self._writer.marker() or ""
        book_id, _, sequence = marker.partition(":")
        return int(sequence) if book_id == self._book_id and sequence.isdecimal() else None

    def _row(self, slot: BlurbSlot) -> BlurbRow | None:
        entry = self._book.approved(slot)
        if entry is None or entry.stale_until <= time.time() * 1000:
            return None
        return entry.row()
