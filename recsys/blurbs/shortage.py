"""What a shop lacks, most shown items first: slots without a text, or with one that is due for another."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final

import polars as pl

from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.entry import Entry, Request
from recsys.blurbs.facts import Facts
from recsys.blurbs.generator import Generator, wall_ms
from recsys.blurbs.revalidation import Revalidation
from recsys.blurbs.row import ANYBODY, BlurbSlot, Source
from recsys.event_log import EventLog
from recsys.schema import EVENT_TYPE, IMPRESSION, ITEM_ID
from recsys.workspace import Workspace

NUM_SHOWN: Final = "num_shown"
"""Column with how often an item was shown or, in a log without impressions, touched."""


def by_demand(workspace: Workspace, items: pl.DataFrame) -> pl.DataFrame:
    """Items with ``num_shown``, those that were shown most first; the rest by id.

    Args:
        workspace: Whose log counts.
        items: Columns of ``ITEM_SCHEMA``.

    Raises:
        DataError: The log is damaged.
    """
    events = EventLog(workspace.events).scan()
    is_shown = pl.col(EVENT_TYPE) == IMPRESSION
    counts = events.group_by(ITEM_ID).agg(is_shown.sum().alias("shown"), pl.len().alias("touched")).collect()
    column = "shown" if counts["shown"].sum() else "touched"
    shown = counts.select(ITEM_ID, pl.col(column).cast(pl.Int64).alias(NUM_SHOWN))
    return (
        items.join(shown, on=ITEM_ID, how="left")
        .with_columns(pl.col(NUM_SHOWN).fill_null(0))
        .sort([NUM_SHOWN, ITEM_ID], descending=[True, False])
    )


class Shortage:
    """Goes through items; texts that are due are checked again on the way."""

    def __init__(self, generator: Generator, revalidation: Revalidation, config: BlurbConfig) -> None:
        self._generator, self._revalidation, self._config = generator, revalidation, config
        self.num_checked = 0
        """Texts that were checked again."""

    def requests(self, rows: Iterable[Mapping[str, Any]], segment: str) -> Iterator[Request]:
        """What to ask for.

        Args:
            rows: Items with ``num_shown``, see ``by_demand``, in the order of their turn.
            segment: For whom.
        """
        off = self._generator.book.switches()
        for row in rows:
            facts = Facts.of(row)
            if off.hide(facts.item_id, facts.category_path, facts.seller):
                continue
            for language in self._config.languages:
                slot = BlurbSlot(facts.item_id, language, segment, self._config.length, self._config.policy)
                if self._is_missing(facts, slot):
                    yield self._generator.request(facts, slot, float(row[NUM_SHOWN]))

    def wanted(
        self, slots: Iterable[tuple[BlurbSlot, int]], rows: Mapping[str, Mapping[str, Any]]
    ) -> Iterator[Request]:
        """What to ask for because lists lacked it.

        Args:
            slots: With the times that each would have been shown, see ``recsys.blurbs.wanted``.
            rows: Items by id, at least those of the slots that are still there.
        """
        off = self._generator.book.switches()
        for slot, impressions in slots:
            is_made = slot.language in self._config.languages and slot.policy == self._config.policy
            if (
                slot.item_id not in rows
                or not is_made
                or slot.segment not in {ANYBODY, *self._config.segments}
            ):
                continue
            facts = Facts.of(rows[slot.item_id])
            is_off = off.hide(facts.item_id, facts.category_path, facts.seller)
            if not is_off and self._is_missing(facts, slot):
                yield self._generator.request(facts, slot, float(impressions))

    def _is_missing(self, facts: Facts, slot: BlurbSlot) -> bool:
        entry = self._generator.book.approved(slot)
        if entry is None:
            return True
        if self._revalidation.is_due(entry, facts):
            self.num_checked += 1
            if not self._revalidation.check(entry, facts):
                return True
        if entry.stale_until <= wall_ms():
            return True  # of facts that changed since; only a text of today's facts is fresh again
        return not self._is_kept(entry, facts, self._generator.request(facts, slot))

    def _is_kept(self, entry: Entry, facts: Facts, asked: Request) -> bool:
        """Whether a text that fits is good enough: a person's work, or the same that would be asked for."""
        own_words = self._generator.backend.source is Source.EXTRACTIVE
        if entry.is_reviewed or (own_words and entry.source is not Source.EXTRACTIVE):
            return True
        make = entry.request.model, entry.request.prompt_version, entry.request.facts_hash
        return make == (asked.model, asked.prompt_version, facts.content_hash)
