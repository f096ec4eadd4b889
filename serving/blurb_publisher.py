"""Brings what the book of blurbs says into the online store, so that every process serves it or stops to.

The book's audit is the feed: each of its lines names the slot that changed. It is read in short batches, and
before each of them comes what takes something out, so that no backlog delays that. One process of those that
share a workspace is enough; of several, each writes only where the store stands as before it read the book.
"""

import asyncio
import time
from dataclasses import replace
from itertools import count
from typing import Final

import structlog

from recsys.blurbs.book import Book
from recsys.blurbs.complaints import hold_back
from recsys.blurbs.row import BlurbRow, BlurbSlot
from recsys.blurbs.withdrawn import Withdrawn
from recsys.errors import BlurbError, StoreError
from serving.blurb_feed import BlurbFeed
from serving.blurb_store import BlurbMark, BlurbWriter, OvertakenError

EVERY_SECONDS = 1.0
"""How often the book is looked at. Readers look for the store's version as often, so that a blurb that is
revoked is gone within 5 s."""
BATCH: Final = 500
"""Most lines of the audit that are published at once."""

_ROUNDS_PER_LOOK = 30
"""How often what the store hides is compared with the book: once in so many publications."""
_UNTOLD = "hidden by shoppers' reports"

_log = structlog.get_logger(__name__)


class BlurbPublisher:
    """Follows one book."""

    def __init__(self, book: Book, writer: BlurbWriter) -> None:
        """Say from where to where; both stay the caller's to close."""
        self._book, self._writer = book, writer
        self._feed = BlurbFeed(book)
        self._failing = False

    def hold_back_hidden(self) -> int:
        """Send texts to review that the store hides and the book, which was not told, still approves.

        Called after ``publish``, from a thread.

        Returns:
            How many there were.

        Raises:
            BlurbError: The book cannot be read or written.
            StoreError: The store did not answer.
        """
        hidden, mark = self._writer.hidden(), self._writer.mark()
        if not hidden or mark is None or mark.book_id != self._book.file.book_id:
            return 0
        now_ms, as_of = round(time.time() * 1000), mark.published
        owed = 0
        for blurb_id in sorted(hidden):
            if hold_back(self._book, blurb_id, now_ms, _UNTOLD, as_of=as_of + owed):
                owed += 1  # a line of its own in the audit
        return owed

    def publish(self) -> int:
        """Bring the store up to date; from a thread.

        A store that never saw this book, or was emptied since, gets everything.

        Returns:
            How many slots were written.

        Raises:
            BlurbError: The book cannot be read.
            StoreError: The store did not answer, or another process wrote meanwhile; the next call goes on
                from where the store stands.
        """
        book_id = self._book.file.book_id
        mark, written = self._begin(book_id), set[BlurbSlot]()
        while True:
            mark, urgent = self._publish_urgent(mark)
            until, slots = self._feed.batch(mark.published, BATCH)
            written |= urgent | slots
            if until == mark.published:
                return len(written)
            rows = {slot: self._row(slot) for slot in slots}
            mark = self._writer.publish(rows, before=mark, after=replace(mark, published=until))

    async def run(self, every_seconds: float = EVERY_SECONDS) -> None:
        """Publish until cancelled; failures are reported once and tried again."""
        for round_ in count():
            try:
                await asyncio.to_thread(self.publish)
                if round_ % _ROUNDS_PER_LOOK == 0:
                    await asyncio.to_thread(self.hold_back_hidden)
                self._failing = False
            except OvertakenError:
                pass  # another process publishes the same
            except (BlurbError, StoreError) as error:
                if not self._failing:
                    _log.warning("blurbs cannot be published; tried again", reason=str(error))
                self._failing = True
            await asyncio.sleep(every_seconds)

    def _begin(self, book_id: str) -> BlurbMark:
        """How far the store is; one that has another book, or none, is emptied first."""
        mark = self._writer.mark()
        if mark is not None and mark.book_id == book_id:
            return mark
        mark = self._writer.publish({}, before=mark, after=BlurbMark("emptied"))
        mark = self._writer.clear(mark)
        off, withdrawn = self._book.switches(), Withdrawn.in_book(self._book)
        return self._writer.publish({}, before=mark, after=BlurbMark(book_id), off=off, withdrawn=withdrawn)

    def _publish_urgent(self, mark: BlurbMark) -> tuple[BlurbMark, frozenset[BlurbSlot]]:
        """Bring over switches, what is withdrawn, and the slots that people or checks decided on."""
        urgent = self._feed.urgent(mark.looked)
        if not urgent.is_any:
            return mark, urgent.slots
        off, withdrawn = self._book.switches(), Withdrawn.in_book(self._book)
        rows = {slot: self._row(slot) for slot in urgent.slots} if mark.published else {}
        after = replace(mark, looked=urgent.until)
        approved = urgent.approved
        mark = self._writer.publish(
            rows, before=mark, after=after, off=off, withdrawn=withdrawn, approved=approved
        )
        return mark, urgent.slots

    def _row(self, slot: BlurbSlot) -> BlurbRow | None:
        entry = self._book.approved(slot)
        if entry is None or entry.stale_until <= time.time() * 1000:
            return None
        return entry.row()
