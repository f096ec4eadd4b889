"""Whether a text says of the item what the facts say of it, and not of a part or of something beside it.

A spoon with a hook, in a paper sleeve, is neither *a hook with a spoon* nor *a paper spoon*, nor *made of
paper*, though all the words are the facts' own. Texts about works, which tell what happens in them, may be
about anybody and are left out.
"""

from collections.abc import Iterator
from itertools import pairwise, takewhile
from typing import Final

import regex

from recsys.blurbs.checks import han_roles
from recsys.blurbs.checks.examined import Examined, covered
from recsys.blurbs.quantities import BARE
from recsys.blurbs.stretches import Stretch, plain, stretches
from recsys.blurbs.substances import Substance, substances
from recsys.blurbs.verdict import REVIEW, Reason
from recsys.blurbs.wording import Word

CODE: Final = "misplaced_fact"
_SIGN: Final = regex.compile(r"\W")
_SHORTEST_NAME: Final = 4


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
    found += [word for part in parts for word in (*_traits(examined, part), *_others(examined, part))]
    found = [word for word in found if _passes_otherwise(examined, word)]
    found += [word for word in examined.words if _is_other_compound(examined, word)]
    for word in dict.fromkeys(found):
        if not examined.is_quoted(word.start, word.end):
            yield examined.reason(CODE, word.start, word.end, REVIEW)


def _passes_otherwise(examined: Examined, word: Word) -> bool:
    """Whether a word is none that ``support`` finds unsupported anyway."""
    wording = examined.lexicon.wording
    is_style = wording.is_neutral(word.text) or wording.is_listed_use(word.text)
    return word.key in examined.ground.keys or is_style


def _without_numbers(examined: Examined, words: tuple[Word, ...]) -> tuple[Word, ...]:
    spans = [(one.start, one.end) for one in examined.quantities]
    return tuple(word for word in words if word.text.isalpha() and not covered(spans, word.start, word.end))


def _heads(examined: Examined, parts: list[Stretch]) -> Iterator[Word]:
    """The noun that a text without a verb begins with, where the item may not be called so."""
    grammar = examined.lexicon.grammar
    passed = grammar.determiners | grammar.links | examined.lexicon.wording.neutral
    for part in () if _counts_parts(examined) else parts:
        is_verb = not part.before and plain(part.words[0]) in grammar.openers
        if is_verb or any(form not in passed for form in part.before):
            return
        content = [word for word in part.words if _is_content(examined, word)]
        if content:
            if content[-1] is part.words[-1] and not _may_open(examined, part):
                yield content[-1]
            return
        if part.after not in grammar.links | {":", ","}:
            return


def _may_open(examined: Examined, part: Stretch) -> bool:
    """Whether a stretch is not all of a noun phrase, or one that a text about the item may begin with."""
    roles, grammar, head = examined.ground.roles, examined.lexicon.grammar, part.words[-1]
    is_closed = part.after in grammar.closers or bool(_SIGN.match(part.after or "."))
    is_listed = part.after in grammar.conjunctions and head.key in roles.parts
    is_known = is_listed or (head.key, part.after) in roles.openings
    return not is_closed or is_known or roles.is_kind(head)


def _counts_parts(examined: Examined) -> bool:
    """Whether a text begins with a count, as *Two pockets and a hood* does, which ``counts`` looks after."""
    first = examined.quantities[:1]
    return bool(first) and first[0].dimension == BARE and not examined.text[: first[0].start].strip()


def _made_of(examined: Examined) -> Iterator[Word]:
    roles, grammar = examined.ground.roles, examined.lexicon.grammar
    for one in substances(examined.text, examined.lexicon):
        is_unit = one.owner and not _without_numbers(examined, (one.owner,))  # as in "a pound of butter"
        owner = None if is_unit else one.owner
        for word in _substance_words(examined, one):
            is_whole = owner is None or roles.is_name(owner)
            is_bound = owner is not None and (word.key, owner.key) in roles.bound
            of_item = roles.stuff | roles.parts if one.link in grammar.having else roles.stuff
            if not is_bound and not (is_whole and word.key in of_item):
                yield word


def _substance_words(examined: Examined, one: Substance) -> list[Word]:
    """Which words name a substance: after *made of* every one; after *of* a known one at the end."""
    roles, words = examined.ground.roles, _without_numbers(examined, one.words)
    if one.is_said:
        return [word for word in words if _is_substance(examined, word) or _is_content(examined, word)]
    is_of_item = one.owner is not None and roles.is_name(one.owner)
    return [
        word
        for word in words[-1:]
        if _is_listed(examined, word)
        or (
            (_is_substance(examined, word) or (is_of_item and _is_other(examined, word)))
            and not roles.is_name(word)
        )
    ]


def _traits(examined: Examined, part: Stretch) -> Iterator[Word]:
    """Materials, colours and ingredients that stand before what they are not said of."""
    roles = examined.ground.roles
    for place, word in enumerate(part.words):
        if not _is_substance(examined, word):
            continue
        later = takewhile(lambda one: not _is_verb(examined, one), part.words[place + 1 :])
        is_whole = word.key in roles.stuff
        nouns = [
            one for one in later if not (_is_listed(examined, one) or (is_whole and _is_style(examined, one)))
        ]
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


def _others(examined: Examined, part: Stretch) -> Iterator[Word]:
    """Words before the item's name that the facts say of something else only, as in *banana cereal*."""
    roles = examined.ground.roles
    for word, name in pairwise(part.words):
        if roles.is_name(name) and _is_other(examined, word) and (word.key, name.key) not in roles.bound:
            yield word


def _is_other(examined: Examined, word: Word) -> bool:
    """Whether the facts have a word, but only of something beside the item or of a part."""
    roles, is_known = examined.ground.roles, word.key in examined.ground.keys
    return is_known and _is_content(examined, word) and word.key not in roles.free and not roles.is_kind(word)


def _is_other_compound(examined: Examined, word: Word) -> bool:
    """Whether a German compound puts such a word before the item's name, as *Korkkerze* does."""
    roles, form = examined.ground.roles, plain(word)
    if not roles.is_german or form in examined.ground.words:
        return False
    for name in (one for one in roles.names if len(one) >= _SHORTEST_NAME and one in form[1:]):
        first = form[: form.rfind(name)]
        keys = {
            examined.lexicon.wording.stem(part)
            for part in (first, first.removesuffix("s"), first.removesuffix("n"))
        }
        known = keys & examined.ground.keys
        if known and not known & (roles.stuff | roles.kinds | roles.free):
            return True
    return False


def _is_content(examined: Examined, word: Word) -> bool:
    """Whether a word is one of the facts' own, or none of style."""
    is_use = examined.lexicon.wording.is_listed_use(word.text)
    return not _is_style(examined, word) and (word.key in examined.ground.keys or not is_use)


def _is_style(examined: Examined, word: Word) -> bool:
    return examined.lexicon.wording.is_neutral(word.text) or plain(word) in examined.lexicon.grammar.making


def _is_verb(examined: Examined, word: Word) -> bool:
    return plain(word) in examined.lexicon.grammar.openers
