"""Lists of phrases by topic, matched in one pass.

A text is looked through at the beginnings of its words only, and there only for phrases that begin with the
same two characters; a thousand phrases cost little more than ten.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple

import regex

_RAW: Final = "re:"
_WORD_START: Final = r"\b"
_BETWEEN: Final = r"[\s\-\u2010-\u2015]*+"
_HAN: Final = regex.compile(r"\p{Han}")
_START: Final = regex.compile(r"(?<![\p{L}\d])[\p{L}\d]|\p{Han}|(?<=\p{Han})[\p{L}\d]")
_PREFIX: Final = 2

_Pattern = regex.Pattern[str]


class Match(NamedTuple):
    """Where a phrase of a topic stands in a text."""

    topic: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrases:
    """Phrases, ready to match.

    Attributes:
        by_prefix: Topic and phrase, under the first two characters of each in lower case.
        topics: The topics; a topic's place names its group in the patterns.
        at_words: All regular expressions that match from the beginning of a word, or ``None``.
        anywhere: All other regular expressions, or ``None``.
    """

    by_prefix: Mapping[str, tuple[tuple[str, str], ...]]
    topics: tuple[str, ...]
    at_words: _Pattern | None
    anywhere: _Pattern | None

    @classmethod
    def of(cls, by_topic: Mapping[str, Iterable[str]]) -> "Phrases":
        """Compile phrases.

        Args:
            by_topic: Phrases by topic. ``*`` at the end stands for any ending; after ``re:`` stands a regular
                expression; anything else is literal, whatever its case, hyphens and spaces. A phrase with
                Chinese characters matches inside longer stretches too.
        """
        by_prefix: dict[str, list[tuple[str, str]]] = defaultdict(list)
        at_words, anywhere = list[tuple[int, str]](), list[tuple[int, str]]()
        for place, (topic, phrases) in enumerate(by_topic.items()):
            for phrase in map(str, phrases):
                raw = phrase.removeprefix(_RAW)
                if not phrase.startswith(_RAW):
                    by_prefix[phrase[:_PREFIX].lower()].append((topic, phrase))
                elif raw.startswith(_WORD_START):
                    at_words.append((place, raw))
                else:
                    anywhere.append((place, raw))
        found = {start: tuple(phrases) for start, phrases in by_prefix.items()}
        return cls(found, tuple(by_topic), _joined(at_words), _joined(anywhere))

    def find(self, text: str) -> Iterator[Match]:
        """All matches: of literal phrases the longest per topic and place, of expressions the first one."""
        for found in self.anywhere.finditer(text) if self.anywhere else ():
            yield self._match(found)
        lower = text.lower() if len(text.lower()) == len(text) else text
        for start in _START.finditer(text):
            place = start.start()
            at_word = self.at_words.match(text, place) if self.at_words else None
            if at_word:
                yield self._match(at_word)
            candidates = self.by_prefix.get(lower[place : place + _PREFIX])
            if candidates:
                yield from _longest(candidates, text, place)

    def _match(self, found: "regex.Match[str]") -> Match:
        topic = self.topics[int(str(found.lastgroup).split("_")[1])]
        return Match(topic, found[0], found.start(), found.end())


def _longest(candidates: Iterable[tuple[str, str]], text: str, place: int) -> Iterator[Match]:
    ends: dict[str, int] = {}
    for topic, phrase in candidates:
        found = _compiled(phrase).match(text, place)
        if found:
            ends[topic] = max(found.end(), ends.get(topic, 0))
    for topic, end in ends.items():
        yield Match(topic, text[place:end], place, end)


def _joined(patterns: list[tuple[int, str]]) -> _Pattern | None:
    joined = "|".join(f"(?P<g{number}_{place}>{raw})" for number, (place, raw) in enumerate(patterns))
    return regex.compile(joined, regex.IGNORECASE) if patterns else None


@lru_cache(maxsize=16_384)
def _compiled(phrase: str) -> _Pattern:
    words = phrase.rstrip("*").replace("-", " ").split()
    joined = _BETWEEN.join(regex.escape(word).replace("'", "['\u2019]") for word in words)
    if not _HAN.search(phrase):
        joined += r"[\p{L}]*+" if phrase.endswith("*") else r"(?![\p{L}\d])"
    return regex.compile(joined, regex.IGNORECASE)
