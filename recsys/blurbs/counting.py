"""What a number of the facts is a number of: the words around it, and whether it is a limit or denied."""

from collections.abc import Iterator
from typing import Final, NamedTuple

import regex

from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.quantities import Quantity
from recsys.blurbs.wording import Word

_BEFORE: Final = 3
_AFTER: Final = 4
_HAN_REACH: Final = 4
SENTENCE_END: Final = regex.compile(r"[.!?;。！？；](?=\s|$)|[。！？；]")
_HAN_RUN: Final = regex.compile(r"\p{Han}+")


class Counted(NamedTuple):
    """A number of the facts with what stands around it.

    Attributes:
        quantity: The number.
        keys: Keys of the words around it, with what follows from them.
        han: Chinese characters around it.
        bound: What limits it, see ``recsys.blurbs.bounds``.
        is_denied: Whether its sentence denies or warns.
    """

    quantity: Quantity
    keys: frozenset[str]
    han: str
    bound: str
    is_denied: bool


def counted(text: str, name: str, found: list[Quantity], lexicon: Lexicon) -> Iterator[Counted]:
    """Say of each number of a fact what it counts.

    Args:
        text: The fact.
        name: The attribute's name; ``""`` outside attributes.
        found: The numbers of ``text``.
        lexicon: Of the language that texts are in.
    """
    words = lexicon.wording.words(text)
    for quantity in found:
        near = [*_near(words, quantity), *lexicon.wording.words(name)]
        keys = frozenset(word.key for word in near)
        start, end = max(0, quantity.start - _HAN_REACH), quantity.end + _HAN_REACH
        implied = (key for known, more in lexicon.implies.items() if keys >= set(known) for key in more)
        also = [key for keys_of in implied for key in keys_of]
        yield Counted(
            quantity,
            keys.union(also),
            " ".join([text[start:end], name, *also]),
            lexicon.bounds.of_number(text, quantity.start, quantity.end),
            is_denial(sentence_around(text, quantity.start), lexicon),
        )


def sentence_around(text: str, place: int) -> str:
    """The sentence of a text that a place lies in."""
    start = max((found.end() for found in SENTENCE_END.finditer(text, 0, place)), default=0)
    ending = SENTENCE_END.search(text, place)
    return text[start : ending.end() if ending else len(text)]


def is_denial(sentence: str, lexicon: Lexicon) -> bool:
    """Whether a sentence says what is not so, or warns."""
    wording = lexicon.wording
    return any(wording.is_absence(word.text) for word in wording.words(sentence)) or any(
        sign in sentence for sign in wording.absence if _HAN_RUN.match(sign)
    )


def _near(words: tuple[Word, ...], quantity: Quantity) -> list[Word]:
    before = [word for word in words if word.end <= quantity.start][-_BEFORE:]
    return [*before, *[word for word in words if word.end > quantity.start][: _AFTER + 1]]
