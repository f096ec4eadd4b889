"""Lists of phrases by topic, matched in one pass."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Self

import regex

_RAW: Final = "re:"
_BETWEEN: Final = r"[\s\-\u2010-\u2015]*+"
_HAN: Final = regex.compile(r"\p{Han}")


class Match(NamedTuple):
    """Where a phrase of a topic stands in a text."""

    topic: str
    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Phrases:
    """Compiled phrases.

    Attributes:
        topics: The topics; a topic's place names its group in the pattern.
        pattern: All phrases of all topics, or ``None`` when there are none.
    """

    topics: tuple[str, ...]
    pattern: Any

    @classmethod
    def of(cls, by_topic: Mapping[str, Iterable[str]], *, anywhere: bool = False) -> Self:
        """Compile phrases.

        Args:
            by_topic: Phrases by topic. ``*`` at the end stands for any ending; after ``re:`` stands a regular
                expression; anything else is literal, whatever its case, hyphens and spaces.
            anywhere: Whether phrases match inside words too, as scripts without spaces need.
        """
        groups = [
            (topic, [_pattern(str(phrase), anywhere=anywhere) for phrase in phrases])
            for topic, phrases in by_topic.items()
        ]
        groups = [(topic, patterns) for topic, patterns in groups if patterns]
        if not groups:
            return cls((), None)
        joined = "|".join(f"(?P<g{place}>{'|'.join(patterns)})" for place, (_, patterns) in enumerate(groups))
        return cls(tuple(topic for topic, _ in groups), regex.compile(joined, regex.IGNORECASE | regex.V0))

    def find(self, text: str) -> Iterator[Match]:
        """All matches from left to right, none overlapping another."""
        if self.pattern is None:
            return
        for found in self.pattern.finditer(text):
            yield Match(self.topics[int(found.lastgroup[1:])], found[0], found.start(), found.end())


def _pattern(phrase: str, *, anywhere: bool) -> str:
    if phrase.startswith(_RAW):
        return f"(?:{phrase.removeprefix(_RAW)})"
    open_ended = phrase.endswith("*")
    words = phrase.rstrip("*").replace("-", " ").split()
    joined = _BETWEEN.join(regex.escape(word).replace("'", "['\u2019]") for word in words)
    if anywhere and _HAN.search(phrase):
        return joined
    return rf"(?<![\p{{L}}\d]){joined}" + (r"[\p{L}]*+" if open_ended else r"(?![\p{L}\d])")
