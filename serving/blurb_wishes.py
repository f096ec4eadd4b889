"""Counts the blurbs that lists lacked, in memory, until somebody writes them down off the request path."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from recsys.blurbs.configuration import BlurbConfig
from recsys.blurbs.row import BlurbSlot
from serving.blurb_ask import BlurbAsk
from serving.blurb_list import Freshness

MAX_WISHES: Final = 10_000
"""About the most slots that are counted between two writes; what comes beyond is not."""
MAX_LISTS: Final = 2_000
"""Most lists that are noted between two writes."""


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
        self._noted: list[tuple[Wish, Sequence[str]]] = []

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
        """One more list lacked the blurbs of these items; they are counted when somebody takes them."""
        if item_ids and len(self._noted) < MAX_LISTS:
            self._noted.append((wish, item_ids))

    def take(self) -> Counter[BlurbSlot]:
        """What has been noted since the last time, ``MAX_WISHES`` slots at most."""
        noted, self._noted = self._noted, []
        counts = Counter[BlurbSlot]()
        for wish, item_ids in noted:
            counts.update(
                BlurbSlot(item_id, wish.language, wish.segment, self._config.length, self._config.policy)
                for item_id in item_ids
            )
            if len(counts) >= MAX_WISHES:
                break
        return counts
