"""Lists of phrases by topic, matched in one pass.

A text is looked through at the beginnings of its words only, and there only for phrases that begin with the
same two characters; a thousand phrases cost little more than ten.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
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


class _Phrase(NamedTuple):
    topic: str
    pattern: _Pattern


@dataclass(frozen=True, slots=True)
class Phrases:
    """Compiled phrases.

    Attributes:
        by_prefix: Literal phrases under the first two characters of each, in lower case.
        at_words: Regular expressions that match from the beginning of a word.
        anywhere: All other regular expressions.
    """

    by_prefix: Mapping[str, tuple[_Phrase, ...]]
    at_words: tuple[_Phrase, ...]
    anywhere: tuple[_Phrase, ...]

    @classmethod
    def of(cls, by_topic: Mapping[str, Iterable[str]]) -> "Phrases":
        """Compile phrases.

        Args:
            by_topic: Phrases by topic. ``*`` at the end stands for any ending; after ``re:`` stands a regular
                expression; anything else is literal, whatever its case, hyphens and spaces. A phrase with
                Chinese characters matches inside longer stretches too.
        """
        by_prefix: dict[str, list[_Phrase]] = defaultdict(list)
        at_words, anywhere = [], []
        for topic, phrases in by_topic.items():
            listed = [str(phrase) for phrase in phrases]
            raw = [phrase.removeprefix(_RAW) for phrase in listed if phrase.startswith(_RAW)]
            at_words += _joined(topic, [one for one in raw if one.startswith(_WORD_START)])
            anywhere += _joined(topic, [one for one in raw if not one.startswith(_WORD_START)])
            for phrase in listed:
                if not phrase.startswith(_RAW):
                    by_prefix[phrase[:_PREFIX].lower()].append(_Phrase(topic, _literal(phrase)))
        return cls(
            {start: tuple(found) for start, found in by_prefix.items()}, tuple(at_words), tuple(anywhere)
        )

    def find(self, text: str) -> Iterator[Match]:
        """All matches, of each topic the longest from each place."""
        for phrase in self.anywhere:
            for found in phrase.pattern.finditer(text):
                yield Match(phrase.topic, found[0], found.start(), found.end())
        lower = text.lower() if len(text.lower()) == len(text) else text
        for place in [start.start() for start in _START.finditer(text)]:
            candidates = (*self.by_prefix.get(lower[place : place + _PREFIX], ()), *self.at_words)
            yield from _longest(candidates, text, place)


def _longest(candidates: Iterable[_Phrase], text: str, place: int) -> Iterator[Match]:
    ends: dict[str, int] = {}
    for phrase in candidates:
        found = phrase.pattern.match(text, place)
        if found:
            ends[phrase.topic] = max(found.end(), ends.get(phrase.topic, 0))
    for topic, end in ends.items():
        yield Match(topic, text[place:end], place, end)


def _joined(topic: str, patterns: list[str]) -> list[_Phrase]:
    joined = "|".join(f"(?:{pattern})" for pattern in patterns)
    return [_Phrase(topic, regex.compile(joined, regex.IGNORECASE))] if patterns else []


def _literal(phrase: str) -> _Pattern:
    words = phrase.rstrip("*").replace("-", " ").split()
    joined = _BETWEEN.join(regex.escape(word).replace("'", "['\u2019]") for word in words)
    if not _HAN.search(phrase):
        joined += r"[\p{L}]*+" if phrase.endswith("*") else r"(?![\p{L}\d])"
    return regex.compile(joined, regex.IGNORECASE)
