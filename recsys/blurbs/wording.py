"""The words of a language: how a text falls into them, and which of them carry content."""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final, NamedTuple

import regex
import snowballstemmer

_WORD: Final = regex.compile(r"[\p{L}\p{M}\d]+(?:['\u2019][\p{L}\p{M}]+)*")
_HAN: Final = regex.compile(r"\p{Han}")
_NON_HAN: Final = regex.compile(r"[^\p{Han}\p{Hiragana}\p{Katakana}]")
_POSSESSIVE: Final = ("'s", "\u2019s", "'", "\u2019")
_NEGATION_REACH: Final = 2
_USAGE_REACH: Final = 6


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
    neutral: frozenset[str]
    usage: frozenset[str]
    usage_cues: frozenset[str]
    inflections: tuple[str, ...]
    negations: frozenset[str]
    negating_prefixes: frozenset[str]
    negating_endings: frozenset[str]
    absence: frozenset[str] = frozenset()
    diminishing: frozenset[str] = frozenset()
    allergens: frozenset[str] = frozenset()
    ingredient_names: frozenset[str] = frozenset()
    audience: frozenset[str] = frozenset()
    audience_cues: frozenset[str] = frozenset()
    warnings: frozenset[str] = frozenset()
    quantifiers: frozenset[str] = frozenset()
    checkable: frozenset[str] = frozenset()
    superlatives: tuple[str, ...] = ()

    @classmethod
    def of(cls, tree: Mapping[str, Any]) -> "Wording":
        """Compile the parts of a lexicon that are about words."""
        return cls(
            stem=_stemmer(tree.get("stemmer")),
            stop_keys=forms(tree, "stop_words"),
            neutral=forms(tree, "neutral"),
            usage=forms(tree, "usage"),
            usage_cues=forms(tree, "usage_cues"),
            inflections=tuple(tree.get("inflections", ())),
            negations=forms(tree, "negations"),
            negating_prefixes=forms(tree, "negating_prefixes"),
            negating_endings=forms(tree, "negating_endings"),
            absence=forms(tree, "absence") | forms(tree, "negations"),
            diminishing=forms(tree, "diminishing"),
            allergens=forms(tree, "allergens"),
            ingredient_names=forms(tree, "ingredient_names"),
            audience=forms(tree, "audience"),
            audience_cues=forms(tree, "audience_cues"),
            warnings=forms(tree, "warnings"),
            quantifiers=forms(tree, "quantifiers"),
            checkable=forms(tree, "checkable"),
            superlatives=tuple(tree.get("superlatives", ())),
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

    def is_neutral(self, text: str) -> bool:
        """Whether a word, in one of its inflections, promises nothing that a fact would have to prove."""
        return self._listed(folded(text.casefold()), self.neutral)

    def is_listed_use(self, text: str) -> bool:
        """Whether a word is one of use, wherever it stands."""
        return self._listed(folded(text.casefold()), self.usage)

    def is_usage(self, words: Sequence[Word], place: int) -> bool:
        """Whether a word says what an item is for, as after *for* or *with*, rather than what it is."""
        if not self._listed(folded(words[place].text.casefold()), self.usage):
            return False
        before = words[max(0, place - _USAGE_REACH) : place]
        return any(folded(word.text.casefold()) in self.usage_cues for word in before)

    def _listed(self, form: str, forms: frozenset[str]) -> bool:
        return form in forms or any(
            form.endswith(ending) and form[: -len(ending)] in forms for ending in self.inflections
        )

    def is_audience(self, text: str) -> bool:
        """Whether a word, in one of its inflections, says who uses an item, as *children* does."""
        return self._listed(folded(text.casefold()), self.audience)

    def is_allergen(self, text: str) -> bool:
        """Whether a word, in one of its inflections, names what many people do not tolerate."""
        return self._listed(folded(text.casefold()), self.allergens)

    def is_absence(self, text: str) -> bool:
        """Whether a word says that something is not there."""
        return folded(text.casefold()) in self.absence

    def is_function_word(self, text: str) -> bool:
        """Whether a word belongs to the language's grammar."""
        return folded(text.casefold()) in self.stop_keys

    def _is_negated(self, cases: list[str], place: int) -> bool:
        before = cases[max(0, place - _NEGATION_REACH) : place]
        after = cases[place + 1] if place + 1 < len(cases) else ""
        return (
            any(word in self.negations for word in before)
            or (place > 0 and cases[place - 1] in self.negating_prefixes)
            or (after in self.negating_endings and cases[place] not in self.stop_keys)
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


def forms(tree: Mapping[str, Any], name: str) -> frozenset[str]:
    """A list of a lexicon's file as plain forms; none where it has no such list."""
    listed = tree.get(name, ())
    words = listed.split() if isinstance(listed, str) else [str(word) for word in listed]
    return frozenset(folded(word.casefold()) for word in words)


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
