"""What a number of the facts is a number of: the words around it, and whether it is a limit or denied."""

from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import regex

from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.quantities import COUNT, Quantity
from recsys.blurbs.wording import Word

_REACH: Final = 3
_OF: Final = frozenset({"of", "von", "an"})
_HAN_BEFORE: Final = 2
_HAN_AFTER: Final = 4
_BREAK: Final = regex.compile(r"[.,!?;:()\u2013\u2014\u2026\uff0c\u3002\uff1b\uff1a]")
HAN_BREAK: Final = regex.compile(r"[^\p{Han}]|[和与及]")
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
        is_of_pieces: Whether it says how many of the item there are, as ``12 ct``.
    """

    quantity: Quantity
    keys: frozenset[str]
    han: str
    bound: str
    is_denied: bool
    is_of_pieces: bool = False


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
        near = [*_near(words, quantity, text, lexicon), *lexicon.wording.words(name)]
        keys = frozenset(word.key for word in near)
        implied = (lexicon.implies.get((key,), ()) for key in keys)
        also = [key for more in implied for words_of in more for key in words_of]
        yield Counted(
            quantity,
            keys.union(also),
            " ".join([_han_around(text, quantity), name, *also]),
            lexicon.bounds.of_number(text, quantity.start, quantity.end),
            is_denial(sentence_around(text, quantity.start), lexicon),
            quantity.dimension == COUNT and any(s.isalpha() for s in text[quantity.start : quantity.end]),
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


def following(
    words: Sequence[Word], quantity: Quantity, text: str, lexicon: Lexicon, *, past_of: bool = False
) -> list[Word]:
    """The words that a number may count, up to a break or a word of grammar.

    Args:
        words: Of the text.
        quantity: The number.
        text: The text.
        lexicon: Of its language.
        past_of: Whether an *of* directly after the number is passed over, as in *500 g of almonds*.
    """
    found, end = list[Word](), quantity.end
    for word in (word for word in words if word.start >= quantity.end):
        is_over = _BREAK.search(text[end : word.start]) or len(found) == _REACH
        if past_of and not found and not is_over and word.text.casefold() in _OF:
            end = word.end
            continue
        if is_over or lexicon.wording.is_function_word(word.text):
            break
        found.append(word)
        end = word.end
    return found


def _near(words: Sequence[Word], quantity: Quantity, text: str, lexicon: Lexicon) -> list[Word]:
    before = [word for word in words if word.end <= quantity.start][-1:]
    own = [word for word in words if quantity.start <= word.start < quantity.end]
    return [*before, *own, *following(words, quantity, text, lexicon)]


def _han_around(text: str, quantity: Quantity) -> str:
    before = HAN_BREAK.split(text[max(0, quantity.start - _HAN_BEFORE) : quantity.start])[-1]
    return before + HAN_BREAK.split(text[quantity.end : quantity.end + _HAN_AFTER])[0]
