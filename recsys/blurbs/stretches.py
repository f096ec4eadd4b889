"""Words that stand together: a text falls into stretches at its words of grammar and its punctuation."""

from collections.abc import Iterator
from itertools import pairwise
from typing import Final, NamedTuple

import regex

from recsys.blurbs.lexicon import Lexicon
from recsys.blurbs.wording import Word, folded

_BREAK: Final = regex.compile(r"[.,!?;:()/\u2013\u2014\u2026\uff0c\u3002\uff1b\uff1a\u3001]")


class Stretch(NamedTuple):
    """Words without a word of grammar or a break between them, as *clear glass* in *of clear glass*.

    Attributes:
        words: The words.
        before: The words of grammar in front, up to a break, in plain form.
        after: The sign or the word of grammar behind; ``""`` at the end of the text.
    """

    words: tuple[Word, ...]
    before: tuple[str, ...]
    after: str


def stretches(text: str, lexicon: Lexicon) -> Iterator[Stretch]:
    """Yield the stretches of a text, in order.

    Args:
        text: The text.
        lexicon: Of its language.
    """
    open_words, before = list[Word](), tuple[str, ...]()
    words = lexicon.wording.words(text)
    for word, following in pairwise((*words, None)):
        assert word is not None
        sign = _BREAK.search(text[word.end : following.start if following else len(text)])
        is_grammar = lexicon.wording.is_function_word(word.text)
        if is_grammar and open_words:
            yield Stretch(tuple(open_words), before, plain(word))
            open_words, before = [], ()
        if is_grammar:
            before = (*before, plain(word))
        else:
            open_words.append(word)
        if sign or following is None:
            if open_words:
                yield Stretch(tuple(open_words), before, sign[0] if sign else "")
            open_words, before = [], ()


def plain(word: Word) -> str:
    """A word without case and accents."""
    return folded(word.text.casefold())
