"""What an item's own fields say, kept per item: the hash of its facts, and a line cut from its words.

A line cut on the spot was approved by nobody, so ``screen`` decides whether it is shown.
"""

import hashlib
import math
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from recsys.blurbs.backends.extractive import attribute_line, lead_sentence
from recsys.blurbs.facts import Facts
from recsys.blurbs.hidden import HIDDEN, HiddenAttributes
from recsys.blurbs.row import LENGTHS
from recsys.blurbs.withdrawn import text_head
from recsys.schema import ITEM_ID, LANGUAGE
from serving.engine import RankingPipeline

MAX_KEPT: Final = 20_000
"""Most items that are kept, at about 1 KB each."""

_AGAIN_SECONDS: Final = 1.0
"""How long words whose lines were not judged yet are kept: to cut them for every list would be dear."""
_MODEL: Final = "extractive"

Screen = Callable[[Facts, str, str], bool | None]
"""Whether a line of an item, in a language, may be shown; ``None`` while nobody knows, and then it is not."""


@dataclass(frozen=True, slots=True)
class ItemWords:
    """What blurbs need of one item as it is now."""

    facts_hash: str
    category: tuple[str, ...]
    seller: str | None
    language: str
    """BCP 47 tag of the item's texts, ``""`` where the catalogue does not tell."""
    lines: Mapping[str, str]
    """By length class; ``""`` where the item has no words that may be shown."""
    names: Mapping[str, str]
    """Blurb id of each line; cuts of one line at different lengths may share it."""
    heads: Mapping[str, str]
    """How each line begins, see ``recsys.blurbs.withdrawn.text_head``."""
    is_judged: bool
    """Whether the screen knew all of it."""


@dataclass(frozen=True, slots=True)
class _Kept:
    changed_through: int
    row: int
    """Hash of the catalogue's row."""
    words: ItemWords
    again_at: float
    """When the screen is asked again, by ``time.monotonic``; never, if it knew."""


class ItemWordsCache:
    """Reads items off pipelines and keeps what it made of them; several threads may."""

    def __init__(
        self,
        screen: Screen,
        *,
        most: int = MAX_KEPT,
        hidden: Iterable[str] = HIDDEN,
        again_seconds: float = _AGAIN_SECONDS,
    ) -> None:
        """Say what may be shown.

        Args:
            screen: Decides on lines.
            most: Most items that are kept.
            hidden: Words of the names of attributes that are shown to nobody.
            again_seconds: When the screen is asked again about an item of whose lines it knew nothing.
        """
        self._screen, self._most, self._again_seconds = screen, most, again_seconds
        self._hidden = HiddenAttributes.of(hidden)
        self._kept: dict[tuple[str, str], _Kept] = {}
        self._lock = threading.Lock()
        self._new_names: set[str] = set()

    def of_items(self, pipeline: RankingPipeline, item_ids: Sequence[str]) -> dict[str, ItemWords]:
        """The words of those items that the catalogue holds, as they are now."""
        version, through, now = pipeline.version, pipeline.changed_through, time.monotonic()
        found, missing = {}, []
        for item_id in item_ids:
            kept = self._kept.get((version, item_id))
            if kept is not None and kept.changed_through == through and now < kept.again_at:
                found[item_id] = kept.words
            else:
                missing.append(item_id)
        if missing:
            found |= self._read(pipeline, missing)
        return found

    def new_names(self) -> set[str]:
        """Ids of the lines that were cut since the last time."""
        with self._lock:
            found, self._new_names = self._new_names, set()
        return found

    def _read(self, pipeline: RankingPipeline, item_ids: Sequence[str]) -> dict[str, ItemWords]:
        version, through = pipeline.version, pipeline.changed_through
        found = {}
        for row in pipeline.items(item_ids):
            item_id, digest = str(row[ITEM_ID]), hash(repr(row))
            kept = self._kept.get((version, item_id))
            is_same = kept is not None and kept.row == digest and kept.words.is_judged
            words = kept.words if kept is not None and is_same else self._words(row)
            again_at = math.inf if words.is_judged else time.monotonic() + self._again_seconds
            self._keep((version, item_id), _Kept(through, digest, words, again_at))
            found[item_id] = words
        return found

    def _keep(self, key: tuple[str, str], kept: _Kept) -> None:
        with self._lock:
            if len(self._kept) >= self._most:
                for oldest in list(islice(self._kept, max(1, self._most // 4))):
                    del self._kept[oldest]
            self._kept.pop(key, None)  # so that it is the newest
            self._kept[key] = kept

    def _words(self, row: Mapping[str, object]) -> ItemWords:
        facts, language = Facts.of(row), str(row.get(LANGUAGE) or "")
        found = {name: self._line(facts, language, most_chars) for name, most_chars in LENGTHS.items()}
        lines = {name: line or "" for name, line in found.items()}
        heads = {name: text_head(facts.item_id, line) for name, line in lines.items()}
        names = {name: _line_id(heads[name]) if line else "" for name, line in lines.items()}
        with self._lock:
            self._new_names.update(filter(None, names.values()))
        return ItemWords(
            facts.content_hash,
            facts.category_path,
            facts.seller,
            language,
            lines,
            names,
            heads,
            None not in found.values(),
        )

    def _line(self, facts: Facts, language: str, most_chars: int) -> str | None:
        for line in (
            lead_sentence(facts.description, most_chars),
            attribute_line(facts, language, most_chars, self._hidden),
        ):
            may_be_shown = self._screen(facts, line, language) if line else False
            if may_be_shown is None:
                return None
            if may_be_shown:
                return line
        return ""


def _line_id(head: str) -> str:
    """The name of a line that was cut on the spot, in the form of those of texts of the book."""
    return hashlib.sha256(f"{_MODEL}\n{head}".encode()).hexdigest()[:32]
