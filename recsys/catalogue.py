"""The catalogue in memory: items by position, with the codes that features and candidates work on.

Items are sorted by id, so a position is stable for a given set of items and ties by position are ties by id.
Items and texts that come later, see ``with_changes``, stand behind all others: no position ever moves.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache

import numpy as np
import polars as pl
from jaxtyping import Bool, Float64, Int32, Int64
from scipy import sparse

from recsys.item_filter import compile_filter
from recsys.schema import AVAILABLE, BRAND, CATEGORY, ITEM_ID
from recsys.strings import GrownTexts
from recsys.text import item_texts
from recsys.traits import shared_words, standard_numbers
from recsys.word_index import WordIndex

PATH_SEPARATOR = " > "
_NUM_FILTERS = 64
"""Filters whose matching items are remembered, at a byte per item each."""
ATTRIBUTE_NAMES = ("category", "parent_category", "brand")
"""Attributes that user-attribute sums are kept for: category path, path without its leaf, brand."""


@dataclass(frozen=True, eq=False)
class Catalogue:
    """Items with their texts and attribute codes."""

    frame: pl.DataFrame
    """One row per item, columns of ``recsys.schema.ITEM_SCHEMA``, sorted by item id but for later ones."""
    item_ids: list[str] = field(init=False)
    position: dict[str, int] = field(init=False)
    deleted: dict[str, int] = field(init=False)
    """Positions of items that were taken out: what was fitted on them stays, nobody finds them by id."""

    def __post_init__(self) -> None:
        frame = self.frame if self.frame[ITEM_ID].is_sorted() else self.frame.sort(ITEM_ID)
        item_ids = frame[ITEM_ID].to_list()
        object.__setattr__(self, "frame", frame)
        object.__setattr__(self, "item_ids", item_ids)
        object.__setattr__(self, "position", {item_id: i for i, item_id in enumerate(item_ids)})
        object.__setattr__(self, "deleted", {})

    def with_changes(self, rows: pl.DataFrame) -> "Catalogue":
        """The catalogue with items replaced, or added behind all others; texts likewise.

        An item that was deleted and comes again has its old position.

        Args:
            rows: Columns of ``recsys.schema.ITEM_SCHEMA``, ids distinct.
        """
        ids = rows[ITEM_ID].to_list()
        deleted = dict(self.deleted)  # both may change meanwhile, see ``withdraw``
        known = deleted | self.position
        at = np.fromiter((known.get(item_id, -1) for item_id in ids), np.int64, len(ids))
        new = np.flatnonzero(at < 0)
        at[new] = len(self) + np.arange(len(new))
        found = object.__new__(Catalogue)
        added = [ids[row] for row in new.tolist()]
        facts = {
            "frame": self._frame_with(rows, at),
            "item_ids": [*self.item_ids, *added],
            "position": self.position | dict(zip(ids, at.tolist(), strict=True)),
            "deleted": {item_id: deleted[item_id] for item_id in deleted.keys() - set(ids)},
            "_texts": self._texts_with(item_texts(rows).to_list(), at, len(new)),
        }
        vars(found).update(facts)
        later = found.texts[len(self.texts) :]
        vars(found)["word_index"] = self.word_index.extended(later) if later else self.word_index
        return found

    def _frame_with(self, rows: pl.DataFrame, at: Int64[np.ndarray, " rows"]) -> pl.DataFrame:
        both = pl.concat([self.frame, rows])
        if np.array_equal(at, len(self) + np.arange(rows.height)):
            return both  # nothing is replaced, so nothing need be copied
        source = np.arange(int(max(len(self), at.max(initial=-1) + 1)))
        source[at] = len(self) + np.arange(rows.height)
        return both[source]

    def _texts_with(
        self, theirs: list[str], at: Int64[np.ndarray, " rows"], num_new: int
    ) -> tuple[GrownTexts, Int32[np.ndarray, " items"]]:
        before, text_of_item = self._texts
        texts = GrownTexts.of(before).with_more(theirs)
        grown = np.concatenate((text_of_item, np.zeros(num_new, np.int32)))
        grown[at] = [texts.find(text) for text in theirs]
        return texts, grown

    def withdraw(self, item_ids: Collection[str], deleted: Collection[str] = ()) -> None:
        """Let items not be sold from now on, in place: requests that are under way do not offer them either.

        Args:
            item_ids: Items that stay but are not available; unknown ones are ignored.
            deleted: Items that nobody may find by their ids any more.
        """
        for item_id in item_ids:
            if (position := self.position.get(item_id)) is not None:
                self.available[position] = False
        for item_id in deleted:
            if (position := self.position.get(item_id)) is not None:
                self.available[position] = False
                self.deleted[item_id] = position
                del self.position[item_id]

    def __len__(self) -> int:
        return len(self.item_ids)

    def positions(self, item_ids: Sequence[str]) -> Int64[np.ndarray, " ids"]:
        """Position of each id, -1 where the catalogue does not hold it."""
        find = self.position.get
        return np.fromiter((find(item_id, -1) for item_id in item_ids), np.int64, len(item_ids))

    @cached_property
    def _texts(self) -> tuple[Sequence[str], Int32[np.ndarray, " items"]]:
        texts = item_texts(self.frame)
        distinct = texts.unique().sort()
        return distinct.to_list(), distinct.search_sorted(texts).to_numpy().astype(np.int32)

    @property
    def texts(self) -> Sequence[str]:
        """Distinct item texts, sorted but for later ones; some may be no item's any more."""
        return self._texts[0]

    @property
    def text_of_item(self) -> Int32[np.ndarray, " items"]:
        """Position in ``texts`` per item."""
        return self._texts[1]

    @cached_property
    def items_by_text(self) -> tuple[Int64[np.ndarray, " items"], Int64[np.ndarray, " texts_and_one"]]:
        """Items grouped by text: item positions, and where each text's group starts (one more at the end)."""
        order = np.argsort(self.text_of_item, kind="stable")
        starts = np.searchsorted(self.text_of_item[order], np.arange(len(self.texts) + 1))
        return order, starts

    @cached_property
    def word_index(self) -> WordIndex:
        """Which of ``texts`` have which words."""
        return WordIndex.of(self.texts)

    def items_of_texts(
        self, texts: Int64[np.ndarray, " texts"], popularity: Float64[np.ndarray, " items"]
    ) -> Int64[np.ndarray, " found"]:
        """Items of some texts, in the texts' order, most popular first within each.

        Of the items that nobody wants, a text offers one at most, so that they do not crowd out the next.

        Args:
            texts: Positions in ``texts``.
            popularity: Per catalogue position.
        """
        items, starts = self.items_by_text
        sizes = starts[texts + 1] - starts[texts]
        firsts = np.repeat(np.cumsum(sizes) - sizes, sizes)
        place_in_text = np.arange(int(sizes.sum())) - firsts
        positions = items[np.repeat(starts[texts], sizes) + place_in_text]
        order = np.lexsort((positions, -popularity[positions], np.repeat(np.arange(len(texts)), sizes)))
        keep = (place_in_text == 0) | (popularity[positions[order]] > 0)
        found: Int64[np.ndarray, " found"] = positions[order][keep]
        return found

    @cached_property
    def attribute_codes(self) -> dict[str, Int32[np.ndarray, " items"]]:
        """Per attribute name, a code per item, -1 where the item lacks it."""
        path = pl.when(pl.col(CATEGORY).list.len() > 0).then(pl.col(CATEGORY).list.join(PATH_SEPARATOR))
        levels = pl.col(CATEGORY).list.head(pl.col(CATEGORY).list.len().cast(pl.Int64) - 1)
        parent = pl.when(pl.col(CATEGORY).list.len() > 1).then(levels.list.join(PATH_SEPARATOR))
        values = self.frame.select(category=path, parent_category=parent, brand=pl.col(BRAND))
        return {name: _codes(values[name]) for name in ATTRIBUTE_NAMES}

    @cached_property
    def num_attribute_values(self) -> dict[str, int]:
        """Distinct values per attribute name."""
        return {name: int(codes.max(initial=-1)) + 1 for name, codes in self.attribute_codes.items()}

    @cached_property
    def shared_words(self) -> sparse.csr_array:
        """Tags, category levels and brand of every item, see ``recsys.traits``."""
        return shared_words(self.frame)

    @cached_property
    def numbers(self) -> Float64[np.ndarray, "items numbers"]:
        """Standardised numbers of every item, see ``recsys.traits``."""
        return standard_numbers(self.frame)

    @cached_property
    def available(self) -> Bool[np.ndarray, " items"]:
        """Whether each item can be sold."""
        available: Bool[np.ndarray, " items"] = self.frame[AVAILABLE].fill_null(value=True).to_numpy().copy()
        available[list(self.deleted.values())] = False
        return available

    def matching(self, item_filter: str) -> Bool[np.ndarray, " items"]:
        """Whether each item matches a filter; the latest filters are remembered.

        Raises:
            InvalidRequestError: It cannot be read, see ``recsys.item_filter.compile_filter``.
        """
        return self._matching(item_filter)

    @cached_property
    def _matching(self) -> Callable[[str], Bool[np.ndarray, " items"]]:
        def matching(item_filter: str) -> Bool[np.ndarray, " items"]:
            frame = self.frame.select(matching=compile_filter(item_filter))
            found: Bool[np.ndarray, " items"] = frame["matching"].to_numpy()
            return found

        return lru_cache(_NUM_FILTERS)(matching)


def _codes(values: pl.Series) -> Int32[np.ndarray, " items"]:
    distinct = values.drop_nulls().unique().sort()
    codes = distinct.search_sorted(values.fill_null("")).to_numpy().astype(np.int32)
    return np.where(values.is_null().to_numpy(), np.int32(-1), codes)
