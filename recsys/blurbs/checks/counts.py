"""Whether the numbers of a text count what the facts' numbers count, and limit what those limit.

*Two pockets* and *from 3 years* support neither two hoods nor something for children under 3.
"""

from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.counting import HAN_BREAK, Counted, following, is_denial, sentence_around
from recsys.blurbs.quantities import BARE, COUNT, Quantity
from recsys.blurbs.verdict import REVIEW, Reason
from recsys.blurbs.wording import Word, folded

_CODE: Final = "unsupported_number"
_LARGEST_COUNT: Final = 1000
_HAN_NEXT: Final = regex.compile(r"\s?(\p{Han}{1,4})")


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``unsupported_number`` for numbers and words of number that belong to something else."""
    for quantity in examined.quantities:
        known = [one for one in examined.ground.counted if quantity.is_supported([one.quantity])]
        if known and not examined.is_quoted(quantity.start, quantity.end):
            is_alike = _is_bounded_alike(examined, quantity, known) and _counts_alike(
                examined, quantity, known
            )
            if not is_alike:
                yield examined.reason(_CODE, quantity.start, quantity.end, REVIEW)
    yield from _quantifiers(examined)


def _is_bounded_alike(examined: Examined, quantity: Quantity, known: list[Counted]) -> bool:
    bound = examined.lexicon.bounds.of_number(examined.text, quantity.start, quantity.end)
    if bound and bound not in {one.bound for one in known}:
        return False
    if all(one.is_denied and one.bound for one in known):
        return is_denial(sentence_around(examined.text, quantity.start), examined.lexicon)
    return True


def _counts_alike(examined: Examined, quantity: Quantity, known: list[Counted]) -> bool:
    if quantity.dimension in {BARE, COUNT} and quantity.values[0] >= _LARGEST_COUNT:
        return True
    if examined.lexicon.script == "han":
        return _counts_alike_han(examined, quantity, known)
    lexicon, is_measure = examined.lexicon, quantity.dimension not in {BARE, COUNT}
    after = following(examined.words, quantity, examined.text, lexicon, past_of=is_measure)
    if quantity.dimension == BARE:
        return _is_count_of(examined, quantity, after, known)
    if quantity.dimension == COUNT:
        return True
    return not after or _measures_alike(examined, after, known)


def _measures_alike(examined: Examined, after: list[Word], known: list[Counted]) -> bool:
    """Whether what a measure stands before is the item, as in *500 g jar*, and no part of it."""
    ground, last = examined.ground, after[-1]
    if last.key in ground.delicate - ground.name_keys and not _is_near([last], known):
        return False
    is_head = after[0].key in ground.head_keys or examined.lexicon.wording.is_neutral(after[0].text)
    return is_head or after[0].key not in ground.keys or _is_near(after[:1], known)


def _is_count_of(examined: Examined, quantity: Quantity, after: list[Word], known: list[Counted]) -> bool:
    before = [word for word in examined.words if word.end <= quantity.start][-1:]
    if not after:  # as in "seats for two"
        cues = examined.lexicon.wording.audience_cues
        return not any(folded(word.text.casefold()) in cues for word in before)
    number = examined.text[quantity.start : quantity.end].casefold()
    is_function_word = examined.lexicon.wording.is_function_word
    before = [word for word in before if not is_function_word(word.text)]
    if any((word.key, number) in examined.ground.pairs for word in before) or _is_near(after, known):
        return True
    is_item = any(word.key in examined.ground.head_keys for word in after)
    return is_item and any(one.is_of_pieces for one in known)


def _is_near(words: list[Word], known: list[Counted]) -> bool:
    return any(word.key in one.keys for word in words for one in known)


def _counts_alike_han(examined: Examined, quantity: Quantity, known: list[Counted]) -> bool:
    after = _HAN_NEXT.match(examined.text, quantity.end)
    if after is None:
        return True
    stretch = after[1]
    wording = examined.lexicon.wording
    if quantity.dimension not in {BARE, COUNT} and stretch[0] != "的":
        return True
    stretch = HAN_BREAK.split(stretch.removeprefix("的"))[0]
    pieces = (stretch[:2], stretch[:1])
    if any(piece in wording.neutral or piece in wording.stop_keys for piece in pieces) or not stretch:
        return True
    return any(stretch[:2] in one.han for one in known) or (
        quantity.dimension not in {BARE, COUNT} and stretch[:2] in examined.ground.han_head
    )


def _quantifiers(examined: Examined) -> Iterator[Reason]:
    """Words such as *both* and *many* before a word of the facts, where the facts do not have them so."""
    words, keys = examined.words, examined.ground.keys
    for place, word in enumerate(words[:-1]):
        if word.text.casefold() not in examined.lexicon.wording.quantifiers:
            continue
        noun = next((one for one in words[place + 1 : place + 3] if one.key in keys), None)
        if noun and not (_may_be_many(examined, word, noun) or examined.is_quoted(word.start, word.end)):
            yield examined.reason(_CODE, word.start, noun.end, REVIEW)


def _may_be_many(examined: Examined, word: Word, noun: Word) -> bool:
    """Whether the facts say it so, or have the noun in this form and do not say how many."""
    ground = examined.ground
    is_counted = any(noun.key in one.keys for one in ground.counted)
    is_plain = folded(noun.text.casefold()) in ground.words and not is_counted
    return is_plain or (word.key, noun.key) in ground.pairs
