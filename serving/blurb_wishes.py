"""Counts the blurbs that lists lacked, in memory, until somebody writes them down off the request path."""

import threading
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.row import BlurbSlot
from serving.blurb_ask import BlurbAsk
from serving.blurb_list import Freshness

MAX_WISHES: Final = 10_000
"""Most slots that are counted between two writes; what comes beyond is not."""


@dataclass(frozen=True)
class Wish:
    """The blurbs that a list would best have, of those that can be made."""

    language: str
    segment: str

    def is_met(self, slot: BlurbSlot | None, freshness: Freshness) -> bool:
        """Whether what is shown is that; ``slot`` is where it came from."""
        return (
            slot is not None
            and freshness is Freshness.FRESH
            and slot.language == self.language
            and slot.segment == self.segment
        )


class BlurbWishes:
    """Counts what ``recsys blurbs generate`` could make; any thread may call any method."""

    def __init__(self, config: BlurbConfig) -> None:
        """Wish for the languages and the policy of this configuration only: others are never made."""
        self._config = config
        self._languages = {language.lower(): language for language in config.languages}
        self._counts: Counter[BlurbSlot] = Counter()
        self._lock = threading.Lock()

    def wish(self, ask: BlurbAsk, segment: str) -> Wish | None:
        """The best of what can be made for a list; ``None`` where nothing can that it would take.

        Args:
            ask: What is wanted.
            segment: Of whom.
        """
        if not ask.allow_generated or ask.policy != self._config.policy:
            return None
        made = (self._languages.get(language.lower()) for language in ask.languages)
        language = next(filter(None, made), None)
        return None if language is None else Wish(language, segment)

    def note(self, wish: Wish, item_ids: Sequence[str]) -> None:
        """One more list lacked the blurbs of these items."""
        if not item_ids:
            return
        slots = [
            BlurbSlot(item_id, wish.language, wish.segment, self._config.length, self._config.policy)
            for item_id in item_ids
        ]
        with self._lock:
            room = MAX_WISHES - len(self._counts)
            self._counts.update(slots if len(slots) <= room else [s for s in slots if s in self._counts])

    def take(self) -> Counter[BlurbSlot]:
        """What has been counted since the last time."""
        with self._lock:
            taken, self._counts = self._counts, Counter()
        return taken
