"""The blurbs of a list: approved ones that still say what is so, else the items' own words.

They are added to a list that is ranked already. Nothing here changes an order, waits longer than one short
read of the store, or fails an answer.
"""

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final

import structlog

from recsys.answer import RankedList
from recsys.blurbs.row import BlurbRow, BlurbSlot, Source
from recsys.blurbs.switches import OffSwitches
from recsys.blurbs.trimming import trimmed
from recsys.blurbs.withdrawn import Withdrawn
from serving.blurb_ask import BlurbAsk
from serving.blurb_list import Freshness, ListBlurbs, ShownBlurb
from serving.blurb_reader import BlurbReader, Rows
from serving.blurb_wishes import BlurbWishes
from serving.call import note_blurbs
from serving.item_words import ItemWords, ItemWordsCache
from serving.ranking_pipeline import RankingPipeline
from serving.segment_choices import SegmentChoices

NO_TEXT: Final = "NONE"
"""Stands for the source where an item has no blurb, in what is counted."""
_OWN_WORDS: Final = str(Source.EXTRACTIVE), str(Freshness.FALLBACK)
_NOTHING_OFF: Final = OffSwitches()
_NOTHING_WITHDRAWN: Final = Withdrawn()
_log = structlog.get_logger(__name__)


class Blurbs:
    """Finds the blurbs of lists; several threads may."""

    def __init__(
        self, reader: BlurbReader, words: ItemWordsCache, segments: SegmentChoices, wishes: BlurbWishes
    ) -> None:
        self.reader = reader
        self._words, self._segments, self._wishes = words, segments, wishes
        self._off, self._hidden, self._withdrawn = OffSwitches(), frozenset[str](), Withdrawn()
        self.num_broken = 0
        """Lists whose blurbs could not be found because of a fault of ours, since the start."""

    def use(
        self, off: OffSwitches, hidden: frozenset[str], withdrawn: Withdrawn = _NOTHING_WITHDRAWN
    ) -> None:
        """From now on, show nothing of what is turned off or hidden.

        Args:
            off: The switches.
            hidden: Ids of blurbs.
            withdrawn: What no line of the items' own words may say.
        """
        self._off, self._hidden, self._withdrawn = off, hidden, withdrawn

    def new_names(self) -> set[str]:
        """Ids of the lines of items' own words that were cut since the last time."""
        return self._words.new_names()

    def of_list(self, ask: BlurbAsk, pipeline: RankingPipeline, ranked: RankedList) -> ListBlurbs:
        """The blurbs of a list that was just ranked.

        Args:
            ask: What is wanted.
            pipeline: Who ranked it.
            ranked: The list.
        """
        segment = ask.segment
        if segment is None:
            segment = self._segments.choose(pipeline.version, ranked.interest)
        return self.of_items(ask, pipeline, [item.item_id for item in ranked.items], segment)

    def of_items(
        self, ask: BlurbAsk, pipeline: RankingPipeline, item_ids: Sequence[str], segment: str
    ) -> ListBlurbs:
        """The blurbs of items.

        Args:
            ask: What is wanted; its segment is not read.
            pipeline: Whose catalogue.
            item_ids: The items.
            segment: Of whom, or ``ANYBODY``.
        """
        try:
            found, lacking = self._of_items(ask, pipeline, item_ids, segment)
            if lacking and (wish := self._wishes.wish(ask, segment)) is not None:
                self._wishes.note(wish, lacking)
            _count(found.shown, len(item_ids))
            return found
        except Exception:  # noqa: BLE001  # a list without blurbs is a list
            return self._broken(segment)

    def again(
        self, ask: BlurbAsk, pipeline: RankingPipeline, item_ids: Sequence[str], segment: str
    ) -> ListBlurbs:
        """The same, for items that were looked at before: nothing is counted again."""
        try:
            return self._of_items(ask, pipeline, item_ids, segment)[0]
        except Exception:  # noqa: BLE001  # as above
            return self._broken(segment)

    def _broken(self, segment: str) -> ListBlurbs:
        if not self.num_broken:
            _log.exception("lists go without blurbs")
        self.num_broken += 1
        return ListBlurbs(segment=segment)

    def _of_items(
        self, ask: BlurbAsk, pipeline: RankingPipeline, item_ids: Sequence[str], segment: str
    ) -> tuple[ListBlurbs, list[str]]:
        """The blurbs, and the items that are known to lack the one that was wanted."""
        rows = self.reader.read(ask, segment, item_ids)
        approved = {item_id for item_id, found in rows.items() if found}
        off, words = self._off, self._words.of_items(pipeline, item_ids, approved)
        if off != _NOTHING_OFF:
            words = {
                item_id: of_item
                for item_id, of_item in words.items()
                if not off.hide(item_id, of_item.category, of_item.seller)
            }
        shown: dict[str, ShownBlurb] = {}
        lacking: list[str] = []
        now_ms, wish = round(time.time() * 1000), self._wishes.wish(ask, segment)
        for item_id, of_item in words.items():
            blurb, slot = self._blurb(ask, of_item, rows.get(item_id, ()), now_ms)
            if blurb is not None:
                shown[item_id] = blurb
            if wish is not None and (blurb is None or not wish.is_met(slot, blurb.freshness)):
                lacking.append(item_id)
        known_to = [item_id for item_id in lacking if item_id in rows]
        return ListBlurbs(shown, segment, tuple(lacking)), known_to

    def _blurb(
        self, ask: BlurbAsk, words: ItemWords, rows: Rows, now_ms: int
    ) -> tuple[ShownBlurb | None, BlurbSlot | None]:
        """What is shown of an item, and the slot that it was approved for."""
        for slot, row in rows:
            if (
                row.facts_hash == words.facts_hash
                and now_ms < row.stale_until
                and row.blurb_id not in self._hidden
                and ask.allows(row)
                and (text := trimmed(row.text, ask.max_chars))
            ):
                return _approved(row, text, ask, is_fresh=now_ms < row.fresh_until), slot
        return self._own_words(ask, words), None

    def _own_words(self, ask: BlurbAsk, words: ItemWords) -> ShownBlurb | None:
        length = ask.lengths[0]
        text, name = words.lines.get(length, ""), words.names.get(length)
        if not text or name is None or name in self._hidden or not ask.takes(words.language):
            return None
        if self._withdrawn.has(words.heads[length], text):
            return None
        text = trimmed(text, ask.max_chars)
        if not text:
            return None
        return ShownBlurb(text, Source.EXTRACTIVE, Freshness.FALLBACK, words.language, name)


def _approved(row: BlurbRow, text: str, ask: BlurbAsk, *, is_fresh: bool) -> ShownBlurb:
    is_model = row.ai_generated
    return ShownBlurb(
        text,
        row.source,
        Freshness.FRESH if is_fresh else Freshness.STALE,
        row.language,
        row.blurb_id,
        is_model,
        row.model if is_model else "",
        row.prompt_version if is_model else "",
        row.generated_at,
        row.fact_ids if ask.with_facts else (),
    )


def _count(shown: Mapping[str, ShownBlurb], num_items: int) -> None:
    approved = [blurb for blurb in shown.values() if blurb.freshness is not Freshness.FALLBACK]
    found = Counter((str(blurb.source), str(blurb.freshness)) for blurb in approved)
    if len(shown) > len(approved):
        found[_OWN_WORDS] = len(shown) - len(approved)
    if num_items > len(shown):
        found[NO_TEXT, str(Freshness.FALLBACK)] = num_items - len(shown)
    note_blurbs(found)
