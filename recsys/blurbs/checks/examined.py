"""A text under examination, with all that its checks look at."""

import unicodedata
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import regex

from recsys.blurbs.facts import Facts
from recsys.blurbs.ground import Ground
from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.phrases import Match
from recsys.blurbs.quantities import Quantity
from recsys.blurbs.verdict import Reason, Severity
from recsys.blurbs.wording import Word


@dataclass(frozen=True)
class Examined:
    """One text about one item.

    Attributes:
        facts: The item.
        ground: What its facts support.
        text: The text.
        lexicon: Of the language that was asked for.
        other_lexicons: Of all other languages.
        others: Texts of the category that are published already.
    """

    facts: Facts
    ground: Ground
    text: str
    lexicon: Lexicon
    other_lexicons: tuple[Lexicon, ...] = ()
    others: Sequence[str] = ()

    @cached_property
    def words(self) -> tuple[Word, ...]:
        """Its words."""
        return self.lexicon.wording.words(self.text)

    @cached_property
    def quantities(self) -> tuple[Quantity, ...]:
        """Its numbers."""
        return tuple(self.lexicon.units.find(self.text))

    @cached_property
    def quoted(self) -> tuple[tuple[int, int], ...]:
        """Where the item's title or brand stands word for word."""
        text, found = _comparable(self.text), []
        for phrase in map(_comparable, self.ground.quotable):
            start = text.find(phrase)
            while start >= 0:
                found.append((start, start + len(phrase)))
                start = text.find(phrase, start + 1)
        return tuple(found)

    @cached_property
    def claims(self) -> tuple[Match, ...]:
        """The claims it makes."""
        return tuple(self.lexicon.claim_phrases.find(self.text))

    @cached_property
    def made_claims(self) -> tuple[tuple[int, int], ...]:
        """Where it makes claims that the facts make, or that follow from those."""
        return tuple((one.start, one.end) for one in self.claims if one.topic in self.ground.claims)

    def is_quoted(self, start: int, end: int) -> bool:
        """Whether a span lies within a quotation of title or brand."""
        return any(first <= start and end <= last for first, last in self.quoted)

    def matches(self, pattern: regex.Pattern[str]) -> Iterator[Match]:
        """What a compiled pattern finds in the text."""
        for found in pattern.finditer(self.text):
            yield Match("", found[0], found.start(), found.end())

    def reason(self, code: str, start: int, end: int, severity: Severity = "reject") -> Reason:
        """A reason about a span of the text."""
        return Reason(code, self.text[start:end], start, end, severity)

    def reasons(self, code: str, matches: Iterable[Match], severity: Severity = "reject") -> list[Reason]:
        """A reason for each match that is not part of the item's own title or brand."""
        return [
            self.reason(code, match.start, match.end, severity)
            for match in matches
            if not self.is_quoted(match.start, match.end)
        ]


def _comparable(text: str) -> str:
    """The text in lower case and plain characters, each of which stays one, so that places stay too."""
    if text.isascii():
        return text.lower()
    plain = (unicodedata.normalize("NFKC", sign).casefold() for sign in text)
    return "".join(new if len(new) == 1 else sign for new, sign in zip(plain, text, strict=True))


def covered(spans: Collection[tuple[int, int]], start: int, end: int) -> bool:
    """Whether a span overlaps one of ``spans``."""
    return any(first < end and start < last for first, last in spans)
