"""The words of a language: how a text falls into them, and which of them carry content."""

import unicodedata
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple, Self

import regex
import snowballstemmer

_WORD: Final = regex.compile(r"[\p{L}\p{M}\d]+(?:['\u2019][\p{L}\p{M}]+)*")
_HAN: Final = regex.compile(r"\p{Han}")
_NON_HAN: Final = regex.compile(r"[^\p{Han}\p{Hiragana}\p{Katakana}]")
_POSSESSIVE: Final = ("'s", "\u2019s", "'", "\u2019")
_NEGATION_REACH: Final = 2
_LONG_WORD: Final = 4


class Word(NamedTuple):
    """A word of a text.

    Attributes:
        text: As it stands there.
        key: What it is compared by: its stem, without case and accents.
        start: Where it begins.
        end: Where it ends, exclusive.
        is_negated: Whether a negation before or after it turns its meaning round.
    """

    text: str
    key: str
    start: int
    end: int
    is_negated: bool


@dataclass(frozen=True)
class Wording:
    """How a language's words are told apart."""

    stem: Callable[[str], str]
    stop_keys: frozenset[str]
    neutral_keys: frozenset[str]
    neutral_phrases: frozenset[str]
    negations: frozenset[str]
    negating_endings: frozenset[str]
    is_han: bool

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> Self:
        """Compile the parts of a lexicon that are about words."""
        stem = _stemmer(tree.get("stemmer"))
        lists = {name: _list(tree.get(name, ())) for name in ("stop_words", "neutral", "negations")}
        plain = [word for word in lists["neutral"] if "-" not in word]
        return cls(
            stem=stem,
            stop_keys=frozenset(folded(word.casefold()) for word in lists["stop_words"]),
            neutral_keys=frozenset(stem(word.casefold()) for word in plain),
            neutral_phrases=frozenset([*plain, *lists["stop_words"]]),
            negations=frozenset(folded(word.casefold()) for word in lists["negations"]),
            negating_endings=frozenset(tree.get("negating_endings", ())),
            is_han=tree["script"] == "han",
        )

    def words(self, text: str) -> tuple[Word, ...]:
        """The words of a text that are written with spaces, with their polarity."""
        found = [(match[0], match.start()) for match in _WORD.finditer(_without_han(text))]
        plain = [(_without_possessive(word), start) for word, start in found]
        cases = [folded(word.casefold()) for word, _ in plain]
        return tuple(
            Word(word, self.stem(word.casefold()), start, start + len(word), self._is_negated(cases, place))
            for place, (word, start) in enumerate(plain)
        )

    def keys(self, phrase: str) -> tuple[str, ...]:
        """The keys of a phrase's words; a run of Chinese characters is one."""
        if _HAN.search(phrase):
            return (phrase,)
        return tuple(word.key for word in self.words(phrase))

    def is_empty(self, word: Word) -> bool:
        """Whether a word carries no content that needs a fact."""
        return folded(word.text.casefold()) in self.stop_keys or word.key in self.neutral_keys

    def is_function_word(self, text: str) -> bool:
        """Whether a word belongs to the language's grammar."""
        return folded(text.casefold()) in self.stop_keys

    def _is_negated(self, cases: list[str], place: int) -> bool:
        before = cases[max(0, place - _NEGATION_REACH) : place]
        after = cases[place + 1] if place + 1 < len(cases) else ""
        return any(word in self.negations for word in before) or (
            after in self.negating_endings and cases[place] not in self.stop_keys
        )


@lru_cache(maxsize=65_536)
def folded(word: str) -> str:
    """A word without its accents."""
    if word.isascii():
        return word
    return "".join(part for part in unicodedata.normalize("NFKD", word) if not unicodedata.combining(part))


def _stemmer(algorithm: str | None) -> Callable[[str], str]:
    if algorithm is None:
        return folded
    if algorithm not in snowballstemmer.algorithms():
        raise ValueError(
            f"stemmer is {algorithm!r}, expected one of {', '.join(snowballstemmer.algorithms())}"
        )
    stemmer = snowballstemmer.stemmer(algorithm)

    @lru_cache(maxsize=65_536)
    def stem(word: str) -> str:
        return folded(stemmer.stemWord(word))

    return stem


def _list(words: str | Iterable[str]) -> list[str]:
    return words.split() if isinstance(words, str) else [str(word) for word in words]


def _without_han(text: str) -> str:
    """The text with blanks for what has no spaces between words, so that places stay."""
    if text.isascii() or not _HAN.search(text):
        return text
    return "".join(part if _NON_HAN.match(part) else " " for part in text)


def _without_possessive(word: str) -> str:
    for ending in _POSSESSIVE:
        if word.endswith(ending) and len(word) > len(ending):
            return word.removesuffix(ending)
    return word
