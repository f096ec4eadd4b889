"""Which words of a text the facts support; what they do not support, the gate's reasons say."""

from collections.abc import Iterator
from typing import Final

import regex

from recsys.blurbs.checks.examined import covered
from recsys.blurbs.facts import Facts
from recsys.blurbs.ground import Ground
from recsys.blurbs.lexicon import Lexicon, Lexicons

_HAN_RUN: Final = regex.compile(r"\p{Han}+")
_SHORTEST_HAN: Final = 2


def supported_spans(facts: Facts, text: str, language: str, lexicons: Lexicons) -> list[tuple[int, int]]:
    """Places of words and numbers that the facts have, the end exclusive; for display only.

    Args:
        facts: What is known of the item.
        text: The text.
        language: BCP 47; without a lexicon of it nothing is found.
        lexicons: The shop's.
    """
    lexicon = lexicons.of(language)
    if lexicon is None:
        return []
    ground = Ground.of(facts, lexicon, lexicons.others(lexicon), lexicons.attribute_units)
    numbers = list(_numbers(text, ground, lexicon))
    words = (span for span in _words(text, ground, lexicon) if not covered(numbers, *span))
    return sorted([*words, *numbers, *_han(text, ground)])


def _words(text: str, ground: Ground, lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    for word in lexicon.wording.words(text):
        known = ground.denied_keys if word.is_negated else ground.keys
        if word.key in known and not lexicon.wording.is_function_word(word.text):
            yield word.start, word.end


def _numbers(text: str, ground: Ground, lexicon: Lexicon) -> Iterator[tuple[int, int]]:
    for quantity in lexicon.units.find(text):
        if quantity.is_supported(ground.quantities):
            yield quantity.start, quantity.end


def _han(text: str, ground: Ground) -> Iterator[tuple[int, int]]:
    for run in _HAN_RUN.finditer(text):
        start = run.start()
        while start < run.end():
            ends = range(run.end(), start + _SHORTEST_HAN - 1, -1)
            end = next((end for end in ends if text[start:end] in ground.han), None)
            if end is not None:
                yield start, end
            start = start + 1 if end is None else end
