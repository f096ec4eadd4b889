"""Reads approved blurbs for answers, on the threads that rank: from memory, and what lacks in one batch.

What is kept in memory is worth something only while somebody watches the store's version: ``serving.
blurb_watch`` says which version it saw and when. After a change everything is forgotten, and so it is when
nobody could look for a while, for a text may have been revoked meanwhile.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Final

import structlog

from recsys.blurbs.row import BlurbRow, BlurbSlot
from serving.blocking_cluster import BlockingClient
from serving.blurb_ask import NO_MODEL, BlurbAsk
from serving.blurb_store import BlurbKeys, BlurbStore
from serving.breaker import Breaker
from serving.cluster_client import STORE_ERRORS

MAX_KEPT: Final = 20_000
"""Most items, each with one kind of ask, that are kept in memory, at about 1 KB where there is a text."""
TRUSTED_SECONDS: Final = 3.0
"""How long after a look at the version what is in memory may be shown. With the time of a look itself, a
revoked text is gone within 5 s even where the store does not answer any more."""
_ABSENT_SECONDS: Final = 30.0

Rows = tuple[tuple[BlurbSlot, BlurbRow], ...]
"""What was found for an item, preferred ones first."""
_log = structlog.get_logger(__name__)


class Shelf:
    """What is in memory under one version of the store; several threads may use it."""

    def __init__(self, version: int, most: int = MAX_KEPT) -> None:
        self.version = version
        self._most = most
        self._kept: dict[tuple[str, str], tuple[Rows, float]] = {}
        self._lock = threading.Lock()

    def find(self, ask: str, item_ids: Sequence[str]) -> tuple[dict[str, Rows], list[str]]:
        """Rows by item, none where it is known that there are none; and the items of which nothing is known.

        Args:
            ask: See ``BlurbAsk.shelf``.
            item_ids: The items.
        """
        found, lacking, now = {}, [], time.monotonic()
        for item_id in item_ids:
            kept = self._kept.get((ask, item_id))
            if kept is None or kept[1] < now:
                lacking.append(item_id)
            else:
                found[item_id] = kept[0]
        return found, lacking

    def put(self, ask: str, rows: Mapping[str, Rows]) -> None:
        """Keep what was read; that there is nothing, for a short while only."""
        absent_until = time.monotonic() + _ABSENT_SECONDS
        with self._lock:
            if len(self._kept) + len(rows) > self._most:
                for oldest in list(islice(self._kept, max(len(rows), self._most // 4))):
                    del self._kept[oldest]
            for item_id, found in rows.items():
                self._kept.pop((ask, item_id), None)  # so that it is the newest
                self._kept[ask, item_id] = found, float("inf") if found else absent_until


class BlurbReader:
    """Reads one tenant's blurbs; several threads may."""

    def __init__(self, client: BlockingClient, store: BlurbStore, tenant: str) -> None:
        """Trust nothing yet, see ``trust``.

        Args:
            client: Its timeout is the longest that one read waits.
            store: Decodes what is read.
            tenant: Whose blurbs.
        """
        self._client, self._store, self._keys = client, store, BlurbKeys(tenant)
        self._shelf = Shelf(-1)
        self._trusted_until = float("-inf")
        self.breaker = Breaker()
        self.num_failed = 0
        """Reads that the store did not answer in time, since the start."""

    @property
    def version(self) -> int:
        """The store's version that was seen last; -1 before the first."""
        return self._shelf.version

    def trust(self, version: int, looked: float) -> bool:
        """Take note of the store's version; whether it is another one, so that all is forgotten.

        Args:
            version: The version.
            looked: When the look began, by ``time.monotonic``.
        """
        is_new = version != self._shelf.version
        if is_new:  # what is being read now goes into the old shelf, which nobody reads any more
            self._shelf = Shelf(version)
        self._trusted_until = looked + TRUSTED_SECONDS
        return is_new

    def read(self, ask: BlurbAsk, segment: str, item_ids: Sequence[str]) -> dict[str, Rows]:
        """Approved rows of items, preferred ones first; none while the store does not answer.

        Args:
            ask: What is wanted.
            segment: Of whom, or ``ANYBODY``.
            item_ids: The items.
        """
        if ask.policy == NO_MODEL:
            return {}
        shelf, kind = self._shelf, ask.shelf(segment)
        if time.monotonic() > self._trusted_until:
            return {}
        found, lacking = shelf.find(kind, item_ids)
        if not lacking:
            return found
        if self.breaker.is_open():
            return found
        try:
            fetched = self._fetch(ask, segment, lacking)
        except STORE_ERRORS as error:
            self.num_failed += 1
            if self.breaker.failed():
                _log.warning("answers have no blurbs but the items' own words", error=type(error).__name__)
            return found
        self.breaker.succeeded()
        shelf.put(kind, fetched)
        return found | fetched

    def _fetch(self, ask: BlurbAsk, segment: str, item_ids: Sequence[str]) -> dict[str, Rows]:
        slots = [ask.slots(item_id, segment) for item_id in item_ids]
        raw = iter(self._client.mget([self._keys.blurb(slot) for of_item in slots for slot in of_item]))
        found = {}
        for item_id, of_item in zip(item_ids, slots, strict=True):
            rows = [(slot, self._store.decoded(next(raw))) for slot in of_item]
            found[item_id] = tuple([(slot, row) for slot, row in rows if row is not None])
        return found
