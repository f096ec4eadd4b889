"""Single texts: their words, how hard they read, and how many of an item's key facts they tell."""

import re
from typing import Final

import regex

from recsys.blurbs.facts import SELLER, Facts
from recsys.blurbs.lexicon import Lexicons

_TOKEN: Final = regex.compile(r"\p{Han}|[\p{L}\p{M}\p{N}]+(?:['\u2019][\p{L}\p{M}]+)*")
_SENTENCE: Final = re.compile(r"[.!?:。！？：]+(?:\s|$)|[。！？]")
_LONG_WORD: Final = 6
_KEY_FACTS: Final = 4
_NOT_TOLD: Final = frozenset({SELLER, "tags", "id", "sku", "ean", "gtin", "upc", "url", "image"})


def tokens(text: str) -> list[str]:
    """Words in lower case; of Chinese, single characters."""
    return [match[0].casefold() for match in _TOKEN.finditer(text)]


def lix(text: str) -> float:
    """How hard a text reads: words per sentence, plus the percentage of words longer than six letters.

    Below 30 is easy, above 50 hard; not meant for Chinese. Source: Björnsson, Läsbarhet (1968).
    """
    words = tokens(text)
    if not words:
        return 0.0
    num_sentences = max(1, len(_SENTENCE.findall(text)))
    return len(words) / num_sentences + 100 * sum(len(word) > _LONG_WORD for word in words) / len(words)


def told_share(text: str, facts: Facts, language: str, lexicons: Lexicons) -> float | None:
    """Share of an item's key facts that a text tells, in [0, 1]; ``None`` without key facts or a lexicon.

    Key facts are the brand and the first four attributes; one is told when all its words stand in the text.
    """
    lexicon = lexicons.of(language)
    shown = [fact.value for fact in facts.attributes if fact.attribute.casefold() not in _NOT_TOLD]
    key = [value for value in (facts.brand, *shown[:_KEY_FACTS]) if value]
    if lexicon is None or not key:
        return None
    known = {stem for token in tokens(text) for stem in lexicon.wording.keys(token)}
    told = [all(set(lexicon.wording.keys(token)) <= known for token in tokens(value)) for value in key]
    return sum(told) / len(told)
