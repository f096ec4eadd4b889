"""Whether a text names a brand that is not the item's own."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REJECT, REVIEW, Reason
from recsys.blurbs.wording import folded

_WORD: Final = regex.compile(r"[\p{L}\p{M}\d&]+(?:['\u2019][\p{L}\p{M}]+)*")
_HAN: Final = regex.compile(r"\p{Han}")
_SENTENCE_END: Final = regex.compile(r"(?:^|[.!?:;\u2026][\s\"'\u201d]*)$")


@dataclass(frozen=True, slots=True)
class Brands:
    """All brands that a text might name.

    Attributes:
        by_first_word: The words of each brand, under its first one.
        han: Brands that are written without spaces.
    """

    by_first_word: Mapping[str, tuple[tuple[str, ...], ...]]
    han: Mapping[str, tuple[str, ...]]

    @classmethod
    def of(cls, brands: Iterable[str]) -> "Brands":
        """Index brands by their first word or character."""
        by_first_word, han = defaultdict(set), defaultdict(set)
        for brand in brands:
            words = _words(brand)
            if _HAN.search(brand):
                han[brand[0]].add(brand)
            elif words and any(sign.isalpha() for sign in brand):
                by_first_word[words[0]].add(words)
        return cls(
            {first: tuple(sorted(words)) for first, words in by_first_word.items()},
            {first: tuple(sorted(names)) for first, names in han.items()},
        )

    def check(self, examined: Examined) -> Iterator[Reason]:
        """Yield ``foreign_brand``; one that the description alone names goes to a person."""
        found = list(_WORD.finditer(examined.text))
        words = [folded(_plain(match[0])) for match in found]
        for place, word in enumerate(words):
            for brand in self.by_first_word.get(word, ()):
                if tuple(words[place : place + len(brand)]) == brand:
                    last = found[place + len(brand) - 1]
                    yield from self._judged(examined, " ".join(brand), found[place].start(), last.end())
        for place, sign in enumerate("" if examined.text.isascii() else examined.text):
            for name in self.han.get(sign, ()):
                if examined.text.startswith(name, place) and name not in examined.ground.han:
                    yield examined.reason("foreign_brand", place, place + len(name))

    def _judged(self, examined: Examined, brand: str, start: int, end: int) -> Iterator[Reason]:
        text = examined.text
        if not any(sign.isupper() for sign in text[start:end]) and not text[start].isdigit():
            return
        words = examined.lexicon.wording.words(text[start:end])
        if _SENTENCE_END.search(text[:start]) and all(
            _is_ordinary(examined, word.key, word.text) for word in words
        ):
            return
        if f" {brand} " not in examined.ground.names:
            is_mentioned = f" {brand} " in examined.ground.description
            yield examined.reason("foreign_brand", start, end, REVIEW if is_mentioned else REJECT)


def _is_ordinary(examined: Examined, key: str, word: str) -> bool:
    wording = examined.lexicon.wording
    return wording.is_function_word(word) or wording.is_neutral(word) or key in examined.ground.keys


def _words(brand: str) -> tuple[str, ...]:
    return tuple(folded(_plain(match[0])) for match in _WORD.finditer(brand))


def _plain(word: str) -> str:
    plain = word.casefold().replace("\u2019", "'")
    while plain.endswith("'s"):
        plain = plain.removesuffix("'s")
    return plain
