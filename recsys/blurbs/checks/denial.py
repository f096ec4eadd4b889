"""Whether a text denies, with a word anywhere in a sentence, what the facts say.

What somebody may not tolerate, an ingredient or allergen, is held to more: no word that might deny it, or
make little of it, may stand anywhere in the text.
"""

from collections.abc import Iterator
from itertools import groupby
from typing import Final

import regex

from recsys.blurbs.checks.examined import Examined
from recsys.blurbs.verdict import REVIEW, Reason
from recsys.blurbs.wording import Word, folded

_CODE: Final = "denied_fact"
_SENTENCE_END: Final = regex.compile(r"[.!?;]")
_HAN: Final = regex.compile(r"\p{Han}")


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``denied_fact``, about the word that denies."""
    yield from _of_ingredients(examined)
    for sentence in _sentences(examined):
        cues = [word for word in sentence if _is_cue(examined, word)]
        facts = [word for word in sentence if cues and _is_fact(examined, word)]
        for cue in cues:
            if any((folded(cue.text.casefold()), word.key) not in examined.ground.denials for word in facts):
                yield examined.reason(_CODE, cue.start, cue.end, REVIEW)


def _sentences(examined: Examined) -> Iterator[list[Word]]:
    ends = [found.start() for found in _SENTENCE_END.finditer(examined.text)]
    for _, words in groupby(examined.words, lambda word: sum(end < word.start for end in ends)):
        yield list(words)


def _is_cue(examined: Examined, word: Word) -> bool:
    return examined.lexicon.wording.is_absence(word.text) and not examined.is_quoted(word.start, word.end)


def _is_fact(examined: Examined, word: Word) -> bool:
    """Whether a word stands for a fact that holds, and that is not style that says nothing."""
    wording, ground = examined.lexicon.wording, examined.ground
    return (
        word.key in ground.keys
        and not word.is_negated
        and not wording.is_function_word(word.text)
        and not wording.is_neutral(word.text)
        and word.key not in ground.denied_keys
    )


def _of_ingredients(examined: Examined) -> Iterator[Reason]:
    wording, ground = examined.lexicon.wording, examined.ground
    told = {word.key for word in examined.words if word.key in ground.delicate}
    for word in examined.words if told else ():
        form = folded(word.text.casefold())
        denies = form in wording.absence or form in wording.diminishing
        is_known = all((form, key) in ground.denials for key in told)
        if denies and not is_known and not examined.is_quoted(word.start, word.end):
            yield examined.reason(_CODE, word.start, word.end, REVIEW)
    if any(term in examined.text for term in ground.han_delicate):
        yield from _of_han_ingredients(examined)


def _of_han_ingredients(examined: Examined) -> Iterator[Reason]:
    wording = examined.lexicon.wording
    cues = [sign for sign in wording.absence | wording.diminishing if _HAN.match(sign)]
    plain = examined.text
    harmless = [word for word in (*wording.neutral, *wording.stop_keys, *examined.ground.quotable) if word]
    for word in harmless:
        if word in plain and word not in cues and any(cue in word for cue in cues):
            plain = plain.replace(word, "\0" * len(word))
    for cue in cues:
        place = plain.find(cue)
        if place >= 0 and not any(cue in denied for denied in examined.ground.han_denied):
            yield examined.reason(_CODE, place, place + len(cue), REVIEW)
