"""Whether a text says of the item what the facts say of it, and not of a part or of something beside it.

A spoon with a hook, in a paper sleeve, is neither *a hook with a spoon* nor *a paper spoon*, nor *made of
paper*, though all the words are the facts' own. Texts about works, which tell what happens in them, may be
about anybody and are left out.
"""

from collections.abc import Iterator
from itertools import takewhile
from typing import Final

import regex

from recsys.blurbs.checks import han_roles
from recsys.blurbs.checks.examined import Examined, covered
from recsys.blurbs.stretches import Stretch, plain, stretches
from recsys.blurbs.substances import Substance, substances
from recsys.blurbs.verdict import REVIEW, Reason
from recsys.blurbs.wording import Word

CODE: Final = "misplaced_fact"
_SIGN: Final = regex.compile(r"\W")


def check(examined: Examined) -> Iterator[Reason]:
    """Yield ``misplaced_fact``, about the word that belongs to something else."""
    if examined.ground.roles.is_told:
        return
    if examined.lexicon.script == "han":
        yield from han_roles.check(examined)
        return
    parts = [
        part._replace(words=_without_numbers(examined, part.words))
        for part in stretches(examined.text, examined.lexicon)
    ]
    parts = [part for part in parts if part.words]
    found = [*_heads(examined, parts), *_made_of(examined)]
    found += [word for part in parts for word in _traits(examined, part)]
    for word in dict.fromkeys(found):
        if not examined.is_quoted(word.start, word.end):
            yield examined.reason(CODE, word.start, word.end, REVIEW)


def _without_numbers(examined: Examined, words: tuple[Word, ...]) -> tuple[Word, ...]:
    spans = [(one.start, one.end) for one in examined.quantities]
    return tuple(word for word in words if word.text.isalpha() and not covered(spans, word.start, word.end))


def _heads(examined: Examined, parts: list[Stretch]) -> Iterator[Word]:
    """The noun that a text without a verb begins with, where the item may not be called so."""
    grammar = examined.lexicon.grammar
    passed = grammar.determiners | grammar.links | examined.lexicon.wording.neutral
    for part in parts:
        if any(form not in passed for form in part.before):
            return
        if not part.before and plain(part.words[0]) in grammar.openers:
            return
        content = [word for word in part.words if _is_content(examined, word)]
        is_closed = part.after in grammar.closers or bool(_SIGN.match(part.after or "."))
        if content:
            head = part.words[-1]
            if is_closed and head is content[-1] and not examined.ground.roles.is_kind(head):
                yield head
            return
        if part.after not in grammar.links | {":", ","}:
            return


def _made_of(examined: Examined) -> Iterator[Word]:
    roles = examined.ground.roles
    for one in substances(examined.text, examined.lexicon):
        for word in _substance_words(examined, one):
            owner = one.owner
            is_whole = owner is None or roles.is_name(owner)
            is_known = (is_whole and word.key in roles.stuff) or (
                owner is not None and (word.key, owner.key) in roles.bound
            )
            if not is_known:
                yield word


def _substance_words(examined: Examined, one: Substance) -> list[Word]:
    """Which words name a substance: after *made of* every one; after *of* a known one at the end."""
    words = _without_numbers(examined, one.words)
    if one.is_said:
        return [word for word in words if _is_substance(examined, word) or _is_content(examined, word)]
    return [
        word
        for word in words[-1:]
        if _is_listed(examined, word)
        or (_is_substance(examined, word) and not examined.ground.roles.is_name(word))
    ]


def _traits(examined: Examined, part: Stretch) -> Iterator[Word]:
    """Materials, colours and ingredients that stand before what they are not said of."""
    roles = examined.ground.roles
    for place, word in enumerate(part.words):
        if not _is_substance(examined, word):
            continue
        later = takewhile(lambda one: not _is_verb(examined, one), part.words[place + 1 :])
        nouns = [one for one in later if _is_content(examined, one) and not _is_listed(examined, one)]
        if not nouns or any((word.key, one.key) in roles.bound for one in nouns):
            continue
        of_item = roles.stuff if _is_listed(examined, word) else roles.names  # an ingredient names no dish
        if not (word.key in of_item and any(roles.is_name(one) for one in nouns)):
            yield word


def _is_substance(examined: Examined, word: Word) -> bool:
    ground = examined.ground
    return _is_listed(examined, word) or (word.key in ground.delicate and word.key in ground.keys)


def _is_listed(examined: Examined, word: Word) -> bool:
    """Whether a word is a material or colour."""
    return plain(word) in examined.lexicon.grammar.traits or word.key in examined.ground.trait_keys


def _is_content(examined: Examined, word: Word) -> bool:
    """Whether a word is one of the facts' own, or none of style."""
    wording = examined.lexicon.wording
    is_style = wording.is_neutral(word.text) or plain(word) in examined.lexicon.grammar.making
    return not is_style and (word.key in examined.ground.keys or not wording.is_listed_use(word.text))


def _is_verb(examined: Examined, word: Word) -> bool:
    return plain(word) in examined.lexicon.grammar.openers
