"""What an item's own fields say, kept per item: the hash of its facts, and lines cut from its words.

Lines are cut and judged aside, in ``serving.words_thread``: an item of which nothing is known yet has none.
"""

import threading
import time
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final, NamedTuple, TypeVar

from recsys.blurbs.facts import Facts
from recsys.schema import ITEM_ID, LANGUAGE
from serving.ranking_pipeline import RankingPipeline

MAX_KEPT: Final = 20_000
"""Most items that are kept, at about 1 KB each."""
_AGAIN_SECONDS: Final = 1.0
_Key = TypeVar("_Key")
_Value = TypeVar("_Value")

Row = Mapping[str, object]
"""An item as the catalogue has it."""
Ask = Callable[[int, Row], None]
"""Wants the lines of a row, by its digest, see ``ItemWordsCache.put``; returns at once."""


@dataclass(frozen=True, slots=True)
class ItemWords:
    """What blurbs need of one item as it is now."""

    facts_hash: str
    category: tuple[str, ...]
    seller: str | None
    language: str
    """BCP 47 tag of the item's texts, ``""`` where the catalogue does not tell."""
    lines: Mapping[str, str]
    """By length class; none or ``""`` where the item has no words that may be shown."""
    names: Mapping[str, str]
    """Blurb id of each line; cuts of one line at different lengths may share it."""
    heads: Mapping[str, str]
    """How each line begins, see ``recsys.blurbs.withdrawn.text_head``."""

    @classmethod
    def without_lines(cls, facts: Facts, row: Row) -> "ItemWords":
        """What the facts alone tell."""
        language = str(row.get(LANGUAGE) or "")
        return cls(facts.content_hash, facts.category_path, facts.seller, language, {}, {}, {})


class _Seen(NamedTuple):
    """A row when it was read last."""

    changed_through: int
    digest: int
    again_at: float
    """When its lines are asked for again if they were not made, by ``time.monotonic``."""


class ItemWordsCache:
    """Reads items off pipelines and keeps what was made of them; several threads may."""

    def __init__(self, ask: Ask, *, most: int = MAX_KEPT) -> None:
        """Keep nothing yet.

        Args:
            ask: Has the lines of an item made, which ``put`` takes.
            most: Most items that are kept.
        """
        self._ask, self._most = ask, most
        self._seen: dict[tuple[str, str], _Seen] = {}
        self._made: dict[int, ItemWords] = {}
        self._facts: dict[int, ItemWords] = {}
        self._lock = threading.Lock()
        self._new_names: set[str] = set()

    def of_items(
        self, pipeline: RankingPipeline, item_ids: Sequence[str], at_once: Container[str] = ()
    ) -> dict[str, ItemWords]:
        """The words of items of the catalogue as they are now, as far as they were made.

        Args:
            pipeline: Whose catalogue.
            item_ids: The items.
            at_once: Of these at least the facts, which takes a fifth of a millisecond for a new item.
        """
        version, through, now = pipeline.version, pipeline.changed_through, time.monotonic()
        found, unread = {}, []
        for item_id in item_ids:
            seen = self._seen.get((version, item_id))
            if seen is None or seen.changed_through != through:
                unread.append(item_id)
            elif (words := self._made.get(seen.digest)) is not None:
                found[item_id] = words
            elif now > seen.again_at:
                unread.append(item_id)
            elif (words := self._facts.get(seen.digest)) is not None:
                found[item_id] = words
            elif item_id in at_once:
                unread.append(item_id)
        for row in pipeline.items(unread) if unread else ():
            item_id, digest = str(row[ITEM_ID]), hash(repr(row))
            self._keep(self._seen, (version, item_id), _Seen(through, digest, now + _AGAIN_SECONDS))
            words = self._made.get(digest)
            if words is None:
                self._ask(digest, row)
                words = self._of_facts(digest, row) if item_id in at_once else None
            if words is not None:
                found[item_id] = words
        return found

    def put(self, digest: int, words: ItemWords) -> None:
        """Keep what was made of a row."""
        self._keep(self._made, digest, words)
        with self._lock:
            self._new_names.update(filter(None, words.names.values()))
            self._facts.pop(digest, None)

    def new_names(self) -> set[str]:
        """Ids of the lines that were cut since the last time."""
        with self._lock:
            found, self._new_names = self._new_names, set()
        return found

    def _of_facts(self, digest: int, row: Row) -> ItemWords:
        words = self._facts.get(digest)
        if words is None:
            words = ItemWords.without_lines(Facts.of(row), row)
            self._keep(self._facts, digest, words)
        return words

    def _keep(self, kept: dict[_Key, _Value], key: _Key, value: _Value) -> None:
        with self._lock:
            if len(kept) >= self._most:
                for oldest in list(islice(kept, max(1, self._most // 4))):
                    del kept[oldest]
            kept.pop(key, None)  # so that it is the newest
            kept[key] = value
